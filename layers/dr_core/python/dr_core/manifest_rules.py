"""What holds across a manifest's parts. Read from the raw document, so that one bad part does not hide what is wrong with another.

The functions take the document as an object with `layers`; the paths of their findings begin there.
"""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from dr_core.findings import Finding, Path, shown
from dr_core.phases import Phase

MAX_LAYERS = 20
MAX_RESOURCES_PER_LAYER = 100
MAX_RESOURCES = 500
SYNONYMS = {"resourceType": "action", "type": "action", "module": "action", "name": "resourceName", "failurePolicy": "policy"}
_ACCOUNT = "AccountId"
_ACCOUNT_REMEDY = "in quotes, since a number loses its leading zeros, and no reference: those are resolved in that account"


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "must be a whole number")
    return value


def _account(value: object) -> str:
    text = str(value).strip()
    if isinstance(value, bool) or not (len(text) == 12 and text.isascii() and text.isdigit()):
        raise PydanticCustomError("account", "must be 12 digits", {"remedy": _ACCOUNT_REMEDY})
    return text


NOT_BOOL = BeforeValidator(_refuse_bool)
LayerNumber = Annotated[int, Field(ge=1, le=9999), NOT_BOOL]
AccountId = Annotated[
    str, BeforeValidator(_account), WithJsonSchema({"anyOf": [{"type": "string", "pattern": "^[0-9]{12}$"}, {"type": "integer"}]})
]
AnyPhase = Annotated[Phase, BeforeValidator(lambda value: value.strip().upper() if isinstance(value, str) else value)]
_PHASE: TypeAdapter[Phase | None] = TypeAdapter(AnyPhase | None)
_LAYER_NUMBER: TypeAdapter[int] = TypeAdapter(LayerNumber)


def broken_rules(body: dict[str, Any], application: str | None, phase: Phase | None) -> Iterator[Finding]:
    """Layers out of order, namesakes, too many resources, and a manifest that says it is for something else."""
    yield from _out_of_order(body)
    yield from _namesakes(body)
    yield from _too_many(body)
    yield from _contradictions(body, application, phase)


def children(raw: object, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects in the array that `raw` has under `key`, with their positions."""
    array = raw.get(key) if isinstance(raw, dict) else None
    return ((position, child) for position, child in enumerate(array if isinstance(array, list) else ()) if isinstance(child, dict))


def number_of(raw_layer: dict[str, Any]) -> int | None:
    """The layer's number, if it has a proper one."""
    try:
        return _LAYER_NUMBER.validate_python(raw_layer.get("layer"))
    except ValidationError:
        return None


def name_of(raw_resource: dict[str, Any]) -> str:
    """The resource's name, empty if it has none."""
    name = raw_resource.get("resourceName")
    return name.strip() if isinstance(name, str) else ""


def stray(document: object) -> Finding | None:
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
            and one.keys() & {"action", *SYNONYMS, "resourceName"}
        ):
            return Finding((), "these are resources, and a manifest is an array of layers", f"put them into a layer: {form}")
    return None


def _out_of_order(body: dict[str, Any]) -> Iterator[Finding]:
    seen: set[int] = set()
    for position, raw_layer in children(body, "layers"):
        number = number_of(raw_layer)
        if number is None:
            continue
        path = ("layers", position, "layer")
        if number in seen:
            yield Finding(path, f"there are two layers {number}", "join them, or renumber one")
        elif seen and number < max(seen):
            message = f"layer {number} stands after layer {max(seen)}, but would run before it"
            yield Finding(path, message, "put the layers in the order of their numbers, or renumber them")
        seen.add(number)


def _namesakes(body: dict[str, Any]) -> Iterator[Finding]:
    for position, raw_layer in children(body, "layers"):
        seen = set()
        for place, raw_resource in children(raw_layer, "resources"):
            name = name_of(raw_resource)
            if name and name in seen:
                path = ("layers", position, "resources", place, "resourceName")
                yield Finding(path, f"two resources of this layer are called {shown(name)}", "rename one")
            seen.add(name)


def _too_many(body: dict[str, Any]) -> Iterator[Finding]:
    total = sum(1 for _, raw_layer in children(body, "layers") for _ in children(raw_layer, "resources"))
    if total > MAX_RESOURCES:
        yield Finding(("layers",), f"{total} resources, more than {MAX_RESOURCES}", "split the application")


def own_phase_of(body: dict[str, Any]) -> Phase | None:
    """The phase that the manifest itself names, if it is one."""
    try:
        return _PHASE.validate_python(body.get("phase"))
    except ValidationError:
        return None


def _contradictions(body: dict[str, Any], application: str | None, phase: Phase | None) -> Iterator[Finding]:
    named = body.get("application")
    if application and isinstance(named, str) and named.strip() != application:
        yield Finding(("application",), f"the manifest is of {shown(named)}, and is used for {application}", "use the application's own")
    own_phase = own_phase_of(body)
    if phase and own_phase and own_phase is not phase:
        yield Finding(("phase",), f"the manifest is for {own_phase}, and is used for {phase}", "use the phase's own")


def without_excess(body: dict[str, Any]) -> dict[str, Any]:
    """As many layers and resources as the limits allow and one more, so that the models still see that there are too many."""
    if not isinstance(body.get("layers"), list):
        return body
    layers = body["layers"][: MAX_LAYERS + 1]
    for position, raw_layer in children({"layers": layers}, "layers"):
        if isinstance(raw_layer.get("resources"), list):
            layers[position] = {**raw_layer, "resources": raw_layer["resources"][: MAX_RESOURCES_PER_LAYER + 1]}
    return {**body, "layers": layers}


def accounts_beside(body: dict[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    """A copy in which each AccountId stands beside the parameters, and what forbids to move one there."""
    if not isinstance(body.get("layers"), list):
        return body, []
    findings: list[Finding] = []
    layers = list(body["layers"])
    for position, raw_layer in children(body, "layers"):
        if isinstance(raw_layer.get("resources"), list):
            resources = list(raw_layer["resources"])
            for place, raw_resource in children(raw_layer, "resources"):
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
