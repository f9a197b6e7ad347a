"""The JSON Schema of manifests, for editors: what they complete and underline is what the models of the manifest and the modules say.

`python -m dr_engine.schema > manifests/schema.json` writes it. Where the models are tolerant, so is it.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from dr_core.manifest import Manifest
from dr_core.manifest_rules import MAX_LAYERS, AccountId
from dr_modules.base import DRModule, modules

Schema = dict[str, Any]

_REFERENCE = {"$ref": "#/$defs/Reference"}
_TEMPLATE = "#/$defs/{model}"
# What else pydantic takes for a value of that type.
_ALSO: Mapping[str, Schema] = {
    "integer": {"type": "string", "pattern": r"^\s*[+-]?[0-9]+\s*$"},
    "number": {"type": "string", "pattern": r"^\s*[+-]?[0-9.eE+-]+\s*$"},
    "boolean": {"enum": ["Yes", "No", "yes", "no", "True", "False", "true", "false", "on", "off", "1", "0", 1, 0]},
    "string": {"type": "number"},
}


def schema(known: Mapping[str, type[DRModule[Any]]]) -> Schema:
    """The schema of manifests whose actions are the modules `known`, in the dialect 2020-12."""
    manifest = Manifest.model_json_schema(ref_template=_TEMPLATE)
    definitions = manifest.pop("$defs")
    definitions["Manifest"] = manifest
    definitions["Reference"] = {
        "type": "string",
        "pattern": r"^\s*(!Import\s+\S|resolve:ssm:\S)",
        "description": "!Import Name, a CloudFormation export, or resolve:ssm:/path with an optional :version, an SSM parameter",
    }
    resource = definitions["Resource"]
    resource["properties"]["action"] = {"enum": list(known), "description": "the module"}
    resource["allOf"] = []
    for name, module in known.items():
        definitions |= _definitions(name, module)
        parameters = {"$ref": f"#/$defs/{name}"}
        either = {"if": {"type": "array"}, "then": {"items": parameters}, "else": parameters}
        chosen = {"properties": {"action": {"const": name}}, "required": ["action"]}
        resource["allOf"].append({"if": chosen, "then": {"properties": {"parameters": either}}})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "DR Orchestrator manifest",
        "if": {"type": "array"},
        "then": {"items": {"$ref": "#/$defs/Layer"}, "minItems": 1, "maxItems": MAX_LAYERS},
        "else": {"$ref": "#/$defs/Manifest"},
        "$defs": dict(sorted(definitions.items())),
    }


def _definitions(name: str, module: type[DRModule[Any]]) -> dict[str, Schema]:
    """The schema of a module's parameters, and of the models inside, each under a name that no other module has."""
    own = module.parameters_model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
    inner = own.pop("$defs", {})
    made = {name: _tolerant(own)} | {f"{name}.{model}": _tolerant(one) for model, one in inner.items()}
    made[name]["properties"]["AccountId"] = TypeAdapter(AccountId).json_schema()
    return made


def _tolerant(node: Schema) -> Schema:
    """The schema of an object, whose values may be references, and numbers and booleans also strings, as with the modules."""
    made = {key: child for key, child in node.items() if key != "title"}
    if "properties" in made:
        made["properties"] = {key: _value(child) for key, child in made["properties"].items()}
    if isinstance(made.get("additionalProperties"), dict):
        made["additionalProperties"] = _value(made["additionalProperties"])
    return made


def _value(node: Schema) -> Schema:
    notes: Schema = {key: child for key, child in node.items() if key in ("description", "default")}
    core = {key: child for key, child in node.items() if key not in notes and key != "title"}
    if not core or core.get("type") == "object" or "$ref" in core:
        return {**notes, **_tolerant(core)}
    options = [{**one, "items": _value(one["items"])} if "items" in one else one for one in core.get("anyOf", [core])]
    also = [_ALSO[one["type"]] for one in options if "enum" not in one and one.get("type") in _ALSO] + [_REFERENCE]
    if {"type": "string"} in options:  # any string will do, a reference among them
        also = [one for one in also if one.get("type") == "number"]
    return {**notes, "anyOf": options + [one for one in also if one not in options]}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(modules()), indent=2) + "\n")
