"""Signed requests on the deployed stack: who is verified, who is turned away, and what drctl does in either case."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from dr_core.records import ApprovalStatus, ExecutionStatus
from localcloud.cloud import CONTROL_ACCOUNT, STANDBY_REGION
from tests.integration.stack.operator import Operator, drctl

ROOT = f"arn:aws:iam::{CONTROL_ACCOUNT}:root"
REQUEST = {
    "application": "storefront",
    "phase": "INSTANTIATE",
    "sourceRegion": "us-east-1",
    "targetRegion": "us-west-2",
    "mode": "planned",
    "reason": "test",
    "requestedBy": "arn:aws:iam::111111111111:user/mallory",
}
EXECUTION = "Execution Requested"
BOTH = ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction")


@dataclass
class Person:
    """Somebody who signs with credentials of their own."""

    operator: Operator
    session: boto3.Session

    def signed(self, body: Mapping[str, object], service: str = "lambda") -> httpx.Request:
        """A request to the stack's RequestUrl."""
        url = self.operator.outputs["RequestUrl"]
        request = AWSRequest("POST", url, data=json.dumps(body), headers={"Content-Type": "application/json"})
        credentials = self.session.get_credentials()
        assert credentials is not None
        SigV4Auth(credentials.get_frozen_credentials(), service, STANDBY_REGION).add_auth(request)
        return httpx.Request("POST", url, content=json.dumps(body), headers=dict(request.prepare().headers))

    def send(self, request: httpx.Request) -> httpx.Response:
        """Send it."""
        with httpx.Client(timeout=60) as client:
            return client.send(request)

    def ask(self, **changes: object) -> httpx.Response:
        """Ask for a phase of the storefront."""
        detail = {**REQUEST, "clientToken": uuid.uuid4().hex, **changes}
        self.operator._requested.add("storefront")
        return self.send(self.signed({"detail-type": EXECUTION, "detail": detail}))


def root(operator: Operator) -> Person:
    return Person(operator, boto3.Session())


def somebody(operator: Operator, *actions: str, **condition: Any) -> Person:
    """Who has assumed a role with these rights on the function behind the URL, as olga."""
    name = f"r-{uuid.uuid4().hex[:8]}"
    iam = operator.cloud.client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "sts:AssumeRole"}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    function = operator.outputs["RequestFunctionArn"]
    may = [{"Effect": "Allow", "Action": list(actions), "Resource": function, **condition}]
    if actions:
        policy = json.dumps({"Version": "2012-10-17", "Statement": may})
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy)
    role = f"arn:aws:iam::{CONTROL_ACCOUNT}:role/{name}"
    found = operator.cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="olga")["Credentials"]
    return Person(operator, boto3.Session(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]))


def test_the_requester_is_who_signed_whatever_the_body_says(operator: Operator) -> None:
    person = somebody(operator, *BOTH)
    answer = person.ask()
    assert answer.status_code == 200, answer.text
    made = operator.execution(answer.json()["executionId"])
    assert made.requester_verified and made.status is ExecutionStatus.PENDING_APPROVAL
    assert made.requested_by.startswith(f"arn:aws:sts::{CONTROL_ACCOUNT}:assumed-role/r-") and made.requested_by.endswith("/olga")
    again = person.ask()
    assert again.status_code == 422 and made.id in again.json()["detail"], "the application is locked, and the answer says by whom"


@pytest.mark.parametrize("who", ["root", "session"])
@pytest.mark.parametrize("what", ["body", "signature", "service", "unsigned"])
def test_what_is_tampered_with_or_unsigned_is_403(operator: Operator, who: str, what: str) -> None:
    person = root(operator) if who == "root" else somebody(operator, *BOTH)
    token = uuid.uuid4().hex
    body = {"detail-type": EXECUTION, "detail": {**REQUEST, "clientToken": token}}
    request = person.signed(body, "s3" if what == "service" else "lambda")
    if what == "body":
        altered = json.dumps(body).replace("INSTANTIATE", "REPLICATE__")
        request = httpx.Request("POST", request.url, content=altered, headers=request.headers)
    if what == "signature":
        request.headers["Authorization"] = request.headers["Authorization"][:-4] + "0000"
    if what == "unsigned":
        del request.headers["Authorization"]
    answer = person.send(request)
    assert answer.status_code == 403, answer.text
    assert operator.table.by_token("storefront", token) is None


@pytest.mark.parametrize("actions", [(), BOTH[:1], BOTH[1:]], ids=["none", "url only", "function only"])
def test_who_lacks_a_right_is_403(operator: Operator, actions: tuple[str, ...]) -> None:
    assert somebody(operator, *actions).ask().status_code == 403


def test_the_rights_that_the_documentation_names_are_enough(operator: Operator) -> None:
    """`lambda:InvokeFunction` through the URL alone: who may call the function directly could write any name into its event."""
    person = somebody(operator, *BOTH, Condition={"BoolIfExists": {"lambda:InvokedViaFunctionUrl": "true"}})
    assert person.ask(phase="nonsense").status_code == 422


def test_drctl_asks_votes_and_commands_as_who_aws_says(operator: Operator) -> None:
    operator._requested.add("storefront")
    started = drctl("start", "storefront", "INSTANTIATE", "--reason", "drill", "--requested-by", "mallory")
    assert started.returncode == 0, started.stderr
    execution_id = started.stdout.strip()
    made = operator.execution(execution_id)
    assert (made.requested_by, made.requester_verified) == (ROOT, True)
    assert f"by {ROOT} (verified: signed in with AWS)" in drctl("status", execution_id).stdout
    refused = drctl("resume", execution_id, "--reason", "go on")
    assert refused.returncode == 1 and "resume refused" in refused.stderr
    voted = drctl("reject", execution_id, "--reason", "not now")
    assert voted.returncode == 0 and f"rejected as {ROOT}" in voted.stdout, voted.stderr
    approval = operator.table.approval(execution_id)
    assert approval and (approval.status, approval.approver) == (ApprovalStatus.REJECTED, ROOT)
    assert operator.finished(execution_id).status is ExecutionStatus.REJECTED
    commands = [json.loads(one.detail) for one in operator.table.timeline(execution_id) if one.detail_type == "Command Refused"]
    assert [(one["actor"], one["actorVerified"]) for one in commands] == [(ROOT, True)]


def test_over_the_bus_nobody_is_verified(operator: Operator) -> None:
    made = operator.execution(operator.request(requestedBy=ROOT))
    assert (made.requested_by, made.requester_verified) == (ROOT, False)
