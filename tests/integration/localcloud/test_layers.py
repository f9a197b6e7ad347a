"""A function finds its layers as on AWS, though the local cloud unpacks each only once."""

import json
import sys
from pathlib import Path

import pytest

from localcloud.cloud import LocalCloud
from tests.integration.localcloud.functions import archive_of, make_function

pytestmark = pytest.mark.integration

HANDLER = """
import sys, where
def handler(event, context):
    return {"where": where.NAME, "file": where.__file__, "path": sys.path}
"""


def publish(cloud: LocalCloud, layer: str, name: str) -> str:
    content = {"ZipFile": archive_of("python/where.py", f"NAME = {name!r}")}
    return str(cloud.client("lambda").publish_layer_version(LayerName=layer, Content=content)["LayerVersionArn"])


def test_each_function_sees_its_layers_the_last_one_first(cloud: LocalCloud) -> None:
    first, second = (publish(cloud, "where", name) for name in ("first", "second"))
    functions = {"seen-first": [first], "seen-second": [second], "seen-both": [first, second], "seen-again": [second, first]}
    seen = {}
    for function, layers in functions.items():
        make_function(cloud, function, HANDLER, layers)
        answer = cloud.client("lambda").invoke(FunctionName=function)
        seen[function] = json.loads(answer["Payload"].read())
    assert {function: found["where"] for function, found in seen.items()} == {
        "seen-first": "first",
        "seen-second": "second",
        "seen-both": "second",
        "seen-again": "first",
    }
    assert seen["seen-first"]["file"] == seen["seen-again"]["file"], "it was unpacked once"
    assert Path(seen["seen-first"]["file"]).is_relative_to(cloud.state_dir), "and goes with the cloud"
    for found in seen.values():
        installed = next(number for number, path in enumerate(found["path"]) if path.startswith(sys.base_prefix))
        assert found["path"].index(str(Path(found["file"]).parent)) < installed, "before what Python brings"
