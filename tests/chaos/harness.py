"""A chaos run: a local cloud, the stack in it, and everything at once that its plan has."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from dr_core.records import Approval, ApprovalStatus, Execution, ExecutionStatus, Resource, ResourceStatus
from localcloud import deliveries
from localcloud.approver import Approver, NoRequestError
from localcloud.cloud import LocalCloud
from localcloud.deliveries import Unreliable
from localcloud.deployment import TEMPLATE
from localcloud.faults import Effect, Fault
from localcloud.installation import install
from tests.chaos import estate, plan
from tests.chaos.mutants import MUTANTS, source_of
from tests.chaos.plan import STACK, Request, Strike
from tests.chaos.verdict import final_checks, scan
from tests.chaos.witness import PAST, Follower, Seen, Violation, Witness
from tests.chaos.workers import kill, workers

TIME_SCALE: Final = 0.05  # of the resources: a minute of AWS's takes three seconds
_PAST: Final = {"S": PAST.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
_SWEEP_EVERY: Final = 12.0  # each sends again all that is overdue: more often, and it would be the load
_STALE: Final = 12.0  # what has not moved for so long is looked at by the sweep, as if its time had come
_DEAD_AFTER: Final = 15.0
_IN_FLIGHT: Final = 4.5  # a call of a process that is gone has come to its end by then, however slow it is
_PATIENCE: Final = 420.0
_WARM_UP: Final = 240.0
_AWS_ERRORS: Final = (BotoCoreError, ClientError, httpx.HTTPError)


@dataclass(frozen=True)
class Options:
    """What a run is: its seed, how long executions are started, how many applications have one at a time, and the guard taken away."""

    seed: int
    seconds: float
    directory: Path
    applications: int = 3
    mutant: str | None = None
    emphasis: plan.Emphasis = plan.USUAL
    die_with_parent: bool = False


@dataclass
class Result:
    """What a run came to."""

    witness: Witness
    violations: list[Violation]
    injected: Counter[str]
    hit: Counter[str]
    sent: Counter[str]
    deliveries: Counter[str]
    killed: int
    sweeps: int
    calls: int
    seconds: float
    found_after: float | None
    requests: list[Request] = field(default_factory=list)


def run(options: Options, say: Callable[[str], None]) -> Result:
    """Run the plan to its end, and hold what came of it against the invariants. Writes plan, table and violations into the directory."""
    options.directory.mkdir(parents=True, exist_ok=True)
    template = source_of(options.mutant, options.directory / "source") if options.mutant else TEMPLATE
    cloud = LocalCloud.start(options.directory / "cloud", time_scale=TIME_SCALE, die_with_parent=options.die_with_parent)
    try:
        outputs = install(cloud, template=template)
        applications = [f"app-{number}" for number in range(options.applications)]
        zones = estate.create(cloud, applications)
        say(f"stack deployed{f' without the guard {options.mutant}' if options.mutant else ''}, {len(applications)} applications created")
        return _Run(options, cloud, outputs, zones, say).result()
    finally:
        cloud.stop()


class _Run:
    """The threads of a run: one for each application, and those that follow, sweep and strike."""

    def __init__(
        self, options: Options, cloud: LocalCloud, outputs: dict[str, str], zones: dict[str, str], say: Callable[[str], None]
    ) -> None:
        self._options, self._cloud, self._outputs, self._zones, self._say = options, cloud, outputs, zones, say
        self._mutant = MUTANTS[options.mutant] if options.mutant else None
        self._approver = Approver(cloud, outputs["ApprovalTopicArn"])
        self._witness = Witness()
        streams, dynamodb = cloud.client("dynamodbstreams"), cloud.client("dynamodb")
        self._follower = Follower(streams, dynamodb, outputs["StateTableName"], self._witness)
        self._requests: list[Request] = []
        self._by_token: dict[str, Request] = {}
        self._injected: Counter[str] = Counter()
        self._hit: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()
        self._killed = self._sweeps = 0
        self._killed_at = 0.0
        self._began = time.monotonic()
        self._first_began: float | None = None
        self._over = threading.Event()
        self._emphasis = self._mutant.emphasis if self._mutant else options.emphasis
        self._strikes = plan.strikes(options.seed, options.seconds) if self._emphasis.strikes else []

    # --- the whole ---

    def result(self) -> Result:
        """Run, wait for the end of all, check."""
        helpers = [threading.Thread(target=self._guarded, args=(work,)) for work in (self._follow, self._sweep, self._strike)]
        for helper in helpers:
            helper.start()
        try:
            with ThreadPoolExecutor(len(self._zones)) as pool:
                for driver in [pool.submit(self._drive, application) for application in self._zones]:
                    driver.result()
        finally:
            self._over.set()
            for helper in helpers:
                helper.join()
        if not self._stopped():
            self._follower.read()
            self._say("all executions have ended; the past is sent once more")
            self._come_again()
        if not self._stopped():
            final_checks(self._witness, self._cloud, self._seen_on_the_bus(), self._outputs["StateTableName"])
        self._write()
        told = httpx.get(self._cloud.endpoint_url + deliveries.PATH).json()
        return Result(
            witness=self._witness,
            violations=self._witness.violations,
            injected=self._injected,
            hit=self._hit,
            sent=self._sent,
            deliveries=Counter(told["counts"]),
            killed=self._killed,
            sweeps=self._sweeps,
            calls=sum(1 for _ in self._cloud.journal.open()),
            seconds=time.monotonic() - self._began,
            found_after=self._witness.found_at - self._began if self._witness.found_at else None,
            requests=self._requests,
        )

    def _guarded(self, work: Callable[[], None]) -> None:
        """A helper that fails ends the run, and is told."""
        try:
            work()
        except Exception as error:  # a thread has nobody to raise to
            self._witness.violated("harness", "", f"{type(error).__name__}: {error}")
            raise

    def _elapsed(self) -> float:
        """Seconds of the plan: it begins when the first execution does, since functions that start cold take their time."""
        return time.monotonic() - self._first_began if self._first_began else 0.0

    def _wait_for_the_first(self) -> None:
        """Until an execution has begun, everything works."""
        while not self._over.wait(0.3) and not self._first_began:
            waited = time.monotonic() - self._began
            if any(seen.execution(seen.id).started_at for seen in self._witness.live()) or waited > _WARM_UP:
                self._say("the first execution has begun: faults begin")
                self._first_began = time.monotonic()

    def _stopped(self) -> bool:
        """The first violation ends the run, so that the table is as it was then."""
        return self._witness.found.is_set()

    def _network(self, network: Unreliable) -> None:
        httpx.put(self._cloud.endpoint_url + deliveries.PATH, content=network.model_dump_json()).raise_for_status()

    def _seen_on_the_bus(self) -> Counter[str]:
        return Counter(httpx.get(self._cloud.endpoint_url + deliveries.PATH).json()["events"])

    # --- the helpers ---

    def _follow(self) -> None:
        while not self._over.wait(0.4):
            self._follower.read()

    def _sweep(self) -> None:
        functions = self._cloud.client("lambda")
        while not self._over.wait(_SWEEP_EVERY):
            self._let_time_pass()
            with suppress(*_AWS_ERRORS):
                functions.invoke(FunctionName=f"{STACK}-sweep", Payload=b"{}")
                self._sweeps += 1

    def _let_time_pass(self) -> None:
        """What has not moved for a while becomes due, and a dead executor's lease ends: as if minutes had passed."""
        now = time.monotonic()
        for seen in self._witness.live():
            for sk, record in list(seen.records.items()):
                idle = now - seen.changed_at.get(sk, now)
                if not isinstance(record, Execution | Resource) or record.due_at is None or idle < _STALE or sk in seen.lapsed:
                    continue
                if not isinstance(record, Resource) or record.status is not ResourceStatus.STARTING:
                    self._set(seen, sk, "attribute_exists(due_at)", {}, due_at=_PAST)
                elif idle > _DEAD_AFTER and record.lease_owner and self._is_dead(seen.changed_at[sk], now):
                    owner = {":owner": {"S": record.lease_owner}}
                    self._set(seen, sk, "lease_owner = :owner", owner, lease_until=_PAST, due_at=_PAST)

    def _is_dead(self, claimed_at: float, now: float) -> bool:
        """Whether nobody lives who can have claimed then; whoever may have is killed, so that it is so the next time."""
        alive = [pid for pid, began in workers(self._cloud.endpoint_url, f"{STACK}-start-resource").items() if began < claimed_at]
        for pid in alive:
            kill(pid)
        if alive:
            self._killed += len(alive)
            self._killed_at = now
        return not alive and now - self._killed_at > _IN_FLIGHT

    def _set(self, seen: Seen, sk: str, condition: str, given: dict[str, Any], **values: Any) -> None:
        names = ", ".join(f"{name} = :{name}" for name in values)
        with suppress(*_AWS_ERRORS):  # it has moved meanwhile
            self._cloud.client("dynamodb").update_item(
                TableName=self._outputs["StateTableName"],
                Key={"pk": {"S": f"EXEC#{seen.id}"}, "sk": {"S": sk}},
                UpdateExpression=f"SET {names}",
                ConditionExpression=condition,
                ExpressionAttributeValues=given | {f":{name}": value for name, value in values.items()},
            )

    def _strike(self) -> None:
        """Set each fault at its time, and take it back."""
        self._wait_for_the_first()
        self._network(plan.network(self._options.seed, self._emphasis))
        client = self._cloud.faults
        for fault in self._mutant.faults if self._mutant else ():
            client.add(fault)
            self._injected[_kind(fault)] += 1
        waiting, there = list(self._strikes), list[tuple[float, Fault]]()
        while not self._over.wait(0.1):
            now = self._elapsed()
            while waiting and waiting[0].at <= now < self._options.seconds:
                strike: Strike = waiting.pop(0)
                client.add(strike.fault)
                self._injected[_kind(strike.fault)] += 1
                there.append((strike.at + strike.seconds, strike.fault))
            over = [fault for until, fault in there if until <= now or now >= self._options.seconds]
            if over:
                self._count_hits({fault.name for fault in over})
                for fault in over:
                    client.remove(fault.name)
                there = [(until, fault) for until, fault in there if fault not in over]
        self._count_hits(None)
        client.clear()

    def _count_hits(self, names: set[str] | None) -> None:
        for armed in self._cloud.faults.active():
            if names is None or armed.fault.name in names:
                self._hit[_kind(armed.fault)] += armed.struck

    # --- the people ---

    def _drive(self, application: str) -> None:
        """Start one execution after the other, and see each to its end."""
        number, patience = 0, self._options.seconds + _PATIENCE
        desks: dict[str, _Desk] = {}
        asked_at, wanted, at_rest = 0.0, list[str](), 0
        while not self._stopped():
            answered = [t for t in wanted if f"{application}#{t}" in self._witness.tokens]  # before its execution is looked for
            live = self._witness.live(application)
            for seen in live:
                if seen.id not in desks:
                    desks[seen.id] = self._desk(seen)
                desks[seen.id].step()
            # What was asked for in the last moment also comes to its end; and who is known by a token is seen an instant later.
            at_rest = at_rest + 1 if self._elapsed() > self._options.seconds and not live and len(answered) == len(wanted) else 0
            if at_rest > 2:
                return
            if self._elapsed() > patience:
                statuses = {seen.id: str(seen.execution(seen.id).status) for seen in live}
                self._witness.violated(
                    "I20", "", f"{application} has not come to rest within {_PATIENCE:.0f} s after the faults: {statuses}"
                )
                return
            if not live and self._elapsed() <= self._options.seconds and len(answered) == len(wanted):
                request = plan.request(
                    self._options.seed,
                    application,
                    number,
                    self._zones[application],
                    self._emphasis,
                )
                wanted, asked_at, number = self._ask(request), time.monotonic(), number + 1
            elif len(answered) < len(wanted) and time.monotonic() - asked_at > 30:
                self._ask(self._requests_of(wanted))  # lost on its way: a client asks again, with the same token
                asked_at = time.monotonic()
            time.sleep(0.3)

    def _requests_of(self, tokens: list[str]) -> Request:
        return self._by_token[tokens[0]]

    def _ask(self, request: Request) -> list[str]:
        """Publish the manifest and ask for the execution, with all who want the same. Gives the client tokens."""
        body = json.dumps(request.manifest).encode()
        bucket = self._outputs["ManifestBucketName"]
        self._cloud.client("s3").put_object(Bucket=bucket, Key=f"{request.application}/{request.phase.file_name}", Body=body)
        tokens = [request.token, *(f"{request.token}-{rival}" for rival in range(request.rivals))]
        if request.token not in self._by_token:
            self._requests.append(request)
        self._by_token |= dict.fromkeys(tokens, request)
        detail = {
            "application": request.application,
            "phase": request.phase,
            "sourceRegion": "us-east-1",
            "targetRegion": "us-west-2",
            "mode": "unplanned",
            "requestedBy": "chaos",
            "reason": "chaos",
        }
        self._put("Execution Requested", *({**detail, "clientToken": token} for token in tokens))
        return tokens

    def _desk(self, seen: Seen) -> "_Desk":
        request = self._by_token[str(seen.execution(seen.id).client_token)]
        return _Desk(self, seen, request, random.Random(f"{self._options.seed}/{request.token}/operator"))

    def _put(self, detail_type: str, *details: dict[str, Any]) -> None:
        entries = [
            {"EventBusName": self._outputs["BusName"], "Source": "dr.operator", "DetailType": detail_type, "Detail": json.dumps(detail)}
            for detail in details
        ]
        self._cloud.client("events").put_events(Entries=entries)

    def order(self, seen: Seen, command: str, resource_ids: tuple[str, ...] = ()) -> None:
        """An operator's command."""
        self._sent[command] += 1
        detail: dict[str, Any] = {"executionId": seen.id, "command": command, "requestedBy": "chaos", "reason": "chaos"}
        if resource_ids:
            detail["resourceIds"] = list(resource_ids)
        self._put("Command Requested", {**detail, "clientToken": f"{command}-{self._sent[command]}-{threading.get_ident() % 10**6}"})

    def decide(self, seen: Seen, decision: str) -> bool:
        """Decide as an approver; False while no request has come."""
        try:
            link = self._approver.link(seen.id, 0.5)
            return self._approver.decide(link, decision, "chaos").status_code in (200, 409, 410)
        except (NoRequestError, *_AWS_ERRORS):
            return False

    @property
    def is_closing(self) -> bool:
        """Whether the faults are over, and all that is left shall end."""
        return self._elapsed() > self._options.seconds

    # --- the end ---

    def _come_again(self) -> None:
        """Everything that was ever told comes once more, to no effect; and the sweep has nothing to say."""
        self._network(Unreliable())
        while httpx.get(self._cloud.endpoint_url + deliveries.PATH).json()["underWay"]:
            time.sleep(0.2)
        before = self._settled()
        events = self._cloud.client("events")
        stored = [(event.detail_type, detail) for seen in self._witness.ended() for event, detail in self._details(seen)]
        for start in range(0, len(stored), 10):
            events.put_events(
                Entries=[
                    {"EventBusName": self._outputs["BusName"], "Source": kind.source, "DetailType": kind, "Detail": detail}
                    for kind, detail in stored[start : start + 10]
                ]
            )
        self._witness.checked["I12 the past changes nothing"] += len(stored)
        after = self._settled()
        if after != before:
            self._witness.violated("I12", "", f"{after - before} changes of the table by events of the past")
        answer = self._cloud.client("lambda").invoke(FunctionName=f"{STACK}-sweep", Payload=b"{}")
        body = json.loads(answer["Payload"].read())
        self._witness.checked["I21 the sweep is quiet"] += 1
        if body != {"wakeUpsSent": 0}:
            self._witness.violated("I21", "", f"the sweep said {body} after the end of all")

    def _details(self, seen: Seen) -> list[tuple[Any, str]]:
        return [(event, json.dumps(event.fields)) for _, event, _ in seen.told]

    def _settled(self) -> int:
        """How many changes there have been, once there were none for some time."""
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 8:
            if self._follower.read():
                quiet_since = time.monotonic()
            time.sleep(0.3)
        return self._witness.changes

    def _write(self) -> None:
        """The plan, the table and the violations, for whoever wants to understand them."""
        directory = self._options.directory
        planned = {
            "seed": self._options.seed,
            "requests": [plan.document(request) for request in self._requests],
            "strikes": [{"at": s.at, "seconds": s.seconds, "fault": str(s.fault), "name": s.fault.name} for s in self._strikes],
        }
        (directory / "plan.json").write_text(json.dumps(planned, indent=1, default=str))
        (directory / "violations.json").write_text(json.dumps([asdict(violation) for violation in self._witness.violations], indent=1))
        with (directory / "table.jsonl").open("w") as file:
            file.writelines(json.dumps(item) + "\n" for item in scan(self._cloud, self._outputs["StateTableName"]))


class _Desk:
    """One operator at one execution: carries out the plan's orders, and mends what has failed until it ends."""

    def __init__(self, run: _Run, seen: Seen, request: Request, dice: random.Random) -> None:
        self._run, self._seen, self._request, self._dice = run, seen, request, dice
        self._orders = list(request.orders)
        self._running_since: float | None = None
        self._next_at = 0.0
        self._mended = 0

    def step(self) -> None:
        """Do what is due."""
        now, execution = time.monotonic(), self._seen.execution(self._seen.id)
        if execution.status is ExecutionStatus.PENDING_APPROVAL:
            self._decide(now)
            return
        if self._running_since is None:
            self._running_since = now
        while self._orders and now - self._running_since >= self._orders[0].at and not self._run.is_closing:
            order = self._orders.pop(0)
            self._run.order(self._seen, order.command, self._picked(order.pick))
        if now < self._next_at:
            return
        resources = self._seen.resources(self._seen.id)
        failed = tuple(r.id for r in resources if r.status.is_failure and r.layer == execution.current_layer)
        match execution.status:
            case ExecutionStatus.RUNNING if failed and self._request.haste and self._mended < 4:
                self._mended += 1
                self._say(now, "retry", failed, 0.3)
            case ExecutionStatus.FAILED:
                self._mended += 1
                haste = self._request.haste and self._mended < 6
                chosen = "retry" if haste else self._dice.choice(("retry", "skip", *(("cancel", "abandon") if self._mended > 1 else ())))
                self._say(now, chosen, failed if chosen in ("retry", "skip") else (), 0.3 if haste else self._dice.uniform(0.5, 3))
            case ExecutionStatus.PAUSED if not self._orders or self._run.is_closing or now - self._running_since > 30:
                self._say(now, "resume", (), 3)

    def _say(self, now: float, command: str, resource_ids: tuple[str, ...], pause: float) -> None:
        self._run.order(self._seen, command, resource_ids[:40])
        self._next_at = now + pause + 1.0

    def _decide(self, now: float) -> None:
        approval = self._seen.records.get("APPR")
        if now < self._next_at or not isinstance(approval, Approval) or approval.status is not ApprovalStatus.PENDING:
            return
        if self._orders and self._orders[0].at < 0 and self._orders[0].command == "cancel":
            self._orders.pop(0)
            self._run.order(self._seen, "cancel")
        if approval.asked_at is not None and self._run.decide(self._seen, "approve" if self._request.approve else "reject"):
            self._next_at = now + 3

    def _picked(self, pick: int | None) -> tuple[str, ...]:
        if pick is None:
            return ()
        execution = self._seen.execution(self._seen.id)
        ids = [r.id for r in self._seen.resources(self._seen.id) if r.layer == execution.current_layer]
        return (ids[pick % len(ids)],) if ids else ()


def _kind(fault: Fault) -> str:
    return f"{fault.effect} {fault.when}" if fault.effect is Effect.CRASH else str(fault.effect)
