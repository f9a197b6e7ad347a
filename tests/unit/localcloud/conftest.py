"""AWS in process, with the extension, on a clock that only the test moves."""

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.model import OperationModel
from botocore.validate import ParamValidator
from moto import mock_aws

from localcloud import extension
from localcloud.extension import clock

# AWS answers these to any operation, so no operation's model names them.
COMMON_ERRORS = {"InvalidParameterCombination", "InvalidParameterValue", "ValidationError"}

Client = Callable[[str, str], Any]


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> clock.ManualClock:
    manual = clock.ManualClock()
    monkeypatch.setattr(clock, "now", manual)
    monkeypatch.setenv(clock.TIME_SCALE_VARIABLE, "1")
    return manual


@pytest.fixture
def aws(time: clock.ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Makes clients whose every answer, and every error code, is held against the service's model."""
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # a second for each test that nobody needs
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    extension.install()
    with mock_aws():
        yield client


def client(service: str, region: str = "us-west-2") -> Any:
    made = boto3.client(service, region_name=region)  # type: ignore[call-overload]
    made.meta.events.register("after-call.*.*", hold_against_model)
    return made


def hold_against_model(parsed: dict[str, Any], model: OperationModel, **_: object) -> None:
    error = parsed.get("Error")
    if error:
        modelled = {shape.metadata.get("error", {}).get("code", shape.name) for shape in model.error_shapes}
        assert error["Code"] in modelled | COMMON_ERRORS, f"{model.name} does not answer {error['Code']}"
    elif model.output_shape is not None:
        body = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
        report = ParamValidator().validate(body, model.output_shape)
        assert not report.has_errors(), report.generate_report()
