"""From a manifest to what an execution runs: every resource is held against its module before anything is touched."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dr_core.errors import InvalidInputError, Problem
from dr_core.findings import Finding, Path, explain, has_step, shown, suggestion
from dr_core.manifest import RESOURCE_KEYS, Manifest, Resource, at_most, is_oversized, problem, read_manifest
from dr_core.phases import Phase
from dr_core.records import Layer as LayerRecord
from dr_core.records import LayerStatus, ResourceStatus
from dr_core.records import Resource as ResourceRecord
from dr_core.references import Resolver, holds_reference, misspelt_references, resembles_reference
from dr_modules.base import DRModule

Modules = Mapping[str, type[DRModule[Any]]]
Within = Callable[[str, object], list[Finding]]
"""Says what of an account and a resource's parameters is outside of an application's bounds."""

# What people call the technologies, where the module's own name is not near.
_SYNONYMS = {
    "ASG": "AutoScaling",
    "DNS": "R53Record",
    "Elasticsearch": "OpenSearchService",
    "EventRule": "EventBridge",
    "MSSQL": "SQLServer",
    "MySQL": "AuroraMySQL",
    "Redis": "ElastiCache",
    "Route53": "R53Record",
    "Valkey": "ElastiCache",
}


@dataclass(frozen=True)
class Plan:
    """What an execution stores before it starts: its layers and resources, all PENDING, in the order in which they run."""

    layers: tuple[LayerRecord, ...]
    resources: tuple[ResourceRecord, ...]


def check_manifest(text: bytes | str, file: str, application: str | None, phase: Phase | None, modules: Modules) -> Manifest:
    """The manifest in `text`, well-formed, and fit for its modules as far as that shows before references are resolved.

    `file` names it in problems. `application` and `phase` are those that it is wanted for; without a phase the manifest must name
    its own. Raises InvalidInputError with everything wrong.
    """
    reading = read_manifest(text, file, application, phase)
    problems = list(reading.problems)
    wanted = phase or reading.phase
    if wanted:
        problems += [each for layer, resource in reading.sound for each in _problems(file, layer, resource, wanted, modules)]
    elif not problems:
        remedy = 'call the file Instantiate.json, Activate.json, Cleanup.json or Replicate.json, or write "phase" into it'
        problems.append(Problem(file, "", "", "phase", "it is not known which phase the manifest is for", remedy))
    if reading.manifest is None or problems:
        raise InvalidInputError(at_most(problems))
    return reading.manifest


def validate(manifest: Manifest, file: str, phase: Phase, modules: Modules) -> list[Problem]:
    """What the modules find wrong with the manifest: unknown ones, phases that they do not have, parameters.

    A value that is a reference passes for any value: what it stands for is not known yet.
    """
    return [
        each
        for layer in manifest.layers
        for resource in layer.resources
        for each in _problems(file, str(layer.number), resource, phase, modules)
    ]


def refuse_outside(manifest: Manifest, file: str, within: Within, own_account: str) -> None:
    """Raise InvalidInputError, naming all that is outside of the application's bounds as far as the manifest itself shows it."""
    found = [
        problem(file, str(layer.number), shown(resource.name), each)
        for layer in manifest.layers
        for resource in layer.resources
        for each in within(resource.account or own_account, resource.parameters)
    ]
    if found:
        raise InvalidInputError(at_most(found))


def plan(
    manifest: Manifest,
    file: str,
    phase: Phase,
    modules: Modules,
    resolver: Resolver,
    own_account: str,
    approval_seconds: int,
    within: Within | None = None,
    *,
    drill: bool = False,
) -> Plan:
    """The layers and resources to store, references resolved and parameters validated with what they stand for.

    Only references to SecureStrings remain. Resources that name no account are in `own_account`. `approval_seconds`: how long people have
    to decide before a layer that needs their approval; `within` says what of an account and parameters is outside of the application's
    bounds. In a drill, resources that would change production are SKIPPED from the beginning, and say why. Raises InvalidInputError with
    every reference that does not resolve and every parameter that does not fit.
    """
    problems: list[Problem] = []
    layers, resources = [], []
    for layer in manifest.layers:
        policy = layer.policy or manifest.policy
        record = LayerRecord(layer.number, LayerStatus.PENDING, 0, len(layer.resources), policy.on_failure, policy.max_failures)
        layers.append(replace(record, approval_seconds=approval_seconds) if layer.approval else record)
        for position, resource in enumerate(layer.resources, start=1):
            account = resource.account or own_account
            parameters, missing = resolver.resolve(resource.parameters, account)
            found = [Finding(("parameters", *each.path), each.message, each.remedy) for each in missing]
            found += [_with_source(each, resource.parameters) for each in _findings(resource, parameters, phase, modules)]
            found += [_with_source(each, resource.parameters) for each in (within(account, parameters) if within else ())]
            problems += [problem(file, str(layer.number), shown(resource.name), each) for each in found]
            if not problems:
                identity = resource_id(layer.number, position)
                planned = _record(identity, layer.number, resource, account, parameters, phase, modules[resource.action])
                left_out = drill and phase not in modules[resource.action].drills
                resources.append(
                    replace(planned, status=ResourceStatus.SKIPPED, detail=_no_drill(resource, phase)) if left_out else planned
                )
    if problems:
        raise InvalidInputError(at_most(problems))
    together = Counter(map(_together, resources))
    return Plan(tuple(layers), tuple(replace(one, peers=together[_together(one)]) for one in resources))


def _together(resource: ResourceRecord) -> tuple[int, str, str]:
    """What resources have in common whose checks call the same service in the same account and Region, at the same time."""
    return resource.layer, resource.module, resource.account


def refuse_empty_drill(manifest: Manifest, file: str, phase: Phase, modules: Modules) -> None:
    """Raise InvalidInputError where a drill would leave out every resource."""
    resources = [resource for layer in manifest.layers for resource in layer.resources]
    if any(phase in modules[resource.action].drills for resource in resources):
        return
    what = ", ".join(sorted({resource.action for resource in resources}))
    problem = Problem(file, "", "", "", f"nothing is left for a drill: {what} would change production in {phase}", "drill the other phase")
    raise InvalidInputError([problem])


def _no_drill(resource: Resource, phase: Phase) -> str:
    return f"left out of the drill: {resource.action} changes production in {phase}"


def _problems(file: str, layer: str, resource: Resource, phase: Phase, modules: Modules) -> Iterator[Problem]:
    for finding in _findings(resource, resource.parameters, phase, modules):
        yield problem(file, layer, shown(resource.name), finding)


def _findings(resource: Resource, parameters: Any, phase: Phase, modules: Modules) -> list[Finding]:
    """What is wrong with a resource that has these parameters; paths begin at the resource."""
    module = modules.get(resource.action)
    if module is None:
        return [Finding(("action",), f"there is no module {shown(resource.action)}", suggestion(resource.action, modules, _SYNONYMS))]
    if phase not in module.phases():
        has = ", ".join(one for one in Phase if one in module.phases())
        return [Finding(("action",), f"{resource.action} does nothing in {phase}", f"it has {has}")]
    found = [Finding(("parameters", *each.path), each.message, each.remedy) for each in misspelt_references(parameters)]
    if is_oversized(parameters):
        found.append(Finding(("parameters",), "too large once the references are resolved", "split the resource"))
    for place, item in enumerate(parameters) if isinstance(parameters, list) else [(None, parameters)]:
        path: Path = ("parameters",) if place is None else ("parameters", place)
        found += [Finding((*path, *each.path), each.message, each.remedy) for each in _item_findings(module, phase, item)]
    return found


def _item_findings(module: type[DRModule[Any]], phase: Phase, item: Mapping[str, object]) -> Iterable[Finding]:
    """What the module finds wrong with one target. A value that still is a reference passes; what depends on it is not judged."""
    found = list(_mistaken_for_values(module, item))
    try:
        parsed = module.parse(item)[0]
    except ValidationError as error:
        explained = explain(
            error, item, module.parameters_model, ignore=_depends_on_reference, also=("AccountId",), elsewhere=_beside_parameters
        )
        return [*found, *(_for_people(each, item) for each in explained)]
    if found:
        return found
    complaints = module.check_parameters(phase, parsed)
    return [Finding((key,), message, remedy) for key, message, remedy in complaints if not holds_reference(item.get(key))]


def _mistaken_for_values(module: type[DRModule[Any]], item: Mapping[str, object]) -> Iterator[Finding]:
    """Values that a tolerant model would take for something that nobody meant: a list in one string, true for the number 1."""
    for name, field in module.parameters_model.model_fields.items():
        key = field.alias or name
        value, kinds = item.get(key), set(_kinds(field.annotation))
        if isinstance(value, str) and "," in value and tuple in kinds and not holds_reference(value):
            remedy = 'write an array: ["...", "..."], or refer to a StringList; one value that has a comma itself stands in an array, too'
            yield Finding((key,), "several values in one string", remedy)
        if isinstance(value, bool) and int in kinds and bool not in kinds:
            yield Finding((key,), "must be a whole number", "write it in digits, such as 4")


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types that a field may have."""
    yield get_origin(annotation) or annotation
    if get_origin(annotation) in (Union, UnionType, Annotated):
        for part in get_args(annotation):
            yield from _kinds(part)


def _beside_parameters(key: str, models: Collection[type[BaseModel]], near: str | None) -> str | None:
    del models, near
    right = next((one for one in RESOURCE_KEYS if one.casefold() == key.casefold()), None)
    return f'put {right} beside "parameters", not into them' if right else None


def _for_people(finding: Finding, item: Any) -> Finding:
    """The finding, with the remedy for what people write in place of one string."""
    for step in finding.path:
        if not has_step(item, step):
            return finding
        item = item[step]
    if finding.message == "must be a string" and isinstance(item, list):
        return replace(finding, remedy='write one string; for several targets make "parameters" an array of objects')
    if isinstance(item, dict) and any(key == "Ref" or key.startswith("Fn::") for key in item):
        return replace(finding, remedy='write "!Import Name" for an export, "resolve:ssm:/path" for an SSM parameter')
    return finding


def _depends_on_reference(detail: ErrorDetails) -> bool:
    return detail["type"] not in ("missing", "extra_forbidden") and holds_reference(detail["input"])


def _with_source(finding: Finding, parameters: object) -> Finding:
    """The finding, its remedy with the reference that the value comes from, if it comes from one."""
    at: Any = {"parameters": parameters}
    for step in finding.path:
        if resembles_reference(at) or not has_step(at, step):
            break
        at = at[step]
    if not resembles_reference(at):
        return finding
    source = f"the value comes from {shown(at)}"
    return Finding(finding.path, finding.message, f"{finding.remedy}; {source}" if finding.remedy else source)


def resource_id(layer: int, position: int) -> str:
    """The id of a layer's resource, both counted from 1."""
    return f"{layer:04d}-{position:03d}"


def as_stored(parameters: object) -> str:
    """Parameters as a record holds them."""
    return json.dumps(parameters, ensure_ascii=False, separators=(",", ":"))


def _record(
    identity: str, layer: int, resource: Resource, account: str, parameters: object, phase: Phase, module: type[DRModule[Any]]
) -> ResourceRecord:
    return ResourceRecord(
        id=identity,
        layer=layer,
        name=resource.name,
        module=resource.action,
        account=account,
        parameters=as_stored(parameters),
        status=ResourceStatus.PENDING,
        attempt=0,
        check_no=0,
        spent=0,
        max_attempts=resource.max_attempts or module.attempts(phase),
        timeout_seconds=resource.timeout or module.timeout(phase),
        lease_seconds=module.lease_seconds,
        max_lag_seconds=module.max_lag_seconds if resource.max_lag_seconds is None else resource.max_lag_seconds,
        best_effort=resource.best_effort,
    )
