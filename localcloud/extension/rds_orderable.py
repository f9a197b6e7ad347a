"""RDS: the instance classes that can be ordered for Aurora MySQL, of which moto knows none.

https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Concepts.DBInstanceClass.SupportAurora.html (version 3). Every Region has all.
"""

from typing import Any, Final

from moto.core.responses import ActionResult, PaginatedResult
from moto.rds.responses import RDSResponse

from localcloud.extension.agenda import replace

_ENGINE: Final = "aurora-mysql"
_VERSION: Final = "8.0.mysql_aurora.3.08.0"
_MEMORY: Final = ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")
_SIZES: Final = {
    **dict.fromkeys(("r5", "r6g", "r6i", "r7g", "r7i", "r8g"), _MEMORY),
    **dict.fromkeys(("t3", "t4g"), ("medium", "large")),
}
_CLASSES: Final = ("db.serverless", *(f"db.{family}.{size}" for family, sizes in _SIZES.items() for size in sizes))


def install() -> None:
    """Extend moto's RDS in this process."""
    replace(RDSResponse, describe_orderable_db_instance_options=describe_orderable_db_instance_options)


def describe_orderable_db_instance_options(response: RDSResponse) -> ActionResult:
    """DescribeOrderableDBInstanceOptions: of an engine, and of a class if one is named, which moto leaves out of account."""
    engine, version, wanted = (response.params.get(key) for key in ("Engine", "EngineVersion", "DBInstanceClass"))
    if engine == _ENGINE:
        options = [_option(response.region, version, name) for name in _CLASSES]
    else:
        options = response.backend.describe_orderable_db_instance_options(engine, version)
    found = [option for option in options if wanted in (None, option["DBInstanceClass"])]
    return PaginatedResult({"OrderableDBInstanceOptions": found})


def _option(region: str, version: str | None, name: str) -> dict[str, Any]:
    zones = [{"Name": f"{region}{letter}"} for letter in "abc"]
    return {
        "Engine": _ENGINE,
        "EngineVersion": version or _VERSION,
        "DBInstanceClass": name,
        "AvailabilityZones": zones,
        "StorageType": "aurora",
        "Vpc": True,
    }
