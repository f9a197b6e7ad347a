"""Mails: kept by whom they were sent to, and sent only by who may use the identity that they come from."""

import json
import uuid
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError

from localcloud import mails
from localcloud.cloud import CONTROL_ACCOUNT, STANDBY_REGION, LocalCloud

if TYPE_CHECKING:
    from mypy_boto3_sesv2 import SESV2Client

pytestmark = pytest.mark.integration


def who_may_use(cloud: LocalCloud, identity: str) -> "SESV2Client":
    """SES for somebody with the right to this identity and no other."""
    name = f"r-{uuid.uuid4().hex[:8]}"
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{CONTROL_ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    may = {
        "Effect": "Allow",
        "Action": ["ses:SendEmail", "ses:SendRawEmail"],
        "Resource": f"arn:aws:ses:{STANDBY_REGION}:{CONTROL_ACCOUNT}:identity/{identity}",
    }
    iam = cloud.client("iam")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))["Role"][
        "Arn"
    ]
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [may]}))
    found = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    session = boto3.Session(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"], STANDBY_REGION)
    return session.client("sesv2", endpoint_url=cloud.endpoint_url)


def send(ses: "SESV2Client", sender: str, subject: str) -> None:
    raw = f"From: {sender}\r\nTo: ann@example.com\r\nSubject: {subject}\r\n\r\nseen?\r\n".encode()
    ses.send_email(FromEmailAddress=sender, Destination={"ToAddresses": ["ann@example.com"]}, Content={"Raw": {"Data": raw}})


def test_a_mail_is_sent_by_who_may_use_its_identity_alone(cloud: LocalCloud) -> None:
    mails.verify_sender(cloud, STANDBY_REGION)
    ses, subject = who_may_use(cloud, mails.SENDER), uuid.uuid4().hex
    send(ses, mails.SENDER, subject)
    (kept,) = [one for one in mails.sent(cloud) if one.subject == subject]
    assert (kept.recipients, kept.text.strip()) == (("ann@example.com",), "seen?")
    other = "other@localcloud.example"
    cloud.client("sesv2").create_email_identity(EmailIdentity=other)
    for sender in (other, "any@elsewhere.example"):
        with pytest.raises(ClientError, match="AccessDenied"):
            send(ses, sender, "not theirs")
    assert not [one for one in mails.sent(cloud) if one.subject == "not theirs"]


def test_where_the_domain_is_verified_it_is_the_identity(cloud: LocalCloud) -> None:
    domain = f"{uuid.uuid4().hex[:8]}.example"
    cloud.client("sesv2").create_email_identity(EmailIdentity=domain)
    send(who_may_use(cloud, domain), f"dr@{domain}", domain)
    assert [one.recipients for one in mails.sent(cloud) if one.subject == domain] == [("ann@example.com",)]
