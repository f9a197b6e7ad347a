"""What IAM is asked about for a call that moto serves: the ARNs that the call names, or one of the kind that the action takes."""

import pytest

from localcloud.authorisation import resources

ACCOUNT = "222222222222"
OWN, FOREIGN = f"arn:aws:rds:us-west-2:{ACCOUNT}:cluster:a", "arn:aws:rds:us-west-2:333333333333:cluster:b"


@pytest.mark.parametrize(
    ("action", "parameters", "expected"),
    [
        ("ec2:DescribeInstances", {"InstanceId.1": "i-1"}, ["*"]),
        ("ec2:StartInstances", {"InstanceId.1": "i-1"}, [f"arn:aws:ec2:us-west-2:{ACCOUNT}:instance/*"]),
        ("rds:DeleteDBCluster", {"DBClusterIdentifier": "a"}, [f"arn:aws:rds:us-west-2:{ACCOUNT}:cluster:*"]),
        ("rds:FailoverGlobalCluster", {"TargetDbClusterIdentifier": FOREIGN}, [FOREIGN]),
        ("rds:AddTagsToResource", {"ResourceName": FOREIGN, "Source": OWN, "Other": "arn:aws:iam::1:role/x"}, [OWN, FOREIGN]),
        ("drs:StartRecovery", {"sourceServers": [{"sourceServerID": "s-1"}]}, [f"arn:aws:drs:us-west-2:{ACCOUNT}:*"]),
        ("cloudwatch:GetMetricData", {}, [f"arn:aws:cloudwatch:us-west-2:{ACCOUNT}:dataset/*"]),
    ],
)
def test_the_resources_of_a_call(action: str, parameters: dict[str, object], expected: list[str]) -> None:
    assert resources(action, "us-west-2", ACCOUNT, parameters) == expected
