"""The manifest: which resources a phase acts on, in which layers. It is untrusted input: closed models, bounded, read strictly.

A manifest is an array of layers, or an object that holds them as `layers` beside what applies to all of them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from dr_core.errors import InvalidInputError, Problem
from dr_core.findings import Finding, Path, dotted, explain, shown
from dr_core.json_document import NotJsonError, read_json
from dr_core.phases import Phase

MAX_LAYERS = 20
MAX_RESOURCES_PER_LAYER = 100
MAX_RESOURCES = 500
MAX_PARAMETER_BYTES = 32 * 1024  # of one resource, as JSON
_MOST_PROBLEMS = 500
_ACCOUNT = "AccountId"
_ACCOUNT_REMEDY = "in quotes, since a number loses its leading zeros, and no reference: those are resolved in that account"
_SYNONYMS = {"resourceType": "action", "type": "action", "module": "action", "name": "resourceName", "failurePolicy": "policy"}


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "must be a whole number")
    return value


def _account(value: object) -> str:
    text = str(value).strip()
    if isinstance(value, bool) or not (len(text) == 12 and text.isascii() and text.isdigit()):
        raise PydanticCustomError("account", "must be 12 digits", {"remedy": _ACCOUNT_REMEDY})
    return text


def _bounded(value: object) -> object:
    if is_oversized(value):
        raise PydanticCustomError("parameters_too_large", f"more than {MAX_PARAMETER_BYTES} bytes", {"remedy": "split the resource"})
    return value


def is_oversized(parameters: object) -> bool:
    """Whether the parameters of one resource take more room than a record has for them."""
    return len(json.dumps(parameters, ensure_ascii=False).encode()) > MAX_PARAMETER_BYTES


Number = Annotated[int, BeforeValidator(_refuse_bool)]
LayerNumber = Annotated[Number, Field(ge=1, le=9999)]
AccountId = Annotated[
    str, BeforeValidator(_account), WithJsonSchema({"anyOf": [{"type": "string", "pattern": "^[0-9]{12}$"}, {"type": "integer"}]})
]
_Object = dict[str, Any]
_Parameters = Annotated[
    Annotated[_Object, Tag("object")] | Annotated[Annotated[list[_Object], Field(min_length=1)], Tag("array")],
    Discriminator(lambda value: "array" if isinstance(value, list) else "object"),
]
_LAYER_NUMBER: TypeAdapter[int] = TypeAdapter(LayerNumber)


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
    max_failures: Number = Field(0, alias="maxFailures", ge=0, le=MAX_RESOURCES_PER_LAYER, description='only with "onFailure": "continue"')

    @model_validator(mode="after")
    def _is_meant(self) -> "Policy":
        if (self.on_failure == "continue") != (self.max_failures > 0):
            message = '"continue" and a "maxFailures" of at least 1 belong together'
            raise PydanticCustomError("policy", message, {"remedy": 'such as {"onFailure": "continue", "maxFailures": 2}'})
        return self


class Resource(_Model):
    """One resource: a module, and what it shall act on. `account` is None for the orchestrator's own."""

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
        None, alias=_ACCOUNT, description="the account that the resource is in; without it, the orchestrator's own"
    )
    timeout: Number | None = Field(None, ge=1, le=86400, description="seconds, instead of the module's own")
    max_attempts: Number | None = Field(None, alias="maxAttempts", ge=1, le=10, description="tries, instead of the module's own number")
    best_effort: bool = Field(False, alias="bestEffort", description="whether its failure leaves the layer successful")


class Layer(_Model):
    """Resources that run in parallel; the layers run one after the other, by number."""

    number: LayerNumber = Field(alias="layer", description="layers run in the order of their numbers, from 1 to 9999")
    resources: tuple[Resource, ...] = Field(min_length=1, max_length=MAX_RESOURCES_PER_LAYER)
    policy: Policy | None = Field(None, description="instead of the manifest's own")


class Manifest(_Model):
    """All layers of one phase of one application, in the order in which they run."""

    schema_: str | None = Field(None, alias="$schema", description="where the JSON Schema is, for editors")
    application: str | None = Field(None, min_length=1, description="the application, as its folder is called")
    phase: Annotated[Phase, BeforeValidator(lambda value: value.strip().upper() if isinstance(value, str) else value)] | None = Field(
        None, description="the phase, as the file is called"
    )
    policy: Policy = Field(default=Policy(), description="of all layers that have none of their own")
    layers: tuple[Layer, ...] = Field(min_length=1, max_length=MAX_LAYERS)


@dataclass(frozen=True)
class Reading:
    """What could be read of a manifest, and everything wrong with its shape.

    `manifest` is None where there are problems. `sound` are the well-formed resources all the same, each with its layer's number as
    text (empty where that is not a number).
    """

    manifest: Manifest | None
    sound: tuple[tuple[str, Resource], ...]
    problems: list[Problem]


def parse_manifest(text: bytes | str, file: str, application: str | None, phase: Phase | None) -> Manifest:
    """The manifest in `text`. `file` names it in problems; `application` and `phase` are those that it is wanted for, None if any.

    Raises InvalidInputError with everything wrong with its shape. What the modules say of it is dr_modules.plan's.
    """
    reading = read_manifest(text, file, application, phase)
    if reading.manifest is None:
        raise InvalidInputError(reading.problems)
    return reading.manifest


def read_manifest(text: bytes | str, file: str, application: str | None, phase: Phase | None) -> Reading:
    """Like parse_manifest, but hands over what is sound beside what is not, instead of raising."""
    try:
        document, findings = read_json(text)
        if stray := _stray(document):
            raise NotJsonError(stray)
    except NotJsonError as error:
        return Reading(None, (), [problem(file, "", "", error.finding)])
    body: dict[str, Any] = {"layers": document} if isinstance(document, list) else document
    if body is not document:
        findings = [Finding(("layers", *one.path), one.message, one.remedy) for one in findings]
    findings += [*_out_of_order(body), *_namesakes(body), *_too_many(body), *_contradictions(body, application, phase)]
    plain, misplaced = _accounts_beside(body)
    findings += misplaced
    manifest = None
    try:
        manifest = Manifest.model_validate(plain)
    except ValidationError as error:
        findings += explain(error, body, Manifest, synonyms=_SYNONYMS)
    problems = [_located(file, body, finding, bare=body is not document) for finding in findings[:_MOST_PROBLEMS]]
    if len(findings) > _MOST_PROBLEMS:
        problems.append(problem(file, "", "", Finding((), f"and {len(findings) - _MOST_PROBLEMS} problems more", "mend these first")))
    return Reading(None if problems else manifest, tuple(islice(_sound(plain), MAX_RESOURCES)), problems)


def problem(file: str, layer: str, resource: str, finding: Finding) -> Problem:
    """The finding, made in a resource or layer of `file`, as a problem."""
    return Problem(file, layer, resource, dotted(finding.path), finding.message, finding.remedy)


def _located(file: str, body: dict[str, Any], finding: Finding, *, bare: bool) -> Problem:
    """The finding as a problem of its layer and resource, as far as these have a number and a name."""
    layer = resource = ""
    path = finding.path[1:] if bare and finding.path[:1] == ("layers",) else finding.path
    raw_layer, inside = _entered(body, "layers", finding.path)
    if number := _number(raw_layer):
        layer, path = str(number), inside
        raw_resource, inside = _entered(raw_layer, "resources", path)
        if name := _name(raw_resource):
            resource, path = shown(name), inside
    return problem(file, layer, resource, Finding(path, finding.message, finding.remedy))


def _entered(raw: dict[str, Any], key: str, path: Path) -> tuple[dict[str, Any], Path]:
    """The object that `path` enters by way of the array under `key`, and the rest of the path; an empty one if it enters none."""
    if len(path) < 2 or path[0] != key or not isinstance(path[1], int):
        return {}, path
    child = raw[key][path[1]]
    return (child if isinstance(child, dict) else {}), path[2:]


def _children(raw: object, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects in the array that `raw` has under `key`, with their positions."""
    children = raw.get(key) if isinstance(raw, dict) else None
    return ((position, child) for position, child in enumerate(children if isinstance(children, list) else ()) if isinstance(child, dict))


def _number(raw_layer: dict[str, Any]) -> int | None:
    try:
        return _LAYER_NUMBER.validate_python(raw_layer.get("layer"))
    except ValidationError:
        return None


def _name(raw_resource: dict[str, Any]) -> str:
    name = raw_resource.get("resourceName")
    return name.strip() if isinstance(name, str) else ""


def _stray(document: object) -> Finding | None:
    """What the document is where it is not a manifest but a part of one."""
    form = '[{"layer": 1, "resources": [{"action": ..., "resourceName": ..., "parameters": ...}]}]'
    if not isinstance(document, list | dict):
        return Finding((), "a manifest is an array of layers", form)
    if isinstance(document, dict) and "layers" not in document and document.keys() & {"layer", "resources"}:
        return Finding((), "this is one layer, and a manifest is an array of layers", f"put it into an array: {form}")
    for one in (document if isinstance(document, list) else [document])[:1]:
        if (
            isinstance(one, dict)
            and not one.keys() & {"layer", "layers", "resources"}
            and one.keys() & {"action", *_SYNONYMS, "resourceName"}
        ):
            return Finding((), "these are resources, and a manifest is an array of layers", f"put them into a layer: {form}")
    return None


def _out_of_order(body: dict[str, Any]) -> Iterator[Finding]:
    highest = 0
    for position, raw_layer in _children(body, "layers"):
        number = _number(raw_layer)
        if number is None:
            continue
        if number == highest:
            yield Finding(("layers", position, "layer"), f"there are two layers {number}", "join them, or renumber one")
        elif number < highest:
            message = f"layer {number} stands after layer {highest}, but would run before it"
            yield Finding(("layers", position, "layer"), message, "put the layers in the order of their numbers, or renumber them")
        highest = max(highest, number)


def _namesakes(body: dict[str, Any]) -> Iterator[Finding]:
    for position, raw_layer in _children(body, "layers"):
        seen = set()
        for place, raw_resource in _children(raw_layer, "resources"):
            name = _name(raw_resource)
            if name and name in seen:
                path = ("layers", position, "resources", place, "resourceName")
                yield Finding(path, f"two resources of this layer are called {shown(name)}", "rename one")
            seen.add(name)


def _too_many(body: dict[str, Any]) -> Iterator[Finding]:
    total = sum(1 for _, raw_layer in _children(body, "layers") for _ in _children(raw_layer, "resources"))
    if total > MAX_RESOURCES:
        yield Finding(("layers",), f"{total} resources, more than {MAX_RESOURCES}", "split the application")


def _contradictions(body: dict[str, Any], application: str | None, phase: Phase | None) -> Iterator[Finding]:
    for key, wanted in (("application", application), ("phase", phase)):
        given = body.get(key)
        said = given.strip() if isinstance(given, str) else None
        if wanted and said and (said.upper() if key == "phase" else said) != wanted:
            yield Finding((key,), f"the manifest is for {shown(said)}, and is used for {wanted}", f"use the {key}'s own manifest")


def _accounts_beside(body: dict[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    """A copy in which each AccountId stands beside the parameters, and what forbids to move one there."""
    if not isinstance(body.get("layers"), list):
        return body, []
    findings: list[Finding] = []
    layers = list(body["layers"])
    for position, raw_layer in _children(body, "layers"):
        if isinstance(raw_layer.get("resources"), list):
            resources = list(raw_layer["resources"])
            for place, raw_resource in _children(raw_layer, "resources"):
                resources[place], found = _account_beside(raw_resource)
                path = ("layers", position, "resources", place)
                findings += [Finding((*path, *one.path), one.message, one.remedy) for one in found]
            layers[position] = {**raw_layer, "resources": resources}
    return {**body, "layers": layers}, findings


def _account_beside(raw_resource: dict[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    parameters = raw_resource.get("parameters")
    items = parameters if isinstance(parameters, list) else [parameters]
    paths: list[Path] = [
        ("parameters", at, _ACCOUNT) if isinstance(parameters, list) else ("parameters", _ACCOUNT) for at in range(len(items))
    ]
    inside = {paths[at]: item[_ACCOUNT] for at, item in enumerate(items) if isinstance(item, dict) and _ACCOUNT in item}
    if not inside:
        return raw_resource, []
    findings, accounts = [], {}
    for path, value in inside.items():
        try:
            accounts[path] = _account(value)
        except PydanticCustomError as error:
            findings.append(Finding(path, error.message(), _ACCOUNT_REMEDY))
    bare = [{key: value for key, value in item.items() if key != _ACCOUNT} if isinstance(item, dict) else item for item in items]
    moved = {**raw_resource, "parameters": bare if isinstance(parameters, list) else bare[0]}
    outside = raw_resource.get(_ACCOUNT)
    split = "split into several resources, one for each account"
    if len(set(accounts.values())) > 1:
        findings.append(Finding(("parameters",), f"several accounts: {', '.join(sorted(set(accounts.values())))}", split))
    elif outside is None and len(inside) < len(items):
        findings.append(Finding(("parameters",), "only some of the targets have an AccountId", f"put it beside parameters, or {split}"))
    elif accounts and outside is not None and str(outside).strip() not in accounts.values():
        account = next(iter(accounts.values()))
        findings.append(Finding((_ACCOUNT,), f"differs from the AccountId {account} inside parameters", "keep the right one"))
    if outside is None and accounts:
        moved[_ACCOUNT] = next(iter(accounts.values()))
    return moved, findings


def _sound(body: dict[str, Any]) -> Iterator[tuple[str, Resource]]:
    for _, raw_layer in _children(body, "layers"):
        for _, raw_resource in _children(raw_layer, "resources"):
            try:
                yield str(_number(raw_layer) or ""), Resource.model_validate(raw_resource)
            except ValidationError:
                continue
