"""What holds across a manifest's parts. Read from the raw document, so that one bad part does not hide what is wrong with another.

The functions take the document as an object with `layers`; the paths of their findings begin there.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from dr_core.findings import Finding, Path, shown
from dr_core.phases import Phase

_ACCOUNT = "AccountId"
_ACCOUNT_REMEDY = "in quotes, since a number loses its leading zeros; no dashes; no reference, which is resolved in that account"
MAX_LAYERS = 20
MAX_RESOURCES_PER_LAYER = 500
MAX_RESOURCES = 1000
SYNONYMS = {
    "resourceType": "action",
    "type": "action",
    "module": "action",
    "name": "resourceName",
    "account": _ACCOUNT,
    "accountNumber": _ACCOUNT,
    "properties": "parameters",
    "failurePolicy": "policy",
    "lifecyclePhase": "phase",
    "number": "layer",
    "wave": "layer",
    "waves": "layers",
}


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
    """Layers out of order, namesakes, targets that stand twice in a layer, too many resources, and a manifest for something else."""
    yield from _out_of_order(body)
    yield from _namesakes(body)
    yield from _twins(body)
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
    if isinstance(document, dict) and (found := _something_else(document, form)):
        return found
    for one in (document if isinstance(document, list) else [document])[:1]:
        keys = _keys(one)
        if not keys & {"layer", "layers", "resources"} and keys & {"action", "resourcetype", "resourcename", "type", "module"}:
            return Finding((), "these are resources, and a manifest is an array of layers", f"put them into a layer: {form}")
    return None


def _something_else(document: dict[str, Any], form: str) -> Finding | None:
    """What the object is where it is not a manifest, as far as that can be told."""
    keys = _keys(document)
    if "layers" in keys:
        return None
    if "awstemplateformatversion" in keys or any(_kind(one).startswith("AWS::") for one in _values(document.get("Resources"))):
        return Finding((), "this is a CloudFormation template", f"a manifest is an array of layers: {form}")
    if {"startat", "states"} <= keys:
        return Finding((), "this is a state machine", f"a manifest is an array of layers: {form}")
    if keys & {"sourceregion", "detail-type", "detailtype"}:
        return Finding((), "this is a request for an execution", f"a manifest is an array of layers: {form}")
    if {"application", "regions"} <= keys:
        return Finding((), "this is an application's registration", "call the file application.json")
    if keys & {phase.lower() for phase in Phase}:
        return Finding((), "manifests of several phases in one file", f"a file for each: {', '.join(one.file_name for one in Phase)}")
    if keys & {"layer", "resources"}:
        return Finding((), "this is one layer, and a manifest is an array of layers", f"put it into an array: {form}")
    for key, value in document.items():
        if _keys(value) & {"layer", "resources"}:
            return Finding((), "the layers stand in an object, and a manifest is an array of layers", f"put them into an array: {form}")
        if "layers" in _keys(value) or any(_keys(one) & {"layer", "resources"} for one in _values(value)[:1]):
            return Finding((key,), "the manifest stands inside another object", "leave out what is around it")
    return None


def _keys(value: object) -> set[str]:
    return {key.casefold() for key in value} if isinstance(value, dict) else set()


def _values(value: object) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _kind(value: object) -> str:
    return str(value.get("Type", "")) if isinstance(value, dict) else ""


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
                yield Finding(path, f"two resources of this layer are called {shown(name)}", "rename one, or remove it if it is the same")
            seen.add(name)


def _twins(body: dict[str, Any]) -> Iterator[Finding]:
    for position, raw_layer in children(body, "layers"):
        seen: dict[str, tuple[int, str]] = {}
        for place, raw_resource in children(raw_layer, "resources"):
            name, parameters = name_of(raw_resource), raw_resource.get("parameters")
            for at, item in enumerate(parameters if isinstance(parameters, list) else [parameters]):
                if not isinstance(item, dict) or not isinstance(raw_resource.get("action"), str):
                    continue
                account = str(item.get(_ACCOUNT, raw_resource.get(_ACCOUNT)))
                target = json.dumps([raw_resource["action"], {**item, _ACCOUNT: account}], sort_keys=True)
                path: Path = ("layers", position, "resources", place, "parameters")
                former = seen.get(target)
                seen.setdefault(target, (place, name))
                if former and former[0] == place:
                    yield Finding((*path, at), "this target stands twice", "keep one")
                elif former and former[1] != name:  # namesakes are reported as such
                    message = f"the same target as in resource {shown(former[1])}, which runs at the same time"
                    yield Finding(path, message, "keep one, or move one to a later layer")


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
