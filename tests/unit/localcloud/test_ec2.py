"""EC2: instances take time to start, to be checked and to stop, and what AWS refuses is refused."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from localcloud.extension import clock, ec2, service_quotas

from .conftest import Client
from .test_rds import code

ACCOUNT, WEST = "123456789012", "us-west-2"


class Web:
    """An instance, running and checked at first. EC2's model has no error codes: changes go through a client that is not held to it."""

    def __init__(self, aws: Client, time: clock.ManualClock) -> None:
        self.reader, self.ec2, self.time = aws("ec2", WEST), boto3.client("ec2", region_name=WEST), time
        launched = self.reader.run_instances(ImageId="ami-0abc1234", InstanceType="m5.large", MinCount=1, MaxCount=1)
        self.id: str = launched["Instances"][0]["InstanceId"]
        assert self.state == "pending"
        self.time.advance(ec2.START_SECONDS + ec2.CHECKS_SECONDS)

    @property
    def found(self) -> Any:
        return self.reader.describe_instances(InstanceIds=[self.id])["Reservations"][0]["Instances"][0]

    @property
    def state(self) -> str:
        return str(self.found["State"]["Name"])

    @property
    def checks(self) -> tuple[str, str]:
        [said] = self.reader.describe_instance_status(InstanceIds=[self.id], IncludeAllInstances=True)["InstanceStatuses"]
        return said["InstanceStatus"]["Status"], said["SystemStatus"]["Status"]

    def start(self) -> Any:
        return self.ec2.start_instances(InstanceIds=[self.id])["StartingInstances"][0]

    def stop(self) -> Any:
        return self.ec2.stop_instances(InstanceIds=[self.id])["StoppingInstances"][0]


@pytest.fixture
def web(aws: Client, time: clock.ManualClock) -> Iterator[Web]:
    yield Web(aws, time)


def test_an_instance_stops_and_starts_over_time(web: Web) -> None:
    assert (web.state, web.checks) == ("running", ("ok", "ok"))
    assert web.stop()["PreviousState"]["Name"] == "running"
    assert (web.state, web.checks) == ("stopping", ("not-applicable", "not-applicable"))
    web.time.advance(ec2.STOP_SECONDS)
    assert (web.state, web.found["StateReason"]["Code"]) == ("stopped", "Client.UserInitiatedShutdown")

    started = web.start()
    assert (started["PreviousState"]["Name"], started["CurrentState"]["Name"]) == ("stopped", "pending")
    assert web.state == "pending"
    web.time.advance(ec2.START_SECONDS)
    assert (web.state, web.checks) == ("running", ("initializing", "initializing"))
    web.time.advance(ec2.CHECKS_SECONDS)
    assert web.checks == ("ok", "ok")


def test_what_is_there_already_stays(web: Web) -> None:
    assert web.start()["PreviousState"]["Name"] == "running"
    assert (web.state, web.checks) == ("running", ("ok", "ok"))
    web.stop()
    assert web.stop()["PreviousState"]["Name"] == "stopping"
    web.time.advance(ec2.STOP_SECONDS)
    web.stop()
    assert web.state == "stopped"


def test_the_checks_of_an_earlier_start_do_not_count(web: Web) -> None:
    web.stop()
    web.time.advance(ec2.STOP_SECONDS)
    web.start()
    web.time.advance(ec2.START_SECONDS)
    web.stop()
    web.time.advance(ec2.STOP_SECONDS)
    web.start()
    web.time.advance(ec2.CHECKS_SECONDS - 1)  # by now the first start's checks would be ok
    assert web.checks == ("initializing", "initializing")


def test_starts_and_stops_that_are_refused(web: Web) -> None:
    web.stop()
    with pytest.raises(ClientError) as stopping:
        web.start()
    web.time.advance(ec2.STOP_SECONDS)
    web.start()
    with pytest.raises(ClientError) as pending:
        web.stop()
    web.ec2.terminate_instances(InstanceIds=[web.id])
    for call in (web.start, web.stop):
        with pytest.raises(ClientError) as terminated:
            call()
        assert code(terminated) == "IncorrectInstanceState"
    web.time.advance(600)
    assert ([code(stopping), code(pending)], web.state) == (["IncorrectInstanceState"] * 2, "terminated")


def test_a_start_is_of_all_or_none(web: Web) -> None:
    other = Web(lambda *_: web.reader, web.time)
    for one in (web, other):
        one.stop()
    web.time.advance(ec2.STOP_SECONDS)
    ec2.refuse_starts(ACCOUNT, WEST, other.id)
    with pytest.raises(ClientError) as error:
        web.ec2.start_instances(InstanceIds=[web.id, other.id])
    assert (code(error), web.state, other.state) == ("InsufficientInstanceCapacity", "stopped", "stopped")
    ec2.refuse_starts(ACCOUNT, WEST, other.id, None)
    web.ec2.start_instances(InstanceIds=[web.id, other.id])
    assert (web.state, other.state) == ("pending", "pending")


def test_a_start_that_fails_says_why(web: Web) -> None:
    web.stop()
    web.time.advance(ec2.STOP_SECONDS)
    ec2.fail_starts(ACCOUNT, WEST, web.id, "Client.InternalError")
    web.start()
    web.time.advance(ec2.START_SECONDS)
    assert (web.state, web.found["StateReason"]["Code"]) == ("stopped", "Client.InternalError")


def test_an_impaired_instance_recovers(web: Web) -> None:
    ec2.impair(ACCOUNT, WEST, web.id)
    assert (web.state, web.checks) == ("running", ("impaired", "impaired"))
    ec2.impair(ACCOUNT, WEST, web.id, impaired=False)
    assert web.checks == ("ok", "ok")


def test_the_time_scale_shortens_it(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(clock.TIME_SCALE_VARIABLE, "0")
    web.stop()
    assert web.state == "stopped"
    web.start()
    assert (web.state, web.checks) == ("running", ("ok", "ok"))


def test_quotas_are_an_accounts_in_a_region(aws: Client) -> None:
    service_quotas.grant(ACCOUNT, WEST, "ec2", "L-1216C47A", 64)

    def quota(region: str, service: str = "ec2", which: str = "L-1216C47A") -> Any:
        return aws("service-quotas", region).get_service_quota(ServiceCode=service, QuotaCode=which)["Quota"]

    assert (quota(WEST)["Value"], quota("us-east-1")["Value"]) == (64.0, 512.0)
    assert quota(WEST, "vpc", "L-7E9ECCDB")["Value"] == 50.0  # moto's own
    with pytest.raises(ClientError) as error:
        quota(WEST, "ec2", "L-00000000")
    assert code(error) == "NoSuchResourceException"
