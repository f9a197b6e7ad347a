"""What people ask for: an execution, a command to one, a decision on one. As events of source `dr.operator`, or signed."""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from dr_core.commands import CommandName
from dr_core.errors import InvalidInputError, Problem
from dr_core.events import printable
from dr_core.phases import Mode, Phase

_MOST_IDS = 1000  # of a command: so many fit into the event that tells of it

Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=512)]
ExecutionId = Annotated[str, StringConstraints(pattern=r"^[0-9A-HJKMNP-TV-Z]{26}$")]
M = TypeVar("M", bound=BaseModel)


class ExecutionRequested(BaseModel):
    """An operator's wish to run a phase: the detail of `Execution Requested` from source `dr.operator`.

    `mode` may be left out except for ACTIVATE, where nobody may guess whether data loss is accepted; it is `planned` then.
    `manifest` is a key in the manifest bucket, by default `<application>/<Phase>.json`. `requestedBy` is a claim. `dryRun`: only look,
    and say which calls would be made; nothing is changed, locked or approved. A drill has no REPLICATE, and its CLEANUP no manifest.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    application: Name
    phase: Phase
    source_region: Region
    target_region: Region
    mode: Mode | None = None
    manifest: Text | None = None
    dry_run: StrictBool = False
    client_token: Name | None = None
    requested_by: Text
    reason: Text

    @model_validator(mode="after")
    def _fits(self) -> "ExecutionRequested":
        if self.source_region == self.target_region:
            raise ValueError("sourceRegion and targetRegion are the same; targetRegion is the one that the phase acts on")
        if self.phase is Phase.ACTIVATE and self.mode is None:
            raise ValueError('ACTIVATE needs a mode: "planned" (no data loss) or "unplanned" (data loss accepted)')
        if self.mode is Mode.DRILL and self.phase is Phase.REPLICATE:
            raise ValueError("a drill has no REPLICATE: it runs INSTANTIATE and ACTIVATE, and its CLEANUP takes back what they did")
        if self.mode is Mode.DRILL and self.phase is Phase.CLEANUP and self.manifest is not None:
            raise ValueError("a drill's CLEANUP takes no manifest: it takes back what the drills of the target Region did")
        if self.manifest is not None and not self.manifest.startswith(f"{self.application}/"):
            raise ValueError(f"manifest {self.manifest} is not one of {self.application}: its key begins with {self.application}/")
        return self

    @property
    def manifest_key(self) -> str:
        """The key of the manifest in the manifest bucket."""
        return self.manifest or f"{self.application}/{self.phase.file_name}"

    @classmethod
    def parse(cls, detail: object) -> "ExecutionRequested":
        """Validate the detail of an event. Raises InvalidInputError with every problem at once."""
        return _parsed(cls, detail, "Execution Requested")


def _parsed(model: type[M], detail: object, event: str) -> M:
    try:
        return model.model_validate(detail)
    except ValidationError as error:
        raise InvalidInputError([_problem(item["loc"], item["type"], item["msg"], model, event) for item in error.errors()]) from error


def _problem(location: tuple[int | str, ...], kind: str, message: str, model: type[BaseModel], event: str) -> Problem:
    key = printable(".".join(str(part) for part in location), 100)
    known = sorted(to_camel(name) for name in model.model_fields)
    remedies = {
        "extra_forbidden": f"known are {', '.join(known)}",
        "missing": "add it",
        "bool_type": "write true or false, without quotes",
    }
    return Problem(event, "", "", key, message.removeprefix("Value error, "), remedies.get(kind, ""))


class CommandRequested(BaseModel):
    """An operator's command to an execution: the detail of `Command Requested` from source `dr.operator`.

    `resourceIds`: such as `0002-001`; left out, `retry` and `skip` mean every failed resource of the current layer. `requestedBy` is a
    claim. `clientToken` makes a repetition harmless; without one, each event is a command of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    execution_id: ExecutionId
    command: CommandName
    resource_ids: tuple[Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{3}$")], ...] = Field((), max_length=_MOST_IDS)
    client_token: Name | None = None
    requested_by: Text
    reason: Text

    @classmethod
    def parse(cls, detail: object) -> "CommandRequested":
        """Validate the detail of an event. Raises InvalidInputError with every problem at once."""
        return _parsed(cls, detail, "Command Requested")


class VoteRequested(BaseModel):
    """A person's decision on an execution, for the manifest with that SHA-256; who they are says only the signature it came with.

    `planSha256`: of the plan that they were shown; left out, they decide on whatever it is. `breakGlass`: without quorum and four eyes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    execution_id: ExecutionId
    decision: Literal["approve", "reject"]
    manifest_sha256: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    plan_sha256: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=512)] = ""
    break_glass: StrictBool = False

    @classmethod
    def parse(cls, detail: object) -> "VoteRequested":
        """Validate what was sent. Raises InvalidInputError with every problem at once."""
        return _parsed(cls, detail, "Vote Requested")
