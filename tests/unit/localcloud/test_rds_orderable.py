"""The classes that can be ordered for Aurora MySQL, and Fargate's quota: what preflight asks the emulator for."""

import pytest

from .conftest import Client

ENGINE = {"Engine": "aurora-mysql"}


@pytest.mark.parametrize(
    ("name", "offered"), [("db.r6g.large", True), ("db.r6g.2xlarge", True), ("db.serverless", True), ("db.m1.small", False)]
)
@pytest.mark.parametrize("region", ["us-east-1", "us-west-2"])
def test_a_class_is_offered_or_not(aws: Client, name: str, offered: bool, region: str) -> None:
    version = "8.0.mysql_aurora.3.08.0"
    answer = aws("rds", region).describe_orderable_db_instance_options(**ENGINE, EngineVersion=version, DBInstanceClass=name)
    found = answer["OrderableDBInstanceOptions"]
    assert [(one["DBInstanceClass"], one["EngineVersion"]) for one in found] == ([(name, version)] if offered else [])
    for one in found:
        assert [zone["Name"] for zone in one["AvailabilityZones"]] == [f"{region}{letter}" for letter in "abc"]


def test_without_a_class_all_are_listed_in_pages(aws: Client) -> None:
    pages = (
        aws("rds", "us-west-2")
        .get_paginator("describe_orderable_db_instance_options")
        .paginate(**ENGINE, PaginationConfig={"PageSize": 20})
    )
    names = [one["DBInstanceClass"] for page in pages for one in page["OrderableDBInstanceOptions"]]
    assert len(names) == len(set(names)) > 20


def test_other_engines_are_motos_and_filtered_too(aws: Client) -> None:
    rds = aws("rds", "us-west-2")
    every = {one["DBInstanceClass"] for one in rds.describe_orderable_db_instance_options(Engine="neptune")["OrderableDBInstanceOptions"]}
    name = min(every)
    one = rds.describe_orderable_db_instance_options(Engine="neptune", DBInstanceClass=name)["OrderableDBInstanceOptions"]
    assert {found["DBInstanceClass"] for found in one} == {name}


def test_fargates_quota_is_known(aws: Client) -> None:
    quota = aws("service-quotas", "us-west-2").get_service_quota(ServiceCode="fargate", QuotaCode="L-3032A538")["Quota"]
    assert quota["Value"] > 0
