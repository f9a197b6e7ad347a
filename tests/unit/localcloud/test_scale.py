"""The page of the scale: what it names as the bottleneck, and what did not end right."""

from dataclasses import replace

from localcloud import scale
from localcloud.deployment import STACK_NAME
from localcloud.gauges import Readings
from localcloud.load import Figures, Size

FIGURES = Figures(
    size=Size(1, 10, 100),
    request_seconds=30.0,
    run_seconds=200.0,
    events=3_000,
    calls=16_000,
    seconds_by_execution=[200.0],
    hops=[1.0, 2.0],
    closes=[0.5],
    readings=Readings(machine_busy_seconds=80, machine_idle_seconds=20, load_averages=[1.0, 2.0]),
    wake_ups={"Resource Requested": 3},
    retried=0,
    page_kib=80,
    report_kib=700,
    wrong=(),
)


def test_every_size_has_its_column() -> None:
    found = scale.section([FIGURES, replace(FIGURES, size=Size(1, 1, 500), wrong=["resources are {}"])])
    assert "|  | 1 x 10 x 100 | 1 x 1 x 500 |" in found
    assert "| resources | 5.0 / s | 2.5 / s |" in found
    assert "| ended right | all | no: resources are {} |" in found
    assert "| AWS calls for a resource, this command's own included | 16 | 32 |" in found


def test_the_bottleneck_is_where_messages_of_the_stack_wait_longest() -> None:
    ages = {f"{STACK_NAME}-AdvanceQueue-1": [1.0, 5.0], f"{STACK_NAME}-StartResourceQueue-2": [0.0, 95.0], "mailbox": [500.0]}
    readings = Readings(ages=ages, deepest={f"{STACK_NAME}-StartResourceQueue-2": 418})
    readings.machine_busy_seconds, readings.load_averages = 1, [1.0]
    found = scale.section([replace(FIGURES, readings=readings)])
    assert "| where messages waited longest | StartResourceQueue: 95 s, 418 messages |" in found
    assert "| where messages waited longest | nowhere |" in scale.section([FIGURES])
