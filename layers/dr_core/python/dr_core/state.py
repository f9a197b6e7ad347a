"""The state table: snapshots out, conditional moves in. Over `items`, `mapping` and `writing`."""

import hashlib
import json
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import cache, partial
from typing import Any, Literal

from pynamodb.connection import Connection
from pynamodb.exceptions import DoesNotExist, PutError, TransactWriteError
from pynamodb.transactions import TransactWrite

from dr_core import approval_rules, events
from dr_core.calls import Call
from dr_core.errors import OrchestratorError, Problem
from dr_core.items import (
    APPROVAL_SK,
    EXECUTION_SK,
    ITEMS,
    REFUSAL_SK,
    ApprovalItem,
    CallsItem,
    CommandItem,
    DueItem,
    EventItem,
    ExecutionItem,
    LayerItem,
    LockItem,
    NonceItem,
    PreflightItem,
    RefusalItem,
    ResourceItem,
    SlackItem,
    TokenItem,
)
from dr_core.mapping import approval_sk, item_of, pk_of, record_of
from dr_core.observability import logger
from dr_core.phases import Phase
from dr_core.records import (
    Approval,
    DetailType,
    Event,
    Execution,
    ExecutionStatus,
    Layer,
    Move,
    Resource,
    ResourceStatus,
    State,
)
from dr_core.settings import setting
from dr_core.takeover import LockHeld, Replica
from dr_core.together import Together
from dr_core.writing import Commit, event_item, fit_together, save_events, write_commits

_CONFLICT_TRIES = 10
_LARGEST_JOURNAL = 300 * 1024  # an item has at most 400 KB
_MOST_LOOKED_AT = 400  # more than half a year of scheduled preflights, two a day; what is older is compared with nothing
_PAGE = 100
_KEPT_LONGER = 86_400  # seconds: clocks differ, and what was used must not look new before it is refused for its age
_CHUNK = 90  # of the 100 actions of a transaction
_MOST_TOGETHER = 10  # as many as a function is given at once


class LockedError(OrchestratorError):
    """Another execution works on the application in one of the Regions; `holders` are the ids of such executions, in order."""

    def __init__(self, application: str, regions: Collection[str], holders: Collection[str]) -> None:
        self.holders = tuple(sorted(holders))
        super().__init__(f"execution {', '.join(self.holders)} of {application} holds the lock on {', '.join(regions)}")


@dataclass(frozen=True)
class Refusal:
    """A request that was not accepted: everything wrong with it, and what it was."""

    execution_id: str
    application: str
    requested_at: datetime
    problems: list[str]
    request: object


@dataclass(frozen=True)
class Listed:
    """An execution or a refusal as a list has it; what the list's index does not hold is empty. A refusal has no phase.

    `started_at`, when the first layer opened, is in an application's history alone.
    """

    id: str
    application: str
    status: str
    requested_at: datetime
    phase: str = ""
    mode: str = ""
    target_region: str = ""
    current_layer: int = 0
    layers_total: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    dry_run: bool = False

    @property
    def running_seconds(self) -> float | None:
        """From the opening of the first layer to the end; None where it has not come to either."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


@dataclass(frozen=True)
class Receipt:
    """What became of a command: ACCEPTED, or REFUSED and `why`. `token` is the command's own.

    `actor_verified`: AWS has said who the actor is; else it is what the command says of itself.
    """

    token: str
    command: str
    actor: str
    outcome: Literal["ACCEPTED", "REFUSED"]
    why: str = ""
    actor_verified: bool = False


@dataclass(frozen=True)
class Once:
    """What may be used one time, such as a link by its id; `until` it would be refused anyway."""

    key: str
    until: datetime


@dataclass(frozen=True)
class TimelineEntry:
    """An event of an execution as it was stored; `detail` is JSON text."""

    id: str
    source: str
    detail_type: str
    detail: str


class Table:
    """The state table called `name`, in this function's Region, which is the home of what it creates."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._connection = Connection()
        for item in ITEMS:
            item.Meta.table_name = name
            # One client for all items: each would make its own, a tenth of a second apiece when a function starts.
            item._get_connection().connection._client = self._connection.client
        self.region = str(self._connection.client.meta.region_name)
        self._load_together = Together(self._load_resources, _MOST_TOGETHER)
        self._commit_together = Together(self._commit_all, _MOST_TOGETHER)

    # --- reading ---

    def load(self, execution_id: str) -> State | None:
        """The execution, its layers, the resources of its current layer, and its approval; consistent reads, layers before resources."""
        pk = pk_of(execution_id)
        layers = self.layers(execution_id)
        try:
            execution = record_of(Execution, ExecutionItem.get(pk, EXECUTION_SK, consistent_read=True), id=execution_id)
        except DoesNotExist:
            return None
        # Of a replica the approval may not have come.
        layer = State(execution, layers).approval_layer()
        approval = None if layer is None else self._approval(execution_id, layer)
        resources = self.resources(execution_id, execution.current_layer) if execution.current_layer else ()
        return State(execution, layers, resources, approval)

    def layers(self, execution_id: str) -> tuple[Layer, ...]:
        """The layers of the execution, by their numbers."""
        found = LayerItem.query(pk_of(execution_id), LayerItem.sk.startswith("LAYER#"), consistent_read=True)
        return tuple(record_of(Layer, item) for item in found)

    def resources(self, execution_id: str, layer: int | None = None) -> tuple[Resource, ...]:
        """The resources of a layer, or of all layers, in order of their ids."""
        prefix = "RES#" if layer is None else f"RES#{layer:04d}-"
        found = ResourceItem.query(pk_of(execution_id), ResourceItem.sk.startswith(prefix), consistent_read=True)
        return tuple(record_of(Resource, item) for item in found)

    def waiting(self, execution_id: str, layer: int, account: str, modules: Collection[str]) -> tuple[Resource, ...]:
        """The resources of a layer that are WAITING, act in `account`, and are of one of the modules; a consistent read."""
        waits = (ResourceItem.status == ResourceStatus.WAITING.value) & (ResourceItem.account == account)
        found = ResourceItem.query(
            pk_of(execution_id),
            ResourceItem.sk.startswith(f"RES#{layer:04d}-"),
            filter_condition=waits & ResourceItem.module.is_in(*modules),
            consistent_read=True,
        )
        return tuple(record_of(Resource, item) for item in found)

    def load_resource(self, execution_id: str, resource_id: str) -> State | None:
        """The execution and one resource: what an executor and a check need, in one call, which threads that ask meanwhile share."""
        return self._load_together((execution_id, resource_id))

    def _load_resources(self, asked: Sequence[tuple[str, str]]) -> list[State | None]:
        wanted = {(pk_of(execution_id), sk) for execution_id, resource_id in asked for sk in (EXECUTION_SK, f"RES#{resource_id}")}
        client: Any = self._connection.client  # pynamodb's models read one kind of item at a time
        found: dict[tuple[str, str], dict[str, Any]] = {}
        keys = [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in sorted(wanted)]
        for attempt in range(_CONFLICT_TRIES):
            answer = client.batch_get_item(RequestItems={self._name: {"Keys": keys, "ConsistentRead": True}})
            found.update({(item["pk"]["S"], item["sk"]["S"]): item for item in answer["Responses"].get(self._name, ())})
            keys = answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
            if not keys:
                return [_snapshot(found, *one) for one in asked]
            _wait(attempt)  # it leaves some for later when it is throttled
        raise OrchestratorError(f"the table left {len(keys)} items unread over {_CONFLICT_TRIES} tries")

    def approval(self, execution_id: str) -> Approval | None:
        """The approval that is waited for, or else the last one that was; whatever its status."""
        opened = [one for one in self.approvals(execution_id) if one.is_wanted]
        return opened[-1] if opened else None

    def approval_of(self, state: State) -> Approval | None:
        """The same for an execution that was just read; it is read only where the snapshot does not hold it."""
        known = state.approval
        return known if known is not None and known.is_wanted else self.approval(state.execution.id)

    def _approval(self, execution_id: str, layer: int) -> Approval | None:
        try:
            return record_of(Approval, ApprovalItem.get(pk_of(execution_id), approval_sk(layer), consistent_read=True))
        except DoesNotExist:
            return None

    def approvals(self, execution_id: str) -> tuple[Approval, ...]:
        """The execution's approval and those before its layers, by the layers' numbers; also those that nobody is asked for yet."""
        found = ApprovalItem.query(pk_of(execution_id), ApprovalItem.sk.startswith(APPROVAL_SK), consistent_read=True)
        return tuple(record_of(Approval, item) for item in found)

    def refusal(self, execution_id: str) -> Refusal | None:
        """The refusal of the request with that id, if it was refused."""
        try:
            item = RefusalItem.get(pk_of(execution_id), REFUSAL_SK, consistent_read=True)
        except DoesNotExist:
            return None
        return Refusal(execution_id, item.application, item.requested_at, list(item.problems), item.request)

    def timeline(self, execution_id: str, since: datetime | None = None) -> list[TimelineEntry]:
        """The events of the execution that happened at or after `since`, by default all, in order."""
        first = events.first_event_id(since) if since else ""
        found = EventItem.query(pk_of(execution_id), EventItem.sk.between(f"EVT#{first}", "EVT#~"), consistent_read=True)
        return [TimelineEntry(item.sk.removeprefix("EVT#"), item.source, item.detail_type, item.detail) for item in found]

    def calls(self, execution_id: str, resource_id: str = "") -> list[tuple[str, int, list[Any]]]:
        """The journal of AWS calls, of one resource or of all, in order: resource id, attempt, and the calls as documents."""
        prefix = f"CALLS#{resource_id}#" if resource_id else "CALLS#"
        found = CallsItem.query(pk_of(execution_id), CallsItem.sk.startswith(prefix), consistent_read=True)
        return [(item.sk.split("#")[1], int(item.attempt), list(item.calls)) for item in found]

    def preflights(self, execution_id: str) -> list[Any]:
        """What preflight reported of each resource, as documents, in order of the resources' ids."""
        found = PreflightItem.query(pk_of(execution_id), PreflightItem.sk.startswith("PREFLIGHT#"), consistent_read=True)
        return [item.report for item in found]

    def executions(self, application: str, limit: int = 20) -> list[tuple[str, str, str, datetime]]:
        """The newest executions and refusals of an application: id, status, phase (empty for a refusal), when they were requested."""
        found = self.history(application, limit)
        return [(one.id, one.status, one.phase, one.requested_at) for one in found]

    def past_runs(self, application: str, phase: Phase, before: datetime | None = None) -> Iterator[Listed]:
        """The executions of a phase that started and ended, newest first; with `before`, those requested before that moment.

        Dry runs are not among them: they never start. The index is read page by page as they are taken, and no further than the newest
        400 executions of the application, of all phases.
        """
        requested = None if before is None else ExecutionItem.requested_at < before
        index = ExecutionItem.application_index
        found = index.query(application, requested, scan_index_forward=False, limit=_MOST_LOOKED_AT, page_size=_PAGE)
        listed = (_listed(item) for item in found)
        return (one for one in listed if one.phase == phase and one.running_seconds is not None)

    def live(self, region: str, limit: int) -> list[Listed]:
        """The executions of a home Region that have not ended, oldest first: what is running, waits, or needs a person."""
        return [_listed(item) for item in ExecutionItem.standing_index.query(f"LIVE#{region}", limit=limit)]

    def over(self, region: str, limit: int) -> list[Listed]:
        """The newest executions of a home Region that have ended, and refused requests, newest first."""
        return [_listed(item) for item in ExecutionItem.standing_index.query(f"OVER#{region}", scan_index_forward=False, limit=limit)]

    def history(self, application: str, limit: int) -> list[Listed]:
        """The newest executions and refusals of an application, newest first."""
        return [_listed(item) for item in ExecutionItem.application_index.query(application, scan_index_forward=False, limit=limit)]

    def by_token(self, application: str, token: str) -> str | None:
        """The id of the execution that a client token started or that was refused for it."""
        try:
            return TokenItem.get(f"TOKEN#{application}#{token}", "TOKEN", consistent_read=True).execution_id
        except DoesNotExist:
            return None

    def receipt(self, execution_id: str, token: str) -> Receipt | None:
        """What became of the command with that token; None if it has not been taken yet."""
        try:
            item = CommandItem.get(pk_of(execution_id), f"CMD#{token}", consistent_read=True)
        except DoesNotExist:
            return None
        outcome: Literal["ACCEPTED", "REFUSED"] = "ACCEPTED" if item.outcome == "ACCEPTED" else "REFUSED"
        return Receipt(token, item.command, item.actor, outcome, item.why, item.actor_verified)

    def is_used(self, key: str) -> bool:
        """Whether what is good once was used. Good for as long as it is good at all: DynamoDB deletes it some time after."""
        try:
            NonceItem.get(_nonce(key), "NONCE", consistent_read=True)
        except DoesNotExist:
            return False
        return True

    def slack_message(self, execution_id: str, layer: int = 0) -> tuple[str, str] | None:
        """Where the request for approval, or that before `layer`, stands in Slack: channel and timestamp, its id. None if nowhere."""
        try:
            item = SlackItem.get(pk_of(execution_id), _slack_sk(layer), consistent_read=True)
        except DoesNotExist:
            return None
        return item.channel, item.timestamp

    def due(self, region: str, now: datetime, limit: int = 1000) -> list[str]:
        """The ids of up to `limit` executions that have something overdue, oldest first; one may have hundreds of items that are."""
        found = DueItem.due_index.query(f"DUE#{region}", DueItem.due_at <= now)
        ids: dict[str, None] = {}
        for item in found:
            ids[item.pk.removeprefix("EXEC#")] = None
            if len(ids) == limit:
                break
        return list(ids)

    def active(self) -> list[Execution]:
        """The executions that have not ended, oldest first. One that was requested within the last second may be missing."""
        live = [status.value for status in ExecutionStatus if not status.is_terminal]
        found = [item.pk for item in ExecutionItem.application_index.scan(ExecutionItem.status.is_in(*live))]
        states = [self.load(pk.removeprefix("EXEC#")) for pk in found]
        executions = [state.execution for state in states if state and not state.execution.status.is_terminal]
        return sorted(executions, key=lambda execution: execution.requested_at)

    def locked_by(self, application: str, regions: Iterable[str], now: datetime | None = None) -> dict[str, str]:
        """Who holds the application's locks: Region to execution id, only those held; with `now`, only those that nobody may take then."""
        locks = {region: self._lock(application, region) for region in regions}
        return {region: lock.owner for region, lock in locks.items() if lock and lock.owner and not (now and _may_be_taken(lock, now))}

    def replica(self, execution_id: str) -> Replica:
        """Everything that is here of an execution whose META is."""
        pk = pk_of(execution_id)
        execution = record_of(Execution, ExecutionItem.get(pk, EXECUTION_SK, consistent_read=True), id=execution_id)
        layers = self.layers(execution_id)
        regions = (execution.source_region, execution.target_region)
        locks = {region: self._held(execution, self._lock(execution.application, region)) for region in regions}
        return Replica(execution, layers, self.resources(execution_id), {one.layer: one for one in self.approvals(execution_id)}, locks)

    def _held(self, execution: Execution, lock: LockItem | None) -> LockHeld | None:
        if lock is None:
            return None
        other = self.load(lock.owner) if lock.owner and lock.owner != execution.id else None
        over = other is not None and other.execution.status.is_terminal
        return LockHeld(lock.owner, int(lock.fence), over, lock.free_at)

    def _lock(self, application: str, region: str) -> LockItem | None:
        try:
            return LockItem.get(f"LOCK#{application}#{region}", "LOCK", consistent_read=True)
        except DoesNotExist:
            return None

    # --- writing ---

    def commit(self, execution: Execution, move: Move, now: datetime, receipt: Receipt | None = None, once: Sequence[Once] = ()) -> bool:
        """Carry out the move in one transaction, its events with it. False if a condition did not hold: somebody was faster.

        `receipt`: of the command that the move carries out; the same command is carried out once. `once`: what the move uses up; one
        that was used before is a condition that does not hold.
        """

        mine = Commit(execution, move, now)
        if receipt is None and not once:
            done = self._commit_together(mine)
            if done is not None:
                return done

        def write(transaction: TransactWrite) -> None:
            write_commits(transaction, [mine])
            if receipt is not None:
                item = CommandItem(
                    pk_of(execution.id),
                    f"CMD#{receipt.token}",
                    command=receipt.command,
                    actor=receipt.actor,
                    actor_verified=receipt.actor_verified,
                    outcome=receipt.outcome,
                    why=receipt.why,
                    at=now,
                )
                transaction.save(item, condition=CommandItem.pk.does_not_exist())
            for one in once:
                used = NonceItem(_nonce(one.key), "NONCE", ttl=int(one.until.timestamp()) + _KEPT_LONGER)
                transaction.save(used, condition=NonceItem.pk.does_not_exist())

        return self._transact(write)

    def _commit_all(self, asked: Sequence[Commit]) -> Sequence[bool | None]:
        """What came of commits in one transaction; None where each has to be tried by itself, since not all of them can be carried out."""

        def write(transaction: TransactWrite) -> None:
            write_commits(transaction, asked)

        if len(asked) == 1:
            return [self._transact(write)]
        done = False
        if fit_together(asked):
            try:
                done = self._transact(write)
            except (TransactWriteError, ValueError) as error:  # of one of them: it has it again when it is alone
                logger.warning("commits do not go together", extra={"error": str(error)})
        return [done or None] * len(asked)

    def create(
        self, execution: Execution, layers: Sequence[Layer], resources: Sequence[Resource], approval: Approval | None, now: datetime
    ) -> bool:
        """Store a new execution and take its locks, all or nothing; resources go first, they mean nothing without the rest.

        A dry run takes no lock and has no approval.

        False if the request was dealt with already: it came twice. Raises LockedError, naming the holder.
        """
        pk = pk_of(execution.id)
        items = [item_of(ResourceItem, resource, pk, f"RES#{resource.id}", execution.home_region) for resource in resources]
        for start in range(0, len(items), _CHUNK):
            if not self._transact(partial(_plan, pk, items[start : start + _CHUNK])):
                return False
        for _ in range(_CONFLICT_TRIES):
            if self._lock_and_create(execution, layers, approval, now):
                return True
            if self._is_known(execution):
                return False
        raise OrchestratorError(f"the locks of {execution.application} changed hands over {_CONFLICT_TRIES} tries")

    def _lock_and_create(self, execution: Execution, layers: Sequence[Layer], approval: Approval | None, now: datetime) -> bool:
        """Store all but the resources. False if it is there already, or a lock changed hands meanwhile. Raises LockedError."""
        pk = pk_of(execution.id)
        # A dry run changes nothing: it neither waits for anybody nor holds anybody up.
        regions = [] if execution.dry_run else sorted({execution.source_region, execution.target_region})
        locks = {region: self._lock(execution.application, region) for region in regions}

        def write(transaction: TransactWrite) -> None:
            for region, lock in locks.items():
                fence = int(lock.fence) if lock else 0
                left = lock is not None and lock.owner is not None and _may_be_taken(lock, now)
                nobody = LockItem.owner == lock.owner if left and lock else LockItem.owner.does_not_exist()
                condition = nobody & (LockItem.fence == fence if lock else LockItem.fence.does_not_exist())
                new = LockItem(f"LOCK#{execution.application}#{region}", "LOCK", owner=execution.id, fence=fence + 1)
                transaction.save(new, condition=condition)
            transaction.condition_check(RefusalItem, pk, REFUSAL_SK, condition=RefusalItem.pk.does_not_exist())
            transaction.save(item_of(ExecutionItem, execution, pk, EXECUTION_SK), condition=ExecutionItem.pk.does_not_exist())
            for one in [approval, *approval_rules.of_layers(approval, layers)] if approval is not None else ():
                transaction.save(item_of(ApprovalItem, one, pk, approval_sk(one.layer), execution.home_region))
            for layer in layers:
                transaction.save(item_of(LayerItem, layer, pk, f"LAYER#{layer.number:04d}"))
            if execution.client_token:
                token = TokenItem(f"TOKEN#{execution.application}#{execution.client_token}", "TOKEN", execution_id=execution.id)
                transaction.save(token, condition=TokenItem.pk.does_not_exist())
            asked = {
                "requestedBy": execution.requested_by,
                "requesterVerified": execution.requester_verified,
                "mode": execution.mode,
                "dryRun": execution.dry_run,
            }
            save_events(transaction, execution, (Event(DetailType.EXECUTION_REQUESTED, asked),), now)

        if self._transact(write):
            return True
        holders = {owner for owner in self.locked_by(execution.application, regions, now).values() if owner != execution.id}
        if holders:
            raise LockedError(execution.application, regions, holders)
        return False

    def _is_known(self, execution: Execution) -> bool:
        """Whether the request for the execution was dealt with: created, refused, or another one with its client token was."""
        by_token = execution.client_token and self.by_token(execution.application, execution.client_token)
        return bool(by_token or self.refusal(execution.id) or self.load(execution.id))

    def keep_calls(self, execution_id: str, resource_id: str, attempt: int, calls: Sequence[Call], now: datetime) -> None:
        """Add to the journal of a resource; nothing is read out of it but by people."""
        if calls:
            sk = f"CALLS#{resource_id}#{events.new_event_id(now)}"
            CallsItem(pk_of(execution_id), sk, attempt=attempt, at=now, calls=_within([call.document() for call in calls])).save()

    def keep_preflight(self, execution_id: str, reports: Mapping[str, Mapping[str, Any]], now: datetime) -> None:
        """Store what preflight reports of each resource, by resource id; an earlier report of the same execution is replaced."""
        with PreflightItem.batch_write() as batch:
            for resource_id, report in reports.items():
                kept = {**report, "calls": _within(report["calls"])}
                batch.save(PreflightItem(pk_of(execution_id), f"PREFLIGHT#{resource_id}", at=now, report=kept))

    def keep_slack_message(self, execution_id: str, channel: str, timestamp: str, layer: int = 0) -> None:
        """Remember where the request for approval stands in Slack."""
        SlackItem(pk_of(execution_id), _slack_sk(layer), channel=channel, timestamp=timestamp).save()

    def use_once(self, key: str, now: datetime, seconds: int) -> bool:
        """Use up `key` for so many seconds. False if it was used already."""
        used = NonceItem(_nonce(key), "NONCE", ttl=int(now.timestamp()) + seconds)
        try:
            used.save(condition=NonceItem.pk.does_not_exist() | (NonceItem.ttl <= int(now.timestamp())))
        except PutError as error:
            if error.cause_response_code != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def refuse(self, refusal: Refusal, region: str, token: str | None, problems: list[Problem], now: datetime) -> bool:
        """Store a refusal and its event. False if the request had been dealt with already."""
        pk = pk_of(refusal.execution_id)
        item = RefusalItem(
            pk,
            REFUSAL_SK,
            application=refusal.application,
            status="REFUSED",
            requested_at=refusal.requested_at,
            problems=refusal.problems,
            request=refusal.request,
            standing=f"OVER#{region}",
        )
        shown = [asdict(problem) for problem in problems[:20]]
        event_id, detail = events.refused(refusal.execution_id, refusal.application, region, shown, now)

        def write(transaction: TransactWrite) -> None:
            transaction.condition_check(ExecutionItem, pk, EXECUTION_SK, condition=ExecutionItem.pk.does_not_exist())
            transaction.save(item, condition=RefusalItem.pk.does_not_exist())
            if token:
                owner = TokenItem(f"TOKEN#{refusal.application}#{token}", "TOKEN", execution_id=refusal.execution_id)
                transaction.save(owner, condition=TokenItem.pk.does_not_exist())
            transaction.save(event_item(pk, event_id, DetailType.EXECUTION_REFUSED, detail, region))

        return self._transact(write)

    def _transact(self, write: Callable[[TransactWrite], None]) -> bool:
        """Write in one transaction. A conflict with another transaction is tried again, spread over up to a second each time."""
        for attempt in range(_CONFLICT_TRIES):
            try:
                with TransactWrite(connection=self._connection) as transaction:
                    write(transaction)
                return True
            except TransactWriteError as error:
                codes = {reason.code for reason in error.cancellation_reasons if reason is not None}
                if "ConditionalCheckFailed" in codes:
                    return False
                if not codes & {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}:
                    raise
                _wait(attempt)
        raise OrchestratorError(f"the table stayed in conflict over {_CONFLICT_TRIES} tries")


def _wait(attempt: int) -> None:
    """Before the next try, up to a second: longer each time, spread so that those who collided do not meet again."""
    time.sleep(random.uniform(0.02, min(1.0, 0.05 * 2**attempt)))  # noqa: S311  (jitter, not a secret)


@cache
def table() -> Table:
    """The table that the environment names."""
    return Table(setting("TABLE_NAME"))


def _within(calls: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """As many of the calls, from the first, as an item has room for; in place of the others their number."""
    kept: list[Mapping[str, Any]] = []
    room = _LARGEST_JOURNAL
    for call in calls:
        room -= len(json.dumps(call))
        if room < 0:
            return [*kept, {"action": "…", "parameters": {"furtherCalls": len(calls) - len(kept)}, "region": "", "at": "", "sent": False}]
        kept.append(call)
    return kept


def _may_be_taken(lock: LockItem, now: datetime) -> bool:
    return lock.owner is None or (lock.free_at is not None and lock.free_at <= now)


def _nonce(key: str) -> str:
    return f"NONCE#{hashlib.sha256(key.encode()).hexdigest()}"


def _slack_sk(layer: int) -> str:
    return f"SLACK#{layer:04d}" if layer else "SLACK"


def _listed(item: ExecutionItem) -> Listed:
    """What the index has of an execution or a refusal."""
    stored = item.attribute_values
    known = {field.name: stored[field.name] for field in fields(Listed) if stored.get(field.name) is not None}
    return Listed(id=item.pk.removeprefix("EXEC#"), **known)


def _snapshot(found: Mapping[tuple[str, str], dict[str, Any]], execution_id: str, resource_id: str) -> State | None:
    """An execution and its resource out of the items that were found, by their keys."""
    pk = pk_of(execution_id)
    execution, resource = found.get((pk, EXECUTION_SK)), found.get((pk, f"RES#{resource_id}"))
    if execution is None or resource is None:
        return None
    known = record_of(Execution, ExecutionItem.from_raw_data(execution), id=execution_id)
    return State(known, resources=(record_of(Resource, ResourceItem.from_raw_data(resource)),))


def _plan(pk: str, items: Iterable[ResourceItem], transaction: TransactWrite) -> None:
    """Store resources as they are planned; those of an execution that is there already stay as they are."""
    transaction.condition_check(ExecutionItem, pk, EXECUTION_SK, condition=ExecutionItem.pk.does_not_exist())
    for item in items:
        transaction.save(item)
