"""What the base class does for every module: targets, handles, field types, and the class of an error."""

from collections.abc import Mapping
from typing import ClassVar

import pytest
from botocore.exceptions import ClientError
from botocore.session import Session
from pydantic import Field, ValidationError

from dr_core.errors import ErrorClass, ModuleError
from dr_core.phases import Mode, Phase
from dr_core.target import Run, Target
from dr_modules.base import (
    Count,
    DRModule,
    Flag,
    Handle,
    ModuleParameters,
    Names,
    Permissions,
    Progress,
    Status,
    classify,
    modules,
    register,
)


class LampParameters(ModuleParameters):
    names: Names = Field(alias="Names", default=("one",))
    number: Count = Field(alias="Number", default=1)
    flag: Flag = Field(alias="Flag", default=False)


class Lamp(DRModule[LampParameters]):
    """Lit by its act, and only the handle tells."""

    name = "Lamp"
    permissions: ClassVar[Permissions] = {Phase.ACTIVATE: ("lamp:Light", "lamp:DescribeLamp")}
    implied_permissions: ClassVar[Permissions] = {Phase.ACTIVATE: ("kms:Decrypt",)}
    irreversible = frozenset({Phase.ACTIVATE})
    timeouts: ClassVar[Mapping[Phase, int]] = {Phase.ACTIVATE: 7}

    def activate(self, parameters: LampParameters) -> Handle | None:
        if parameters.number > 8:
            raise self.error("Burnt", "the lamp is burnt: put in a new one")
        return {"lit": str(parameters.number)}

    def activate_status_check(self, parameters: LampParameters) -> Status:
        lit = self.handle.get("lit")
        if lit == "0":
            return Status.failed("Dark", "it went out")
        return Status.done() if lit == str(parameters.number) else Status.not_started()

    def guard(self, parameters: LampParameters) -> None:
        if parameters.number == 9:
            raise self.error("Burnt", "the lamp is burnt: put in a new one")


def lamp(*handles: Handle, mode: Mode = Mode.PLANNED, phase: Phase = Phase.ACTIVATE) -> Lamp:
    target = Target(Session(), "1", "us-west-2", "us-east-1")
    return Lamp(target, Run("01X", "shop", phase, mode, "1#1", "hall", 1), handles)


def numbers(*wanted: int) -> list[dict[str, int]]:
    return [{"Number": number} for number in wanted]


def test_each_target_keeps_its_own_handle() -> None:
    module = lamp()
    module.start(numbers(3, 4), again=True)
    assert module.handles == [{"lit": "3"}, {"lit": "4"}]
    assert lamp(*module.handles).observe(numbers(3, 4)).progress is Progress.DONE
    assert lamp(*module.handles).observe(numbers(4, 3)).progress is Progress.NOT_STARTED


def test_only_what_is_not_done_is_acted_on() -> None:
    module = lamp({"lit": "3"}, {"lit": "9"})
    module.start(numbers(3, 4), again=False)
    assert module.handles == [{"lit": "3"}, {"lit": "4"}]


@pytest.mark.parametrize(("again", "expected"), [(True, "3"), (False, "0")])
def test_what_has_failed_is_acted_on_only_in_a_fresh_attempt(again: bool, expected: str) -> None:
    module = lamp({"lit": "0"})
    assert module.observe(numbers(3)).progress is Progress.FAILED
    module.start(numbers(3), again=again)
    assert module.handles == [{"lit": expected}]


def test_handles_of_what_was_done_survive_the_error_that_follows() -> None:
    module = lamp()
    with pytest.raises(ModuleError, match=r"hall \(Lamp\): the lamp is burnt: put in a new one"):
        module.start(numbers(3, 9), again=True)
    assert module.handles == [{"lit": "3"}]


def test_obstacles_are_all_found_and_what_is_done_has_none() -> None:
    assert [found.code for found in lamp({"lit": "9"}).obstacles(numbers(9, 9, 3, 9))] == ["Burnt"], "what holds for two is said once"
    assert lamp({"lit": "9"}).obstacles(numbers(9)) == []


def test_what_the_orchestrator_asks_of_a_module() -> None:
    assert Lamp.phases() == {Phase.ACTIVATE}
    assert Lamp.actions(Phase.ACTIVATE) == ("lamp:Light", "lamp:DescribeLamp", "kms:Decrypt")
    assert Lamp.read_actions(Phase.ACTIVATE) == ("lamp:DescribeLamp",)
    assert (Lamp.attempts(Phase.ACTIVATE), Lamp.attempts(Phase.CLEANUP)) == (1, 3)
    assert (Lamp.timeout(Phase.ACTIVATE), Lamp.timeout(Phase.CLEANUP)) == (7, 900)


@pytest.mark.parametrize("phase", list(Phase))
def test_an_unplanned_run_calls_the_peer_only_in_a_cleanup_whose_peer_is_the_live_region(phase: Phase) -> None:
    unplanned = lamp(mode=Mode.UNPLANNED, phase=phase)
    if phase is Phase.CLEANUP:
        assert unplanned.peer_client("rds").meta.region_name == "us-east-1"
    else:
        with pytest.raises(ModuleError, match="an unplanned run never calls us-east-1") as raised:
            unplanned.peer_client("rds")
        assert raised.value.code == "SourceRegionNotCalled"
    assert lamp(phase=phase).peer_client("rds").meta.region_name == "us-east-1"


@pytest.mark.parametrize("mode", [Mode.PLANNED, Mode.UNPLANNED])
def test_only_a_drill_refuses(mode: Mode) -> None:
    lamp(mode=mode).refuse_drill("light lamps")
    with pytest.raises(ModuleError, match="a drill does not light lamps"):
        lamp(mode=Mode.DRILL).refuse_drill("light lamps")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"Names": "x"}, (("x",), 1, False)),
        ({"Names": [" x ", "y"], "Number": "4"}, (("x", "y"), 4, False)),
        ({"Flag": "Yes"}, (("one",), 1, True)),
        ({"Flag": "True"}, (("one",), 1, True)),
        ({"Flag": "no"}, (("one",), 1, False)),
    ],
)
def test_one_or_many_and_numbers_and_booleans_as_strings(raw: object, expected: object) -> None:
    parsed = Lamp.parse(raw)[0]
    assert (parsed.names, parsed.number, parsed.flag) == expected


@pytest.mark.parametrize("raw", [{"Names": ""}, {"Names": ["x", ""]}, {"Number": -1}, {"Number": "many"}, {"Flag": "maybe"}, {"Numbr": 1}])
def test_what_is_not_a_value_is_refused(raw: object) -> None:
    with pytest.raises(ValidationError):
        Lamp.parse(raw)


def test_editors_accept_both_spellings() -> None:
    properties = LampParameters.model_json_schema(by_alias=True)["properties"]
    kinds = {key: {option.get("type") for option in value["anyOf"]} for key, value in properties.items()}
    assert kinds == {"Names": {"string", "array"}, "Number": {"integer", "string"}, "Flag": {"boolean", "string"}}


def statuses(*kinds: str) -> Status:
    made = {
        "d": Status.done(),
        "p": Status.in_progress("p", 50),
        "n": Status.not_started("n"),
        "f": Status.failed("Code", "f"),
        "?": Status.in_progress("?"),
    }
    return Status.combined([made[kind] for kind in kinds])


def test_one_status_of_many() -> None:
    assert statuses("d", "d").progress is Progress.DONE
    assert statuses("d", "p") == Status(Progress.IN_PROGRESS, "p", 75)
    assert statuses("d", "p", "?").percent is None
    assert statuses("p", "n").progress is Progress.NOT_STARTED
    assert statuses("p", "n", "f") == Status(Progress.FAILED, "f", None, "Code")


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ThrottlingException", 400, ErrorClass.THROTTLED),
        ("RequestLimitExceeded", 503, ErrorClass.THROTTLED),
        ("AccessDenied", 403, ErrorClass.TERMINAL),
        ("ValidationError", 400, ErrorClass.TERMINAL),
        ("DBClusterNotFoundFault", 404, ErrorClass.TERMINAL),
        ("NoSuchHostedZone", 404, ErrorClass.TERMINAL),
        ("Own", 400, ErrorClass.TERMINAL),
        ("InternalFailure", 500, ErrorClass.AMBIGUOUS),
        ("InvalidDBInstanceState", 400, ErrorClass.RETRYABLE),
    ],
)
def test_the_class_of_an_error(code: str, status: int, expected: ErrorClass) -> None:
    response = {"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "r-1"}}
    made = classify(ClientError(response, "DoIt"), "hall (Lamp)", frozenset({"Own"}))  # type: ignore[arg-type]
    assert (made.error_class, made.code, made.request_id) == (expected, code, "r-1")
    assert made.message.startswith("hall (Lamp): DoIt: why")
    assert ("execution role" in made.message) is (code == "AccessDenied")


def test_a_name_is_registered_once() -> None:
    modules()
    with pytest.raises(ValueError, match="two modules are called ECS"):
        register("ECS")(Lamp)
