"""The state table as template.yaml defines it, made in whatever serves DynamoDB: moto in this process, or an emulator."""

from functools import cache
from pathlib import Path
from typing import Any

import boto3
import yaml

from dr_core.state import Table

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
TABLE_NAME = "state-table"


def create_state_table(name: str = TABLE_NAME, dynamodb: Any = None) -> Table:
    """Create the table, with its keys, indexes and stream, and give access to it. `dynamodb`: a client, by default boto3's own."""
    defined = template()["Resources"]["StateTable"]["Properties"]
    kept = ("BillingMode", "KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes")
    stream = {"StreamEnabled": True, **defined["StreamSpecification"]}
    client: Any = dynamodb or boto3.client("dynamodb")
    client.create_table(TableName=name, StreamSpecification=stream, **{key: defined[key] for key in kept})
    return Table(name)


@cache
def template() -> dict[str, Any]:
    """template.yaml; what stands behind a tag such as !Sub is taken as it is written."""
    loaded: dict[str, Any] = yaml.load(TEMPLATE.read_text(), _Loader)
    return loaded


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags."""


def _plain(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.ScalarNode)
    return loader.construct_scalar(node)


_Loader.add_multi_constructor("!", _plain)  # type: ignore[no-untyped-call]
