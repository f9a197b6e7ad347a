"""The manifest: which resources a phase acts on, in which layers. It is untrusted input: closed models, bounded, read strictly.

A manifest is an array of layers, or an object that holds them as `layers` beside what applies to all of them.
"""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from dr_core.errors import InvalidInputError, Problem
from dr_core.findings import Finding, Path, dotted, explain, shown, suggestion
from dr_core.json_document import NotJsonError, read_json
from dr_core.manifest_rules import (
    MAX_LAYERS,
    MAX_RESOURCES,
    MAX_RESOURCES_PER_LAYER,
    NOT_BOOL,
    SYNONYMS,
    AccountId,
    AnyPhase,
    LayerNumber,
    accounts_beside,
    broken_rules,
    children,
    name_of,
    number_of,
    own_phase_of,
    stray,
    without_excess,
)
from dr_core.phases import Phase

MAX_PARAMETER_BYTES = 32 * 1024  # of one resource, as JSON
_MOST_PROBLEMS = 500


def _bounded(value: object) -> object:
    if is_oversized(value):
        raise PydanticCustomError("parameters_too_large", f"more than {MAX_PARAMETER_BYTES} bytes", {"remedy": "split the resource"})
    return value


def is_oversized(parameters: object) -> bool:
    """Whether the parameters of one resource take more room than a record has for them."""
    return len(json.dumps(parameters, ensure_ascii=False).encode()) > MAX_PARAMETER_BYTES


_Object = dict[str, Any]
_Parameters = Annotated[
    Annotated[_Object, Tag("object")] | Annotated[Annotated[list[_Object], Field(min_length=1)], Tag("array")],
    Discriminator(lambda value: "array" if isinstance(value, list) else "object"),
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Policy(_Model):
    """What a failed resource means for its layer."""

    on_failure: Literal["drain", "failFast", "continue"] = Field(
        "drain",
        alias="onFailure",
        description="drain: the others finish, then the layer has failed; failFast: no further one starts; "
        "continue: up to maxFailures are accepted",
    )
    max_failures: Annotated[int, Field(ge=0, le=MAX_RESOURCES_PER_LAYER), NOT_BOOL] = Field(
        0, alias="maxFailures", description='only with "onFailure": "continue"'
    )

    @model_validator(mode="after")
    def _is_meant(self) -> "Policy":
        if (self.on_failure == "continue") != (self.max_failures > 0):
            message = '"continue" and a "maxFailures" of at least 1 belong together'
            raise PydanticCustomError("policy", message, {"remedy": 'such as {"onFailure": "continue", "maxFailures": 2}'})
        return self


class Resource(_Model):
    """One resource: a module, and what it shall act on."""

    action: str = Field(min_length=1, max_length=64, description="the module, such as ECS")
    name: str = Field(
        alias="resourceName",
        min_length=1,
        max_length=128,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="a name of your own, unique in its layer",
    )
    parameters: Annotated[_Parameters, BeforeValidator(_bounded)] = Field(
        description="what the module needs: an object, or an array of objects, one for each target"
    )
    account: AccountId | None = Field(
        None, alias="AccountId", description="the account that the resource is in; without it, the orchestrator's own"
    )
    timeout: Annotated[int, Field(ge=1, le=86400), NOT_BOOL] | None = Field(None, description="seconds, instead of the module's own")
    max_attempts: Annotated[int, Field(ge=1, le=10), NOT_BOOL] | None = Field(
        None, alias="maxAttempts", description="tries, instead of the module's own number"
    )
    max_lag_seconds: Annotated[int, Field(ge=0, le=86400), NOT_BOOL] | None = Field(
        None,
        alias="maxLagSeconds",
        description="seconds of data that a planned ACTIVATE may find not yet replicated, instead of the module's own limit",
    )
    best_effort: bool = Field(False, alias="bestEffort", description="whether its failure leaves the layer successful")


class Layer(_Model):
    """Resources that run in parallel; the layers run one after the other, by number."""

    number: LayerNumber = Field(alias="layer", description="layers run in the order of their numbers, from 1 to 9999")
    resources: tuple[Resource, ...] = Field(
        min_length=1,
        max_length=MAX_RESOURCES_PER_LAYER,
        description='objects with "action", "resourceName" and "parameters"; they run in parallel',
    )
    policy: Policy | None = Field(None, description='such as {"onFailure": "failFast"}; without it, the manifest\'s own')
    approval: bool = Field(
        False, description="true or false: whether people must approve before it opens; the first layer has the execution's own approval"
    )


class Manifest(_Model):
    """All layers of one phase of one application, in the order in which they run."""

    schema_: str | None = Field(None, alias="$schema", description="where the JSON Schema is, for editors")
    application: str | None = Field(None, min_length=1, description="the application, as its folder is called")
    phase: AnyPhase | None = Field(None, description="the phase, as the file is called")
    policy: Policy = Field(default=Policy(), description='such as {"onFailure": "drain"}, for the layers without one of their own')
    layers: tuple[Layer, ...] = Field(min_length=1, max_length=MAX_LAYERS, description='objects with "layer" and "resources"')


# Each model with the place of its keys, for keys that stand in the wrong one.
_PLACES: tuple[tuple[type[BaseModel], str], ...] = (
    (Resource, "each resource that it is meant for"),
    (Layer, "a layer"),
    (Policy, '"policy": {...}'),
    (Manifest, 'the object that has "layers"'),
)


def _elsewhere(key: str, models: Collection[type[BaseModel]], near: str | None) -> str | None:
    for model, place in _PLACES:
        known = {(field.alias or name).casefold(): field.alias or name for name, field in model.model_fields.items()}
        if model not in models and (right := known.get(key.casefold())):
            return f"put {right} into {place}"
    return f'put what the module needs into "parameters"; {suggestion("", RESOURCE_KEYS)}' if Resource in models and not near else None


RESOURCE_KEYS = tuple(field.alias or name for name, field in Resource.model_fields.items())


@dataclass(frozen=True)
class Reading:
    """What could be read of a manifest, and everything wrong with its shape.

    `manifest` is None where there are problems; `sound` are the well-formed resources all the same, each with its layer's number as
    text (empty where that is not a number). `phase` is the one that the manifest names.
    """

    manifest: Manifest | None
    sound: tuple[tuple[str, Resource], ...]
    problems: list[Problem]
    phase: Phase | None = None


def parse_manifest(text: bytes | str, file: str, application: str | None, phase: Phase | None) -> Manifest:
    """The manifest in `text`. `file` names it in problems; `application` and `phase` are those that it is wanted for, None if any.

    Raises InvalidInputError with everything wrong with its shape. What the modules say of it is dr_engine.plan's.
    """
    reading = read_manifest(text, file, application, phase)
    if reading.manifest is None:
        raise InvalidInputError(reading.problems)
    return reading.manifest


def read_manifest(text: bytes | str, file: str, application: str | None, phase: Phase | None) -> Reading:
    """Like parse_manifest, but hands over what is sound beside what is not, instead of raising."""
    try:
        document, findings = read_json(text, '[{"layer": 1, "resources": [...]}]')
        if misplaced := stray(document):
            raise NotJsonError(misplaced)
    except NotJsonError as error:
        return Reading(None, (), [problem(file, "", "", error.finding)])
    body: dict[str, Any] = {"layers": document} if isinstance(document, list) else document
    if body is not document:
        findings = [Finding(("layers", *one.path), one.message, one.remedy) for one in findings]
    findings += broken_rules(body, application, phase)
    plain, found = accounts_beside(without_excess(body))
    findings += found
    manifest = None
    try:
        manifest = Manifest.model_validate(plain)
    except ValidationError as error:
        findings += explain(error, body, Manifest, synonyms=SYNONYMS, elsewhere=_elsewhere)
    problems = at_most([_located(file, body, finding, bare=body is not document) for finding in findings])
    return Reading(None if problems else manifest, tuple(islice(_sound(plain), MAX_RESOURCES)), problems, own_phase_of(body))


def at_most(problems: list[Problem]) -> list[Problem]:
    """As many problems as anybody reads, and how many more there are."""
    if len(problems) <= _MOST_PROBLEMS:
        return problems
    more = Finding((), f"and {len(problems) - _MOST_PROBLEMS} problems more", "mend these first")
    return [*problems[:_MOST_PROBLEMS], problem(problems[0].file, "", "", more)]


def problem(file: str, layer: str, resource: str, finding: Finding) -> Problem:
    """The finding, made in a resource or layer of `file`, as a problem."""
    return Problem(file, layer, resource, dotted(finding.path), finding.message, finding.remedy)


def _located(file: str, body: dict[str, Any], finding: Finding, *, bare: bool) -> Problem:
    """The finding as a problem of its layer and resource, as far as these have a number and a name."""
    layer = resource = ""
    path = finding.path[1:] if bare and finding.path[:1] == ("layers",) else finding.path
    raw_layer, inside = _entered(body, "layers", finding.path)
    if number := number_of(raw_layer):
        layer, path = str(number), inside
        raw_resource, inside = _entered(raw_layer, "resources", path)
        if name := name_of(raw_resource):
            resource, path = shown(name), inside
    return problem(file, layer, resource, Finding(path, finding.message, finding.remedy))


def _entered(raw: dict[str, Any], key: str, path: Path) -> tuple[dict[str, Any], Path]:
    """The object that `path` enters by way of the array under `key`, and the rest of the path; an empty one if it enters none."""
    if len(path) < 2 or path[0] != key or not isinstance(path[1], int):
        return {}, path
    child = raw[key][path[1]]
    return (child if isinstance(child, dict) else {}), path[2:]


def _sound(body: dict[str, Any]) -> Iterator[tuple[str, Resource]]:
    for _, raw_layer in children(body, "layers"):
        for _, raw_resource in children(raw_layer, "resources"):
            try:
                yield str(number_of(raw_layer) or ""), Resource.model_validate(raw_resource)
            except ValidationError:
                continue
