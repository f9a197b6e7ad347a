"""Records and the items that hold them: attributes and fields have the same names."""

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from dr_core.items import APPROVAL_SK, Item
from dr_core.phases import Mode, Phase
from dr_core.records import Approval, ApprovalStatus, Execution, ExecutionStatus, Layer, LayerStatus, Resource, ResourceStatus

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_ENUMS: Mapping[str, Mapping[type[Any], type[Enum]]] = {
    "status": {Execution: ExecutionStatus, Layer: LayerStatus, Resource: ResourceStatus, Approval: ApprovalStatus},
    "phase": {Execution: Phase},
    "mode": {Execution: Mode},
}

R = TypeVar("R", Execution, Layer, Resource, Approval)
M = TypeVar("M", bound=Item)


def pk_of(execution_id: str) -> str:
    """The partition key of everything that belongs to an execution."""
    return f"EXEC#{execution_id}"


def approval_sk(layer: int) -> str:
    """The sort key of the approval before a layer, 0 for the execution's own."""
    return f"{APPROVAL_SK}#{layer:04d}" if layer else APPROVAL_SK


def record_of(record: type[R], item: Item, **more: object) -> R:
    """The record that an item holds. `more`: what the item's key says."""
    values: dict[str, Any] = dict(more)
    stored = item.attribute_values
    for field in fields(record):
        if field.name in values or stored.get(field.name) is None:
            continue
        value = stored[field.name]
        enum = _ENUMS.get(field.name, {}).get(record)
        values[field.name] = enum(value) if enum else value
    return record(**values)


def item_of(model: type[M], record: "DataclassInstance", pk: str, sk: str, home_region: str | None = None) -> M:
    """The item that holds a record."""
    names = model.get_attributes()
    values = {
        field.name: getattr(record, field.name)
        for field in fields(record)
        if field.name in names and getattr(record, field.name) is not None
    }
    region = home_region or getattr(record, "home_region", None)
    if "due_at" in values and region:
        values["due_pk"] = f"DUE#{region}"
    if isinstance(record, Execution):
        values["standing"] = standing(record.status, record.home_region)
    return model(pk, sk, **values)


def standing(status: ExecutionStatus, region: str) -> str:
    """Under which key an execution is listed."""
    return f"{'OVER' if status.is_terminal else 'LIVE'}#{region}"
