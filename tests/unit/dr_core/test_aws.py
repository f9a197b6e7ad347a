"""Clients by botocore alone: of the function's own Region, or as they are wanted."""

from botocore.config import Config

from dr_core.aws import client, own_session
from tests.support.control_plane import HOME, OTHER, Cloud


def test_a_client_is_of_the_functions_own_region_unless_another_is_named(cloud: Cloud) -> None:
    assert client("sqs").meta.region_name == HOME
    assert client("sqs", region_name=OTHER).meta.region_name == OTHER


def test_a_client_has_the_configuration_that_it_is_given(cloud: Cloud) -> None:
    assert client("sqs", config=Config(read_timeout=3)).meta.config.read_timeout == 3  # type: ignore[attr-defined]


def test_all_clients_of_a_function_have_one_session() -> None:
    assert own_session() is own_session()
