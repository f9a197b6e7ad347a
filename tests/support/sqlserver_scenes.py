"""A SQL Server instance with its backups copied to the other Region, and what is left of it at each stage of a failover."""

import json
from typing import Any

from dr_modules._sql_server import EXECUTION, RESTORED_FROM
from tests.support.aws import ACCOUNT, PRIMARY, STANDBY, World

NAME, KEY = "prod-sqlserver", "/prod/sqlserver/config"
SQLSERVER = {"DBInstanceIdentifierSource": NAME, "ClusterConfigSSMKey": KEY}


def arn(region: str = PRIMARY) -> str:
    """The ARN of the Region's instance."""
    return f"arn:aws:rds:{region}:{ACCOUNT}:db:{NAME}"


def instance(world: World, region: str = PRIMARY, name: str = NAME, **options: Any) -> Any:
    """An instance, protected from deletion, available. Returns the client."""
    rds = world.client("rds", region)
    asked = {"DBInstanceClass": "db.m5.xlarge", "AllocatedStorage": 200, "BackupRetentionPeriod": 7, "DeletionProtection": True, **options}
    login = {"MasterUsername": "admin1", "MasterUserPassword": "secret99", "LicenseModel": "license-included"}
    rds.create_db_instance(DBInstanceIdentifier=name, Engine="sqlserver-se", EngineVersion="15.00.4335.1.v1", **login, **asked)
    world.time.advance(120)
    return rds


def groups(world: World, region: str = STANDBY) -> dict[str, Any]:
    """The groups that an instance of the Region shall be in, as settings name them."""
    ec2, rds = world.client("ec2", region), world.client("rds", region)
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]]
    rds.create_db_subnet_group(DBSubnetGroupName="db", DBSubnetGroupDescription="db", SubnetIds=subnets)
    rds.create_db_parameter_group(DBParameterGroupName="sql", DBParameterGroupFamily="sqlserver-se-15.0", Description="sql")
    options = {"EngineName": "sqlserver-se", "MajorEngineVersion": "15.00"}
    rds.create_option_group(OptionGroupName="backups", OptionGroupDescription="sql", **options)
    return {
        "DBSubnetGroupName": "db",
        "VpcSecurityGroupIds": [ec2.create_security_group(GroupName="sql", Description="sql")["GroupId"]],
        "OptionGroupName": "backups",
        "DBParameterGroupName": "sql",
    }


def settings(world: World, region: str = STANDBY, key: str = KEY, **changed: Any) -> dict[str, Any]:
    """The settings stored for the Region's instance."""
    chosen = {"DBInstanceClass": "db.r5.large", "MultiAZ": True, "DeletionProtection": True, **groups(world, region), **changed}
    store(world, json.dumps(chosen), region, key)
    return chosen


def store(world: World, value: str, region: str = STANDBY, key: str = KEY) -> None:
    """The settings' parameter as it is given."""
    world.client("ssm", region).put_parameter(Name=key, Value=value, Type="String", Overwrite=True)


def copied(world: World, **options: Any) -> Any:
    """An instance in the primary Region, its backups copied to the standby. Returns the standby's client."""
    instance(world, **options)
    rds = world.client("rds")
    rds.start_db_instance_automated_backups_replication(SourceDBInstanceArn=arn())
    world.time.advance(1200)
    return rds


def ready(world: World) -> dict[str, Any]:
    """All that ACTIVATE needs in the standby Region. Returns the settings."""
    copied(world)
    return settings(world)


def failed_over(world: World, name: str = NAME) -> Any:
    """Restored in the standby Region, the old instance still there. Returns the client of the old side."""
    chosen = ready(world)
    restore(world, name, **chosen)
    return world.client("rds", PRIMARY)


def restore(world: World, name: str = NAME, execution: str = "01EARLIER", region: str = STANDBY, **chosen: Any) -> None:
    """An instance that an execution restored from the copied backups, available."""
    copy = backup(world, region)
    tags = {RESTORED_FROM: copy["DbiResourceId"], EXECUTION: execution}
    world.client("rds", region).restore_db_instance_to_point_in_time(
        SourceDBInstanceAutomatedBackupsArn=copy["DBInstanceAutomatedBackupsArn"],
        TargetDBInstanceIdentifier=name,
        UseLatestRestorableTime=True,
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        **chosen,
    )
    world.time.advance(300)


def cleaned_up(world: World) -> Any:
    """The old side's instance is deleted. Returns its client."""
    rds = failed_over(world)
    delete(world)
    return rds


def delete(world: World, region: str = PRIMARY, snapshot: str = f"{NAME}-final-earlier") -> None:
    """The Region's instance is gone, its final snapshot and its automated backups are there."""
    rds = world.client("rds", region)
    rds.modify_db_instance(DBInstanceIdentifier=NAME, DeletionProtection=False)
    world.time.advance(60)
    rds.delete_db_instance(DBInstanceIdentifier=NAME, FinalDBSnapshotIdentifier=snapshot, DeleteAutomatedBackups=False)
    world.time.advance(60)


def statuses(world: World, region: str = STANDBY) -> dict[str, str]:
    """The Region's instances."""
    found = world.client("rds", region).describe_db_instances()["DBInstances"]
    return {one["DBInstanceIdentifier"]: one["DBInstanceStatus"] for one in found}


def backup(world: World, region: str = STANDBY) -> dict[str, Any]:
    """The newest copy, in the Region, of another Region's backups."""
    found = world.client("rds", region).describe_db_instance_automated_backups()["DBInstanceAutomatedBackups"]
    return dict([one for one in found if one["Region"] != region][-1])
