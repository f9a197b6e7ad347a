"""Into another account with no more rights than needed, and never past the end of a lease."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectTimeoutError
from botocore.loaders import JSONFileLoader, create_loader

from dr_core import target
from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Phase
from dr_core.target import Purpose, Target, TargetAccess, acting_until, target_access
from tests.support.control_plane import HOME, OTHER, Cloud, error

FAR = "999988887777"


def opened(
    actions: tuple[str, ...] = ("ssm:PutParameter", "ssm:GetParameter"),
    account: str = FAR,
    run_id: str = "01RUN",
    phase: Phase = Phase.ACTIVATE,
) -> Target:
    return TargetAccess("the-role", "the-external-id").open(account, HOME, OTHER, Purpose(run_id, "erp", phase), actions)


def put(where: Target, region: str | None = None) -> None:
    where.client("ssm", region).put_parameter(Name="/lamp", Value="on", Type="String", Overwrite=True)


def test_a_session_has_the_rights_of_its_task_and_a_name(cloud: Cloud) -> None:
    where = opened(("ssm:PutParameter", "ssm:GetParameter", "ssm:PutParameter"))
    (call,) = cloud.made("AssumeRole")
    given = call.parameters
    assert given["RoleArn"] == f"arn:aws:iam::{FAR}:role/the-role"
    assert (given["ExternalId"], given["RoleSessionName"], given["DurationSeconds"]) == ("the-external-id", "dr-01RUN", 3600)
    (statement,) = json.loads(given["Policy"])["Statement"]
    assert statement["Action"] == ["ssm:GetParameter", "ssm:PutParameter"]
    assert where.client("sts").get_caller_identity()["Account"] == FAR


def test_a_session_acts_in_its_region_with_what_the_role_gave_it(cloud: Cloud) -> None:
    session = TargetAccess("the-role", "the-external-id").open(FAR, OTHER, HOME, Purpose("01RUN", "erp", Phase.ACTIVATE), ()).session
    credentials: Any = session.get_credentials()
    assert credentials.access_key.startswith("ASIA") and credentials.secret_key and credentials.token
    assert session.get_config_variable("region") == OTHER


def test_a_session_is_tagged_with_what_it_is_for_and_cleanup_has_a_role_of_its_own(cloud: Cloud) -> None:
    opened(phase=Phase.ACTIVATE)
    opened(phase=Phase.CLEANUP)
    activate, cleanup = (call.parameters for call in cloud.made("AssumeRole"))
    assert activate["RoleArn"].endswith(":role/the-role") and cleanup["RoleArn"].endswith(":role/the-role-Cleanup")
    tags = {one["Key"]: one["Value"] for one in cleanup["Tags"]}
    assert tags == {"dr-execution": "01RUN", "dr-application": "erp", "dr-phase": "CLEANUP"}


def test_clients_are_in_the_target_region_unless_told_otherwise(cloud: Cloud) -> None:
    where = opened()
    assert where.client("ssm").meta.region_name == HOME
    assert where.client("ssm", OTHER).meta.region_name == OTHER
    config = where.client("ssm").meta.config
    assert (config.connect_timeout, config.read_timeout, config.retries["total_max_attempts"]) == (3, 10, 3)


def test_a_session_is_reused_only_for_the_same_task_and_not_for_long(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [1_000_000.0]
    monkeypatch.setattr("dr_core.target.time.time", lambda: moment[0])
    opened()
    opened()
    assert len(cloud.made("AssumeRole")) == 1
    opened(("ssm:GetParameter",))
    opened(run_id="01OTHER")
    opened(account="111122223333")
    assert len(cloud.made("AssumeRole")) == 4
    moment[0] += 1800
    opened()
    assert len(cloud.made("AssumeRole")) == 5


def test_many_who_open_the_same_at_once_share_a_session(cloud: Cloud) -> None:
    together = threading.Barrier(8)

    def open_one(_: int) -> Target:
        together.wait()
        return opened()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(open_one, range(8)))
    assert len(cloud.made("AssumeRole")) == 1
    assert len({id(one.client("ssm")) for one in found}) == 1


def test_sessions_share_what_they_have_read_of_awss_models(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.session.create_loader", create_loader)  # as it is, where the tests have one of their own
    opened().client("ssm")
    read = []

    class Watched(JSONFileLoader):
        def load_file(self, file_path: str) -> Any:
            read.append(file_path)
            return super().load_file(file_path)

    monkeypatch.setattr("botocore.loaders.Loader.FILE_LOADER_CLASS", Watched)
    opened(run_id="01OTHER").client("ssm")
    assert [path for path in read if path.endswith("service-2")] == []


@pytest.mark.parametrize(
    ("code", "error_class"),
    [
        ("AccessDenied", ErrorClass.TERMINAL),
        ("PackedPolicyTooLarge", ErrorClass.TERMINAL),
        ("ValidationError", ErrorClass.TERMINAL),
        ("ThrottlingException", ErrorClass.THROTTLED),
        ("Throttling", ErrorClass.THROTTLED),
        ("InternalFailure", ErrorClass.RETRYABLE),
        ("ExpiredToken", ErrorClass.RETRYABLE),
    ],
)
def test_a_role_that_cannot_be_assumed_is_said_with_its_remedy(cloud: Cloud, code: str, error_class: ErrorClass) -> None:
    cloud.answer("sts", "AssumeRole", error(code, "not you"), status=403)
    with pytest.raises(ModuleError, match=rf"cannot assume arn:aws:iam::{FAR}:role/the-role: not you. Deploy deploy/Target") as raised:
        opened()
    assert (raised.value.code, raised.value.error_class, raised.value.request_id) == (code, error_class, "req-1")
    assert opened(), "the next one may succeed"


def test_a_region_that_does_not_answer_is_an_outcome_too(cloud: Cloud) -> None:
    cloud.answer("sts", "AssumeRole", ConnectTimeoutError(endpoint_url="https://sts.us-west-2.amazonaws.com"))
    with pytest.raises(ModuleError, match=r"cannot assume .* Connect timeout on endpoint URL") as raised:
        opened()
    assert raised.value.error_class is ErrorClass.RETRYABLE


def in_seconds(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.mark.failure("An executor stands still beyond its lease", "Clocks differ")
@pytest.mark.parametrize("left", [-10, 0, 14])
def test_no_call_is_sent_when_the_lease_is_about_to_end(cloud: Cloud, left: float) -> None:
    where = opened()
    with acting_until(in_seconds(left)), pytest.raises(ModuleError, match="LeaseEnding") as raised:
        put(where)
    assert raised.value.error_class is ErrorClass.AMBIGUOUS
    assert where.client("ssm").describe_parameters()["Parameters"] == [], "afterwards calls are sent again"


@pytest.mark.parametrize("left", [None, 600.0])
def test_until_then_calls_are_sent(cloud: Cloud, left: float | None) -> None:
    where = opened()
    with acting_until(None if left is None else in_seconds(left)):
        put(where)
    assert where.client("ssm").get_parameter(Name="/lamp")["Parameter"]["Value"] == "on"


def test_a_try_is_held_back_too_when_the_first_one_took_too_long(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    tries, client = [], opened().client("ssm")

    def fails(**_: object) -> Any:
        tries.append(target._deadline.set(in_seconds(0)))  # the lease runs out meanwhile
        raise ConnectTimeoutError(endpoint_url="https://ssm.us-west-2.amazonaws.com")

    client.meta.events.register("before-send", fails)
    with acting_until(in_seconds(60)), pytest.raises(ModuleError, match="LeaseEnding"):
        client.put_parameter(Name="/lamp", Value="on", Type="String")
    assert len(tries) == 1


def test_leases_nest_and_end(cloud: Cloud) -> None:
    where = opened()
    with acting_until(in_seconds(600)):
        with acting_until(in_seconds(0)), pytest.raises(ModuleError):
            put(where)
        put(where)


def test_the_environment_names_role_and_word(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET_ROLE_NAME", "named-role")
    monkeypatch.setenv("EXTERNAL_ID", "the-word")
    target_access().open(FAR, HOME, OTHER, Purpose("01RUN", "erp", Phase.ACTIVATE), ("ssm:GetParameter",))
    (call,) = cloud.made("AssumeRole")
    assert (call.parameters["RoleArn"].rpartition("/")[2], call.parameters["ExternalId"]) == ("named-role", "the-word")


def test_one_try_of_a_call_is_shorter_than_what_is_kept_free_of_a_lease() -> None:
    options: Any = target._CONFIG
    assert options.connect_timeout + options.read_timeout < target._TRY_SECONDS


def a_session() -> botocore.session.Session:
    made = botocore.session.Session()
    made.set_credentials("AKIATEST", "secret")
    return made


def test_a_client_is_made_once_for_all_who_share_the_session() -> None:
    """To make one takes longer than most calls; one with a configuration of its own is its own."""
    session = a_session()
    one, other = (Target(session, "222222222222", "us-west-2", "us-east-1") for _ in range(2))
    assert one.client("ssm") is other.client("ssm") is one.client("ssm", region="us-west-2")
    assert one.client("ssm") is not one.client("ssm", region="us-east-1")
    assert one.client("ssm") is not one.client("ec2")
    assert one.client("ssm", config=Config(read_timeout=3)) is not one.client("ssm")
    assert one.client("ssm").meta.config.read_timeout == 10
    assert Target(a_session(), "2", "us-west-2", "us-east-1").client("ssm") is not one.client("ssm")
