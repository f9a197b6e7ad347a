"""What a chaos run will do, all of it drawn from its seed: manifests, faults, commands, and when. Pure.

What then happens is not repeatable to the last step: functions run side by side on a real machine. The plan is.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from dr_core.phases import Phase
from localcloud.cloud import STANDBY_REGION, WORKLOAD_ACCOUNT
from localcloud.deliveries import Unreliable
from localcloud.faults import Effect, Fault, When

STACK: Final = "dr-orchestrator"
MOST_LAYERS, MOST_RESOURCES = 12, 12
RULES, SERVICES, SERVERS = 6, 2, 3  # of each application, in each Region
FUNCTION, GROUP = "chaos-hook", "workers"
_CHANGES: Final = {
    "lambda": ("Invoke",),
    "events": ("EnableRule", "DisableRule"),
    "route53": ("ChangeResourceRecordSets",),
    "ecs": ("UpdateService",),
    "autoscaling": ("UpdateAutoScalingGroup",),
    "ec2": ("StartInstances", "StopInstances"),
}
_READS: Final = {
    "events": ("DescribeRule",),
    "route53": ("ListResourceRecordSets", "GetChange"),
    "ecs": ("DescribeServices",),
    "autoscaling": ("DescribeAutoScalingGroups",),
    "ec2": ("DescribeInstances", "DescribeInstanceStatus"),
}
_STEPS: Final = ("advance-execution", "start-resource", "check-resource", "control-execution")
_COMMANDS: Final = ("pause", "resume", "cancel", "retry", "skip", "force-complete", "abandon")
_MODULES: Final[Mapping[Phase, Sequence[str]]] = {
    Phase.INSTANTIATE: ("LambdaFunction", "LambdaFunction", "ECS", "AutoScaling", "EC2"),
    Phase.ACTIVATE: ("LambdaFunction", "LambdaFunction", "EventBridge", "R53Record", "R53Record", "EC2"),
    Phase.CLEANUP: ("LambdaFunction", "EventBridge", "ECS", "AutoScaling", "EC2"),
    Phase.REPLICATE: ("LambdaFunction",),
}


@dataclass(frozen=True, slots=True)
class Order:
    """An operator's command, so many seconds after the execution began; `pick` chooses the resource, without it none is named."""

    at: float
    command: str
    pick: int | None


@dataclass(frozen=True, slots=True)
class Request:
    """One execution to ask for.

    `rivals`: how many ask for the same at the same moment. With `haste` the operator retries at once what fails.
    """

    application: str
    number: int
    phase: Phase
    manifest: Mapping[str, Any]
    orders: tuple[Order, ...]
    approve: bool
    rivals: int
    haste: bool

    @property
    def token(self) -> str:
        """The client token of the request; rivals add a letter."""
        return f"{self.application}-{self.number}"


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault, and when it is there: seconds from the beginning of the run."""

    at: float
    seconds: float
    fault: Fault


@dataclass(frozen=True, slots=True)
class Emphasis:
    """What a run has more or less of than usual.

    `largest` bounds the layers, and the resources of a layer; `haste` is the share of executions whose operator retries at once what
    fails, `failing` that of the functions that fail in their first attempts; `rivals`, if given, is how many ask for each execution
    beside the first; `twice` is the share of messages that come a second time; without `strikes` there are no faults but those of a
    mutant.
    """

    largest: int = MOST_LAYERS
    haste: float = 0.4
    failing: float = 0.15
    rivals: int | None = None
    phases: tuple[Phase, ...] = tuple(Phase)
    twice: float = 0.2
    strikes: bool = True


USUAL: Final = Emphasis()


def request(seed: int, application: str, number: int, zone: str, emphasis: Emphasis = USUAL) -> Request:
    """The application's execution `number`. `zone` is the id of its hosted zone."""
    dice = random.Random(f"{seed}/{application}/{number}")
    phase = dice.choice(emphasis.phases)
    size = dice.choices(("small", "middle", "large"), (80, 17, 3))[0]
    layers, resources = {"small": (3, 4), "middle": (5, 6), "large": (MOST_LAYERS, MOST_RESOURCES)}[size]
    numbers = sorted(dice.sample(range(1, 40), dice.randint(1, min(layers, emphasis.largest))))
    places = [(layer, index) for layer in numbers for index in range(dice.randint(1, min(resources, emphasis.largest)))]
    taken: set[tuple[int, str]] = set()

    def resource(place: tuple[int, int]) -> dict[str, Any]:
        return _resource(dice, application, number, phase, place, zone, taken, emphasis.failing)

    manifest = {
        "layers": [
            {
                "layer": layer,
                "policy": dice.choice(_POLICIES),
                "resources": [resource(place) for place in places if place[0] == layer],
            }
            for layer in numbers
        ]
    }
    orders = tuple(sorted(_orders(dice), key=lambda order: order.at))
    approve, rivals = dice.random() > 0.04, dice.choices((0, 1, 2), (60, 25, 15))[0]
    rivals = rivals if emphasis.rivals is None else emphasis.rivals
    return Request(application, number, phase, manifest, orders, approve, rivals, dice.random() < emphasis.haste)


_POLICIES: Final[Sequence[Mapping[str, Any]]] = (
    {"onFailure": "drain"},
    {"onFailure": "drain"},
    {"onFailure": "failFast"},
    {"onFailure": "continue", "maxFailures": 2},
)


def _resource(
    dice: random.Random,
    application: str,
    number: int,
    phase: Phase,
    place: tuple[int, int],
    zone: str,
    taken: set[tuple[int, str]],
    failing: float,
) -> dict[str, Any]:
    """A resource of a manifest. `taken` are the targets of each layer: two resources of a layer may not have the same."""
    module = dice.choice(_MODULES[phase])
    target = {"EventBridge": dice.randrange(RULES), "ECS": dice.randrange(SERVICES), "EC2": dice.randrange(SERVERS)}.get(module, 0)
    if module not in ("LambdaFunction", "R53Record"):
        if (place[0], f"{module}-{target}") in taken:
            module = "LambdaFunction"
        taken.add((place[0], f"{module}-{target}"))
    name = f"{module}-{place[0]}-{place[1]}"
    resource: dict[str, Any] = {
        "action": module,
        "resourceName": name,
        "AccountId": WORKLOAD_ACCOUNT,
        "timeout": dice.choice((20, 60, 120)),
    }
    if dice.random() < 0.1:
        resource["bestEffort"] = True
    resource["maxAttempts"] = dice.choice((1, 2, 3))
    match module:
        case "LambdaFunction":
            attempts = dice.choices((1, 2, 9), (3, 2, 1))[0] if dice.random() < failing else 0
            parameters: dict[str, Any] = {
                "FunctionName": FUNCTION,
                "InvocationType": dice.choice(("RequestResponse", "Event")),
                "Payload": {"name": name, "failingAttempts": attempts, "seconds": dice.choice((0, 0, 0.2, 1.5))},
            }
        case "EventBridge":
            parameters = {"EventRuleName": f"{application}-{target}"} | _forced(phase)
        case "R53Record":
            parameters = {
                "HostedZoneId": zone,
                "R53RecordName": f"{name.lower()}.{application}.example",
                "RecordType": "TXT",
                "RecordValue": f'"{application}-{number}-{place[0]}-{place[1]}"',
            }
        case "ECS":
            parameters = {"EcsClusterName": application, "EcsServiceName": f"service-{target}"} | _forced(phase)
            if phase is Phase.INSTANTIATE:
                parameters["EcsDesiredSize"] = 2
        case "AutoScaling":
            parameters = {"Autoscalinggroupnames": f"{application}-{GROUP}"} | _forced(phase)
            if phase is Phase.INSTANTIATE:
                parameters["DesiredCount"] = 2
        case _:
            parameters = {"Orchestrator_HostNames": [f"{application}-{target}"]} | _forced(phase)
    return resource | {"parameters": parameters}


def _forced(phase: Phase) -> dict[str, bool]:
    """Nothing runs in the other Region that CLEANUP could leave behind."""
    return {"Force": True} if phase is Phase.CLEANUP else {}


def _orders(dice: random.Random) -> Iterator[Order]:
    for _ in range(dice.choices((0, 1, 2, 4), (40, 25, 20, 15))[0]):
        name = dice.choices(_COMMANDS, (6, 4, 1, 4, 3, 3, 1))[0]
        at = dice.uniform(-2, 20)
        yield Order(round(at, 2), name, dice.randrange(1000) if dice.random() < 0.6 else None)
        if name == "pause":
            yield Order(round(at + dice.uniform(0.5, 6), 2), "resume", None)
    match dice.choices(("", "cancel", "abandon"), (8, 1, 1))[0]:
        case "cancel":
            yield Order(round(dice.uniform(1, 12), 2), "cancel", None)
        case "abandon":  # only what is paused or halted may be; where it is refused all the same, somebody resumes it later
            at = dice.uniform(1, 12)
            yield Order(round(at, 2), "pause", None)
            yield Order(round(at + dice.uniform(2, 8), 2), "abandon", None)


def network(seed: int, emphasis: Emphasis = USUAL) -> Unreliable:
    """How messages travel."""
    return Unreliable(seed=seed, lost=0.02, late=0.12, twice=emphasis.twice, seconds=4.0)


def strikes(seed: int, seconds: float) -> list[Strike]:
    """The faults of a run of so many seconds, in order; every kind in each round, in an order of its own."""
    dice = random.Random(f"{seed}/faults")
    found: list[Strike] = []
    at = 3.0
    while at < seconds:
        for kind in dice.sample(_KINDS, len(_KINDS)):
            fault = kind(dice).model_copy(update={"name": f"f{len(found):04d}", "seed": dice.randrange(2**31)})
            lasts = dice.uniform(8, 12) if kind in _RARELY_MET else dice.uniform(3, 6)
            found.append(Strike(round(at, 2), round(lasts, 2), fault))
            at += dice.uniform(2.0, 4.0)
    return [strike for strike in found if strike.at < seconds]


def _target(dice: random.Random, operations: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    service = dice.choice(sorted(operations))
    return {"service": service, "operation": dice.choice(operations[service]), "account": WORKLOAD_ACCOUNT, "function": f"{STACK}-*"}


def _anything_of_target() -> dict[str, Any]:
    return {"account": WORKLOAD_ACCOUNT, "function": f"{STACK}-*-resource"}


def _table(dice: random.Random, *functions: str) -> dict[str, Any]:
    return {"service": "dynamodb", "operation": "TransactWriteItems", "function": f"{STACK}-{dice.choice(functions or _STEPS)}"}


def _throttle_target(dice: random.Random) -> Fault:
    return Fault(effect=Effect.THROTTLE, probability=0.7, **_target(dice, _CHANGES))


def _throttle_table(dice: random.Random) -> Fault:
    return Fault(effect=Effect.THROTTLE, service="dynamodb", function=f"{STACK}-*", probability=dice.choice((0.1, 0.3)))


def _error_target(dice: random.Random) -> Fault:
    return Fault(effect=Effect.ERROR, code="InternalFailure", probability=0.5, **_target(dice, dice.choice((_CHANGES, _READS))))


def _error_queue(dice: random.Random) -> Fault:
    operation = dice.choice(("SendMessage", "PutEvents"))
    service = "sqs" if operation == "SendMessage" else "events"
    return Fault(effect=Effect.ERROR, code="InternalFailure", service=service, operation=operation, function=f"{STACK}-*", probability=0.3)


def _slow_table(dice: random.Random) -> Fault:
    return Fault(effect=Effect.SLOW, seconds=round(dice.uniform(0.5, 3), 2), probability=0.4, **_table(dice))


def _slow_target(dice: random.Random) -> Fault:
    return Fault(
        effect=Effect.SLOW, seconds=round(dice.uniform(0.5, 3), 2), probability=0.5, **_target(dice, dice.choice((_CHANGES, _READS)))
    )


def _hang(dice: random.Random) -> Fault:
    """In half of the cases for longer than the SDK waits for an answer."""
    where = dice.choice((_anything_of_target(), _target(dice, {"lambda": ("Invoke",)}), _table(dice)))
    return Fault(effect=Effect.HANG, seconds=dice.choice((2.0, 12.0)), probability=0.3, **where)


def _cut(dice: random.Random) -> Fault:
    return Fault(effect=Effect.CUT, probability=0.5, **dice.choice((_target(dice, _CHANGES), _target(dice, _READS), _table(dice))))


def _cut_after(dice: random.Random) -> Fault:
    where = dice.choice((_anything_of_target(), _target(dice, {"lambda": ("Invoke",)}), _table(dice)))
    return Fault(effect=Effect.CUT_AFTER, probability=0.4, **where)


def _dark(dice: random.Random) -> Fault:
    del dice
    return Fault(effect=Effect.DARK, region=STANDBY_REGION, account=WORKLOAD_ACCOUNT, function=f"{STACK}-*-resource")


def _wrong_then_right(dice: random.Random) -> Fault:
    return Fault(effect=Effect.WRONG_THEN_RIGHT, last=dice.randint(1, 4), **_target(dice, _READS))


def _crash_at_table(dice: random.Random) -> Fault:
    when = dice.choice([*When])
    where = _table(dice, *_STEPS, "start-execution", "sweep")
    return Fault(effect=Effect.CRASH, when=when, last=dice.randint(1, 3), probability=0.5, **where)


def _crash_at_act(dice: random.Random) -> Fault:
    return Fault(effect=Effect.CRASH, when=dice.choice([*When]), last=dice.randint(1, 2), **_target(dice, _CHANGES))


def _crash_at_send(dice: random.Random) -> Fault:
    service, operation = dice.choice((("sqs", "SendMessage"), ("events", "PutEvents")))
    when = dice.choice([*When])
    return Fault(effect=Effect.CRASH, when=when, last=1, service=service, operation=operation, function=f"{STACK}-*")


def _fail_later(dice: random.Random) -> Fault:
    del dice
    return Fault(effect=Effect.FAIL_LATER, service="ec2", operation="StartInstances", account=WORKLOAD_ACCOUNT, probability=0.8)


_KINDS: Final = (
    _throttle_target,
    _throttle_table,
    _error_target,
    _error_queue,
    _slow_table,
    _slow_target,
    _hang,
    _cut,
    _cut_after,
    _dark,
    _wrong_then_right,
    _crash_at_table,
    _crash_at_act,
    _crash_at_send,
    _fail_later,
)
# What may have been carried out although nobody was told is worth most, and takes a while to come about.
_RARELY_MET: Final = (_hang, _cut_after)


def document(planned: Request) -> dict[str, Any]:
    """A request as JSON."""
    return asdict(planned)
