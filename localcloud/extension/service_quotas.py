"""Service Quotas: the quotas that this product reads, which moto does not have, each with a value of its own per account and Region."""

from typing import Any, Final

from moto.servicequotas.models import ServiceQuotasBackend, servicequotas_backends

from localcloud.extension.agenda import replace

# By service and quota code: the service's name, the quota's name, and the value of an account that has asked for room. AWS begins lower.
_QUOTAS: Final = {
    ("ec2", "L-1216C47A"): (
        "Amazon Elastic Compute Cloud (Amazon EC2)",
        "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
        512.0,
    ),
    ("fargate", "L-3032A538"): ("AWS Fargate", "Fargate On-Demand vCPU resource count", 512.0),
}
_ATTRIBUTE: Final = "_localcloud_quotas"

_get: Final = ServiceQuotasBackend.get_service_quota


def install() -> None:
    """Extend moto's Service Quotas in this process."""
    replace(ServiceQuotasBackend, get_service_quota=get_service_quota)


def grant(account: str, region: str, service: str, code: str, value: float) -> None:
    """Give an account another value of a quota in a Region."""
    servicequotas_backends[account][region].__dict__.setdefault(_ATTRIBUTE, {})[service, code] = value


def get_service_quota(backend: ServiceQuotasBackend, service_code: str, quota_code: str) -> dict[str, Any]:
    """GetServiceQuota: one of ours, else moto's own."""
    known = _QUOTAS.get((service_code, quota_code))
    if known is None:
        return _get(backend, service_code, quota_code)
    service_name, quota_name, value = known
    granted: dict[tuple[str, str], float] = backend.__dict__.get(_ATTRIBUTE, {})
    return {
        "ServiceCode": service_code,
        "ServiceName": service_name,
        "QuotaArn": f"arn:aws:servicequotas:{backend.region_name}:{backend.account_id}:{service_code}/{quota_code}",
        "QuotaCode": quota_code,
        "QuotaName": quota_name,
        "Value": granted.get((service_code, quota_code), value),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }
