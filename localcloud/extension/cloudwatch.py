"""CloudWatch: what AWS measures of the resources that moto holds, as it is now.

Other files of the extension register a metric with `live`. GetMetricData, GetMetricStatistics and ListMetrics then serve it: one datapoint
for each of the last minutes, all of the present value, and none for what is not measured now.

`hold` sets what is measured until `release` or moto's reset; over HTTP the same is `POST /moto-api/localcloud/metrics` on moto's server,
with a body such as

    {"account": "123456789012", "region": "us-west-2",
     "namespace": "AWS/ElastiCache", "metric": "GlobalDatastoreReplicationLag", "value": 90}

whose `value` is null for a metric that is not published any more, and left out to release it. `dimensions`, an object, narrows it to the
series that have them.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from moto.cloudwatch.models import CloudWatchBackend, Dimension, MetricDatum, MetricDatumBase, cloudwatch_backends
from moto.core.common_types import TYPE_RESPONSE
from moto.core.utils import utcnow
from moto.moto_api._internal import urls as moto_api_urls

from localcloud.extension.agenda import replace

PATH: Final = "/moto-api/localcloud/metrics"
MINUTES: Final = 15  # of past datapoints, enough for any look at the present

Dimensions = Mapping[str, str]
Series = Callable[[str, str], Iterable[tuple[Dimensions, float]]]
"""Of an account and a Region: the dimensions of all that is measured there now, and the value."""

_ATTRIBUTE: Final = "_localcloud_held"
_get_all_metrics: Final = CloudWatchBackend.get_all_metrics


@dataclass(frozen=True)
class _Metric:
    """A metric that AWS publishes."""

    namespace: str
    name: str
    unit: str
    series: Series


@dataclass(frozen=True)
class _Held:
    """What is measured instead of the truth; None is no data."""

    namespace: str
    metric: str
    value: float | None = None
    dimensions: Dimensions = field(default_factory=dict)

    def same_place(self, other: "_Held") -> bool:
        return (self.namespace, self.metric, self.dimensions) == (other.namespace, other.metric, other.dimensions)

    def covers(self, metric: _Metric, dimensions: Dimensions) -> bool:
        named = (self.namespace, self.metric) == (metric.namespace, metric.name)
        return named and self.dimensions.items() <= dimensions.items()


_metrics: Final[dict[tuple[str, str], _Metric]] = {}


def install() -> None:
    """Extend moto's CloudWatch in this process."""
    replace(CloudWatchBackend, get_all_metrics=get_all_metrics, get_filtered_metrics=get_filtered_metrics)
    replace(Dimension, __lt__=_precedes)
    moto_api_urls.url_paths["{0}" + PATH + "$"] = configure


def live(namespace: str, metric: str, unit: str, series: Series) -> None:
    """Publish a metric, in CloudWatch's `unit`, whose values `series` gives whenever somebody asks."""
    _metrics[namespace, metric] = _Metric(namespace, metric, unit, series)


def hold(account: str, region: str, namespace: str, metric: str, value: float | None, dimensions: Dimensions | None = None) -> None:
    """Have CloudWatch measure `value`, in the metric's own unit, where there is something to measure; None publishes no data."""
    held = _Held(namespace, metric, value, dict(dimensions or {}))
    _set(account, region, held, [held])


def release(account: str, region: str, namespace: str, metric: str, dimensions: Dimensions | None = None) -> None:
    """Have CloudWatch measure the truth again."""
    _set(account, region, _Held(namespace, metric, None, dict(dimensions or {})), [])


def _set(account: str, region: str, place: _Held, held: list[_Held]) -> None:
    backend = cloudwatch_backends[account][region]
    backend.__dict__[_ATTRIBUTE] = [other for other in _held(backend) if not other.same_place(place)] + held


def _held(backend: CloudWatchBackend) -> list[_Held]:
    found: list[_Held] = backend.__dict__.get(_ATTRIBUTE, [])
    return found


def get_all_metrics(backend: CloudWatchBackend) -> list[MetricDatumBase]:
    """All datapoints of an account and Region: those that were put, and those that are measured now."""
    return [*_get_all_metrics(backend), *_measured(backend)]


def get_filtered_metrics(
    backend: CloudWatchBackend, metric_name: str, namespace: str, dimensions: list[dict[str, str]]
) -> list[MetricDatumBase]:
    """ListMetrics: each series once, where moto lists one of several dimensions with each of its datapoints."""
    found: dict[object, MetricDatumBase] = {}
    for datum in get_all_metrics(backend):
        if datum.filter(namespace, metric_name, dimensions):
            series = (datum.namespace, datum.name, *sorted((one.name or "", one.value or "") for one in datum.dimensions))
            found.setdefault(series, datum)
    return list(found.values())


def _precedes(dimension: Dimension, other: Dimension) -> bool:
    """An order of dimensions, by which moto finds a series whatever the order they are asked for in; its own is none."""
    return (dimension.name or "", dimension.value or "") < (other.name or "", other.value or "")


def _measured(backend: CloudWatchBackend) -> Iterable[MetricDatumBase]:
    # A datapoint bears the time at which its minute began; the present minute's is published when it has passed.
    latest = utcnow().replace(second=0, microsecond=0) - timedelta(minutes=1)
    for metric in _metrics.values():
        for dimensions, true_value in metric.series(backend.account_id, backend.region_name):
            value = _present_value(backend, metric, dimensions, true_value)
            if value is None:
                continue
            worded = [{"Name": name, "Value": text} for name, text in dimensions.items()]
            for minute in range(MINUTES):
                yield MetricDatum(metric.namespace, metric.name, value, worded, latest - timedelta(minutes=minute), metric.unit)


def _present_value(backend: CloudWatchBackend, metric: _Metric, dimensions: Dimensions, true_value: float) -> float | None:
    for held in reversed(_held(backend)):
        if held.covers(metric, dimensions):
            return held.value
    return true_value


def configure(request: Any, full_url: str, headers: Mapping[str, str]) -> TYPE_RESPONSE:
    """Hold or release a metric as the body says. 400 for another method, an unknown metric, or a body that is not as wanted."""
    del full_url, headers
    content = {"Content-Type": "application/json"}
    try:
        wanted = json.loads(request.data if hasattr(request, "data") else request.body)
        place = [str(wanted[key]) for key in ("account", "region", "namespace", "metric")]
        dimensions = {str(name): str(value) for name, value in wanted.get("dimensions", {}).items()}
        value = wanted.get("value")
        value = None if value is None else float(value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return 400, content, json.dumps({"message": f"account, region, namespace, metric and value are wanted: {error!r}"})
    if request.method != "POST" or (place[2], place[3]) not in _metrics:
        known = [f"{namespace} {metric}" for namespace, metric in sorted(_metrics)]
        return 400, content, json.dumps({"message": f"POST one of {', '.join(known)}"})
    if "value" in wanted:
        hold(place[0], place[1], place[2], place[3], value, dimensions)
    else:
        release(place[0], place[1], place[2], place[3], dimensions)
    return 200, content, json.dumps(wanted)
