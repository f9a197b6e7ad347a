"""EventBridge: enable rules in the Region that takes over, and disable them in the Region left behind.

The rule must exist: it is read before anything is changed, and a missing one fails with the remedy.

CLEANUP refuses (`LiveSide`) to disable a rule while the other Region has no enabled rule of the same name on a bus of the same name: the
work would be done nowhere. Where the names differ between the Regions, or the rule shall be enabled in neither, `"Force": true` says so.

Example manifest resource:

    {
      "action": "EventBridge",
      "resourceName": "scheduled-jobs",
      "parameters": [
        {
          "EventRuleName": "daily-report-generator",
          "BusName": "default"
        },
        {
          "EventRuleName": "hourly-sync-job",
          "BusName": "custom-bus"
        }
      ]
    }
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field

from dr_core.phases import Phase
from dr_modules.base import DRModule, Flag, ModuleParameters, Names, Permissions, PreflightFinding, Status, register


class EventBridgeParameters(ModuleParameters):
    """Rules of a manifest resource: each of `rules` on each of `buses`."""

    rules: Names = Field(alias="EventRuleName", min_length=1, description="one rule or several, by name")
    buses: Names = Field(
        alias="BusName",
        default=("default",),
        min_length=1,
        description="one bus or several, by name or ARN; each rule is meant on each bus",
    )
    force: Flag = Field(
        alias="Force", default=False, description="true: CLEANUP disables although the rule is not enabled in the other Region"
    )

    @property
    def places(self) -> list[tuple[str, str]]:
        """Every rule with its bus."""
        return [(rule, bus) for bus in self.buses for rule in self.rules]


@dataclass(frozen=True)
class Rule:
    """What is read of a rule; `owner` is the AWS service that manages it, if one does."""

    name: str
    bus: str
    state: str
    owner: str

    @property
    def enabled(self) -> bool:
        """ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS is enabled too."""
        return self.state.startswith("ENABLED")

    @property
    def line(self) -> str:
        """For people."""
        return f"{self.name} is {self.state}"


@register("EventBridge")
class EventBridge(DRModule[EventBridgeParameters]):
    """Rules of EventBridge."""

    permissions: ClassVar[Permissions] = {
        Phase.ACTIVATE: ("events:DescribeRule", "events:EnableRule", "events:ListTargetsByRule"),
        Phase.CLEANUP: ("events:DescribeRule", "events:DisableRule"),
    }
    terminal_codes = frozenset({"ManagedRuleException"})
    check_cap_seconds = 5
    timeout_seconds = 300

    def before(self, parameters: EventBridgeParameters) -> Mapping[str, object]:
        """The state of each rule."""
        return {f"{rule.bus}/{rule.name}": rule.state for rule in self._rules(parameters)}

    def guard(self, parameters: EventBridgeParameters) -> None:
        """Refuse in CLEANUP to disable a rule that is not enabled in the other Region."""
        if self.run.phase is not Phase.CLEANUP or parameters.force:
            return
        for rule in self._rules(parameters):
            if rule.state == "DISABLED":
                continue
            bus = rule.bus.rpartition(":event-bus/")[2]  # of an ARN, which names its Region, the name
            other = _find(self.peer_client("events"), rule.name, bus)
            if other is None or not other.enabled:
                seen = other.line if other else f"there is no rule {rule.name} on bus {bus}"
                message = f"{rule.line} in {self.target.region}, and not in {self.target.peer_region} ({seen}): it may be the live side"
                remedy = (
                    'correct the Regions of the request, run ACTIVATE for the other one, or set "Force": true to disable it all the same'
                )
                raise self.error("LiveSide", f"{message}; {remedy}")

    def preflight(self, parameters: EventBridgeParameters) -> Iterator[PreflightFinding]:
        """Rules that belong to an AWS service, and those that would be enabled for nothing."""
        for rule in self._rules(parameters):
            if rule.owner:
                message = f"rule {rule.name} on bus {rule.bus} is managed by {rule.owner}"
                yield self.obstacle("ManagedRuleException", f"{message}: take it out of the manifest, that service keeps its state")
            elif self.run.phase is Phase.ACTIVATE:
                targets = self._events.list_targets_by_rule(Rule=rule.name, EventBusName=rule.bus, Limit=1)["Targets"]
                if not targets:
                    message = f"rule {rule.name} on bus {rule.bus} in {self.target.region} has no targets"
                    yield self.warning("NoTargets", f"{message}: nothing will be done although it is enabled; deploy its targets there")

    def activate(self, parameters: EventBridgeParameters) -> None:
        """Enable each rule that is not."""
        self.guard(parameters)
        for rule in self._rules(parameters):
            if not rule.enabled:
                self._events.enable_rule(Name=rule.name, EventBusName=rule.bus)

    def activate_status_check(self, parameters: EventBridgeParameters) -> Status:
        """Done when each rule's state starts with ENABLED."""
        return Status.combined([_reached(rule, rule.enabled, rule.state == "DISABLED") for rule in self._rules(parameters)])

    def cleanup(self, parameters: EventBridgeParameters) -> None:
        """Disable each rule that is not."""
        self.guard(parameters)
        for rule in self._rules(parameters):
            if rule.state != "DISABLED":
                self._events.disable_rule(Name=rule.name, EventBusName=rule.bus)

    def cleanup_status_check(self, parameters: EventBridgeParameters) -> Status:
        """Done when each rule's state is DISABLED."""
        return Status.combined([_reached(rule, rule.state == "DISABLED", rule.enabled) for rule in self._rules(parameters)])

    @cached_property
    def _events(self) -> Any:
        return self.client("events")

    def _rules(self, parameters: EventBridgeParameters) -> list[Rule]:
        """Every rule, read before anything is done to one. Raises ModuleError when one is not there."""
        found = []
        for name, bus in parameters.places:
            rule = _find(self._events, name, bus)
            if rule is None:
                message = f"there is no rule {name} on bus {bus} in {self.target.region}"
                raise self.error("ResourceNotFoundException", f"{message}: correct EventRuleName and BusName, or deploy the rule there")
            found.append(rule)
        return found


def _find(events: Any, name: str, bus: str) -> Rule | None:
    """The rule as a Region has it now, None where there is no such rule or bus."""
    try:
        found = events.describe_rule(Name=name, EventBusName=bus)
    except events.exceptions.ResourceNotFoundException:
        return None
    return Rule(name, bus, found["State"], found.get("ManagedBy", ""))


def _reached(rule: Rule, reached: bool, opposite: bool) -> Status:
    """`opposite`: it has the other state of the two; one that is unknown is on its way to something."""
    if reached:
        return Status.done(rule.line)
    return Status.not_started(rule.line) if opposite else Status.in_progress(rule.line)
