"""EventBridge: enable rules in the Region that takes over, and disable them in the Region left behind.

The rule must exist: it is read before anything is changed, and a missing one fails with the remedy.

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

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field

from dr_core.phases import Phase
from dr_modules.base import DRModule, ModuleParameters, Names, Permissions, Status, register


class EventBridgeParameters(ModuleParameters):
    """Rules of a manifest resource: each of `rules` on each of `buses`."""

    rules: Names = Field(alias="EventRuleName", min_length=1)
    buses: Names = Field(alias="BusName", default=("default",), min_length=1)

    @property
    def places(self) -> list[tuple[str, str]]:
        """Every rule with its bus."""
        return [(rule, bus) for bus in self.buses for rule in self.rules]


@register("EventBridge")
class EventBridge(DRModule[EventBridgeParameters]):
    """Rules of EventBridge."""

    permissions: ClassVar[Permissions] = {
        Phase.ACTIVATE: ("events:DescribeRule", "events:EnableRule"),
        Phase.CLEANUP: ("events:DescribeRule", "events:DisableRule"),
    }
    terminal_codes = frozenset({"ManagedRuleException"})
    check_cap_seconds = 5
    timeout_seconds = 300

    def before(self, parameters: EventBridgeParameters) -> Mapping[str, object]:
        """The state of each rule."""
        return {f"{bus}/{rule}": self._state(rule, bus) for rule, bus in parameters.places}

    def activate(self, parameters: EventBridgeParameters) -> None:
        """Enable each rule that is not."""
        for rule, bus in parameters.places:
            if not _is_enabled(self._state(rule, bus)):
                self._events.enable_rule(Name=rule, EventBusName=bus)

    def activate_status_check(self, parameters: EventBridgeParameters) -> Status:
        """Done when each rule's state starts with ENABLED."""
        states = [(rule, self._state(rule, bus)) for rule, bus in parameters.places]
        return Status.combined([_reached(rule, state, _is_enabled(state)) for rule, state in states])

    def cleanup(self, parameters: EventBridgeParameters) -> None:
        """Disable each rule that is not."""
        for rule, bus in parameters.places:
            if self._state(rule, bus) != "DISABLED":
                self._events.disable_rule(Name=rule, EventBusName=bus)

    def cleanup_status_check(self, parameters: EventBridgeParameters) -> Status:
        """Done when each rule's state is DISABLED."""
        states = [(rule, self._state(rule, bus)) for rule, bus in parameters.places]
        return Status.combined([_reached(rule, state, state == "DISABLED") for rule, state in states])

    @cached_property
    def _events(self) -> Any:
        return self.client("events")

    def _state(self, rule: str, bus: str) -> str:
        try:
            return str(self._events.describe_rule(Name=rule, EventBusName=bus)["State"])
        except self._events.exceptions.ResourceNotFoundException as error:
            message = f"there is no rule {rule} on bus {bus} in {self.target.region}"
            remedy = "correct EventRuleName and BusName, or deploy the rule there"
            raise self.error("ResourceNotFoundException", f"{message}: {remedy}") from error


def _is_enabled(state: str) -> bool:
    """ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS is enabled too."""
    return state.startswith("ENABLED")


def _reached(rule: str, state: str, reached: bool) -> Status:
    return Status.done(f"{rule} is {state}") if reached else Status.not_started(f"{rule} is {state}")
