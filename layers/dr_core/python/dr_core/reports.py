"""What preflight reported of each resource, read back from the table, and the words in which people are told of it. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dr_core.phases import Phase
from dr_core.records import Execution, Resource

ERROR = "ERROR"  # a finding with which the phase would fail
DONE = "DONE"  # the goal is reached, as the status check says it
_FURTHER = "…"  # stands for the calls that the table had no room for
_LONGEST_MESSAGE = 600


@dataclass(frozen=True, slots=True)
class Found:
    """One finding: how serious (ERROR or WARNING), AWS's or the module's code, what it says, and of which resource."""

    severity: str
    code: str
    message: str
    resource: str

    def words(self) -> str:
        """The finding on one line; a module's message names the resource, AWS's does not."""
        told = f"{one_line(self.code)}: {one_line(self.message)}"
        return told if self.message.startswith(self.resource) else f"{one_line(self.resource)}: {told}"


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """A call that the act would make; secrets in its parameters were left out when it was recorded."""

    action: str
    region: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ResourceReport:
    """What preflight found of one resource: `progress` and `detail` are the status check's, None where it failed.

    `lag_seconds`: data not yet replicated; `calls` in order, `further_calls` those that there was no room to keep; `may_also_call`:
    actions that the phase may need in another situation; `note`: why the list may be short.
    """

    resource_id: str
    layer: int
    name: str
    module: str
    account: str
    progress: str | None
    detail: str
    findings: tuple[Found, ...]
    lag_seconds: float | None
    calls: tuple[PlannedCall, ...]
    further_calls: int
    may_also_call: tuple[str, ...]
    note: str
    irreversible: bool

    @property
    def call_count(self) -> int:
        """How many calls the act would make."""
        return len(self.calls) + self.further_calls

    def actions(self) -> str:
        """The calls by their actions alone, each once, in the order of the first."""
        counts: dict[str, int] = {}
        for call in self.calls:
            counts[call.action] = counts.get(call.action, 0) + 1
        named = [action if number == 1 else f"{action} ({number} times)" for action, number in counts.items()]
        return ", ".join([*named, *([f"and {plural(self.further_calls, 'further call')}"] if self.further_calls else [])])

    def why_no_call(self) -> str:
        """What is said of a resource on which the act would make no call."""
        if self.progress == DONE:
            return "nothing to do"
        if self.progress is None:
            return "not known: its state could not be observed"
        return one_line(f"no call: it is {self.progress}" + (f", {self.detail}" if self.detail else ""))


@dataclass(frozen=True, slots=True)
class Verdict:
    """All reports in short. `resources`: how many there are to look at, `looked_at`: how many reports have come."""

    errors: int
    warnings: int
    calls: int
    called: int
    looked_at: int
    resources: int

    def words(self) -> str:
        """The verdict, in a line."""
        if not self.looked_at and self.resources:
            return "no preflight came in time: nobody has looked for what stands in the way"
        if self.errors:
            said = f"{plural(self.errors, 'error')} in the way, {plural(self.warnings, 'warning')}"
        elif self.warnings:
            said = f"nothing in the way, {plural(self.warnings, 'warning')}"
        else:
            said = "nothing found in the way"
        missing = self.resources - self.looked_at
        return f"{said}; {missing} of {plural(self.resources, 'resource')} not looked at" if missing > 0 else said


def read_reports(documents: Iterable[Mapping[str, Any]]) -> tuple[ResourceReport, ...]:
    """The reports, as `Table.preflights` gives them."""
    return tuple(_report(document) for document in documents)


def _report(document: Mapping[str, Any]) -> ResourceReport:
    name = document["resourceName"]
    calls = tuple(PlannedCall(one["action"], one["region"], one["parameters"]) for one in document["calls"])
    kept = tuple(call for call in calls if call.action != _FURTHER)
    return ResourceReport(
        resource_id=document["resourceId"],
        layer=int(document["layer"]),
        name=name,
        module=document["module"],
        account=document["account"],
        progress=document["progress"],
        detail=document["detail"],
        findings=tuple(Found(one["severity"], one["code"], one["message"], name) for one in document["findings"]),
        lag_seconds=document["lagSeconds"],
        calls=kept,
        further_calls=sum(int(call.parameters["furtherCalls"]) for call in calls if call.action == _FURTHER),
        may_also_call=tuple(document["mayAlsoCall"]),
        note=document["note"],
        irreversible=document.get("irreversible", False),
    )


def verdict(reports: Sequence[ResourceReport], resources: int) -> Verdict:
    """What the reports come to, of that many resources."""
    severities = [found.severity for report in reports for found in report.findings]
    errors = severities.count(ERROR)
    return Verdict(
        errors=errors,
        warnings=len(severities) - errors,
        calls=sum(report.call_count for report in reports),
        called=sum(report.call_count > 0 for report in reports),
        looked_at=len(reports),
        resources=resources,
    )


def worst_first(reports: Iterable[ResourceReport]) -> list[Found]:
    """All findings: those in the way first, each kind in the order of the layers."""
    return sorted((found for report in reports for found in report.findings), key=lambda found: found.severity != ERROR)


def data_loss(execution: Execution, reports: Sequence[ResourceReport], resources: Iterable[Resource]) -> str:
    """What a failover at the moment of the preflight would have lost, estimated by the largest lag; empty where none was measured."""
    measured = [(report.lag_seconds, report) for report in reports if report.lag_seconds is not None]
    if execution.phase is not Phase.ACTIVATE or not measured:
        return ""
    lag, report = max(measured, key=lambda one: one[0])
    limits = {resource.id: resource.max_lag_seconds for resource in resources}
    accepted = f", {seconds(limits[report.resource_id])} accepted when planned" if report.resource_id in limits else ""
    return f"about {seconds(lag)} of data if it failed over now ({one_line(report.name)}{accepted})"


def proof(requester_verified: bool) -> str:
    """How far it is known who asked for an execution."""
    return "verified: signed in with AWS" if requester_verified else "as stated in the request, not verified"


def seconds(length: float) -> str:
    """A length of time in seconds; from ten minutes on in minutes."""
    return f"{length:g} s" if length == int(length) and length < 600 else f"{length:.1f} s" if length < 600 else f"{length / 60:.1f} min"


def in_short(parameters: Mapping[str, Any]) -> str:
    """The parameters of a call, as people read them: Key=value, those of JSON where they are no mere text."""
    return ", ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}" for key, value in parameters.items()
    )


def plural(number: int, word: str) -> str:
    """A number of things."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def one_line(text: object, limit: int = _LONGEST_MESSAGE) -> str:
    """Text from outside, on one line, without what cannot be seen, and of at most `limit` characters."""
    line = "".join(character if character.isprintable() else " " for character in str(text))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def fitting(blocks: Sequence[str], room: int) -> tuple[list[str], int]:
    """The first blocks that have room within that many bytes, one more for the end of each, and how many are left over."""
    kept: list[str] = []
    for block in blocks:
        room -= len(block.encode()) + 1
        if room < 0:
            break
        kept.append(block)
    return kept, len(blocks) - len(kept)
