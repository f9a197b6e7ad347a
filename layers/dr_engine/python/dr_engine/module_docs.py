"""The reference of all modules, written from the modules themselves: their docstrings, parameters and declarations.

`python -m dr_engine.module_docs` prints docs/modules.md; a test holds the file to it. What holds for all modules is written by hand, in
docs/modules-common.md.
"""

import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from textwrap import dedent
from typing import Any

from dr_core.phases import Phase
from dr_engine.permissions import Need, Use, needs
from dr_modules.base import DRModule, modules

Module = type[DRModule[Any]]
Schema = Mapping[str, Any]

_EXAMPLE = "Example manifest resource:"
_NOT = "–"  # noqa: RUF001
_SOURCES = "../layers/dr_modules/python"  # from docs/
_HEAD = """\
# Modules

What each module does, needs and waits for. Manifests, errors and time are the same for all: [what holds for all](modules-common.md).
This page is written from the code (`make schema`): a module's docstrings, the descriptions of its parameters, and what it declares.
"""
# What a module may say of what precedes an act: the method, and its row.
_BEFORE_AN_ACT = {
    "check_parameters": "Parameters",
    "guard": "Guard",
    "preflight": "Preflight",
    "lag_seconds": "Lag",
    "before": "Recorded for a way back",
}
# JSON Schema's words, and pydantic's own where it cannot translate them.
_BOUNDS = {
    "minimum": "at least {}",
    "ge": "at least {}",
    "exclusiveMinimum": "more than {}",
    "gt": "more than {}",
    "maximum": "at most {}",
    "le": "at most {}",
    "exclusiveMaximum": "less than {}",
    "lt": "less than {}",
}


def render(known: Mapping[str, Module]) -> str:
    """The page on the modules `known`, Markdown."""
    parts = [_HEAD, "\n".join(_matrix(known)), *("\n\n".join(_section(name, module)) for name, module in known.items())]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _matrix(known: Mapping[str, Module]) -> Iterator[str]:
    def cell(module: Module, phase: Phase) -> str:
        if phase not in module.phases():
            return _NOT
        return "yes, irreversible" if phase in module.irreversible else "yes"

    rows = [[f"[{name}](#{name.lower()})", *(cell(module, phase) for phase in Phase)] for name, module in known.items()]
    return _table(["Module", *Phase], rows)


def _section(name: str, module: Module) -> Iterator[str]:
    """The paragraphs on one module."""
    prose, example = _docstring(module)
    path = f"{module.__module__.replace('.', '/')}.py"
    has = [phase for phase in Phase if phase in module.phases()]
    yield f"## {name}"
    yield f"{_sentence(_text(prose.removeprefix(f'{name}: ')))}\n\nSource: [{path.rpartition('/')[2]}]({_SOURCES}/{path})."
    yield from _parameters(module)
    acts = [[phase, _cell(module, phase.lower()), _cell(module, f"{phase.lower()}_status_check")] for phase in has]
    yield "\n".join(_table(["Phase", "Act", "Status check"], acts))
    if said := [[row, _cell(module, method)] for method, row in _BEFORE_AN_ACT.items() if _is_own(module, method)]:
        yield "\n".join(_table(["Before an act", ""], said))
    yield "\n".join(_limits(module, has))
    yield _timing(module)
    yield "\n".join(_permissions(name, module, has))
    if example:
        yield f"```json\n{example}\n```"


def _docstring(module: Module) -> tuple[str, str]:
    """What the docstring of the module's file says, and the example at its end."""
    prose, _, after = (inspect.getdoc(inspect.getmodule(module)) or "").partition(_EXAMPLE)
    text = dedent(after.strip("\n")).lstrip()
    end = json.JSONDecoder().raw_decode(text)[1] if text else 0
    return prose.strip(), text[:end]


# --- parameters ---


def _parameters(module: Module) -> Iterator[str]:
    """What the parameters are about, their table, and one for each model inside."""
    accepted = module.parameters_model.model_json_schema(by_alias=True, mode="validation")
    parsed = module.parameters_model.model_json_schema(by_alias=True, mode="serialization")  # knows the bounds of numbers
    inner, inner_parsed = accepted.get("$defs", {}), parsed.get("$defs", {})
    yield from _model(f"One object of `parameters`: {_first_paragraph(accepted)}", accepted, parsed, inner)
    for name, model in inner.items():
        if "properties" in model:
            yield from _model(f"`{name}`: {_first_paragraph(model)}", model, inner_parsed.get(name, {}), inner)


def _first_paragraph(model: Schema) -> str:
    return _in_line(str(model.get("description", "")).split("\n\n")[0])


def _model(title: str, model: Schema, parsed: Schema, inner: Schema) -> Iterator[str]:
    yield title
    required = model.get("required", [])
    rows = []
    for key, node in model.get("properties", {}).items():
        kind = ", ".join([_kind(node, inner), *_bounds(parsed.get("properties", {}).get(key, {}))])
        rows.append([f"`{key}`", _presence(node, key in required), kind, _in_line(node.get("description", ""))])
    yield "\n".join(_table(["Parameter", "", "Type", "Meaning"], rows))


def _presence(node: Schema, required: bool) -> str:
    if required:
        return "required"
    # Nothing, an empty list and the like are what a parameter that was left out means anyway; `false` and 0 say something.
    return "optional" if node.get("default") in (None, "", [], {}) else f"default `{json.dumps(node['default'])}`"


def _kind(node: Schema, inner: Schema) -> str:
    """What a value may be, in words. That numbers and booleans may be strings, and any value a reference, holds for all."""
    kinds = list(dict.fromkeys(_kinds(node, inner)))
    if {"integer", "number", "boolean"} & set(kinds):
        kinds = [kind for kind in kinds if kind != "string"]
    return " or ".join(kinds) or "any"


def _kinds(node: Schema, inner: Schema) -> Iterator[str]:
    for option in node.get("anyOf", node.get("oneOf", [])):
        yield from _kinds(option, inner)
    for option in node.get("allOf", []):
        yield from _kinds(option, inner)
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        yield from [f"`{name}`"] if "properties" in inner[name] else _kinds(inner[name], inner)
    elif "enum" in node or "const" in node:
        yield from (f"`{json.dumps(value)}`" for value in node.get("enum", [node.get("const")]))
    elif node.get("type") == "array":
        yield f"list of {_plural(_kind(node.get('items', {}), inner))}"
    elif node.get("type") not in (None, "null"):
        yield str(node["type"])


def _plural(kind: str) -> str:
    return f"{kind}s" if kind.isalpha() else kind


def _bounds(node: Schema) -> list[str]:
    """The limits of a number and the pattern of a string."""
    found = [words.format(node[word]) for word, words in _BOUNDS.items() if word in node]
    found += [f"matching `{node['pattern']}`"] if "pattern" in node else []
    return found + [bound for option in node.get("anyOf", []) for bound in _bounds(option)]


# --- time, rights, events ---


def _limits(module: Module, has: list[Phase]) -> Iterator[str]:
    rows = [
        ["`timeout`", *(f"{module.timeout(phase)} s" for phase in has)],
        ["`maxAttempts`", *(str(module.attempts(phase)) for phase in has)],
    ]
    if _is_own(module, "lag_seconds") and Phase.ACTIVATE in has:
        rows.append(["`maxLagSeconds`", *(str(module.max_lag_seconds) if phase is Phase.ACTIVATE else _NOT for phase in has)])
    rows.append(["irreversible", *("yes" if phase in module.irreversible else "no" for phase in has)])
    rows.append(["in a drill", *(_in_drill(module, phase) for phase in has)])
    return _table(["Unless the manifest says otherwise", *has], rows)


def _in_drill(module: Module, phase: Phase) -> str:
    if phase is Phase.CLEANUP:
        return "takes back what the drill did" if _is_own(module, "undo") else "left out"
    return "runs" if phase in module.drills else "left out"


def _timing(module: Module) -> str:
    said = f"Checks at most {module.check_cap_seconds} s apart. Lease {module.lease_seconds} s."
    if module.native_events:
        events = ", ".join(f"{event.detail_type} (`{event.source}`)" for event in module.native_events)
        said += f" AWS's own events on it: {events}."
    return said


def _permissions(name: str, module: Module, has: list[Phase]) -> Iterator[str]:
    rows = []
    for phase in has:
        needed = needs({name: module}, [Use(name, phase)], references=False)
        reads = _actions(need for need in needed if need.called and need.is_reading)
        changes = _actions(need for need in needed if need.called and not need.is_reading)
        rows.append([phase, reads, changes, _actions(need for need in needed if not need.called)])
    titles = ["Permissions", "Calls that read", "Calls that change", "Not called, but asked for by AWS"]
    return _table(titles if any(row[3] for row in rows) else titles[:3], rows)


def _actions(needed: Iterable[Need]) -> str:
    return ", ".join(f"`{need.action}`" for need in needed)


# --- text ---


def _is_own(module: Module, method: str) -> bool:
    """Whether the module says something of its own there."""
    return next(cls for cls in module.__mro__ if method in vars(cls)) is not DRModule


def _cell(module: Module, method: str) -> str:
    """The first paragraph of the method's docstring."""
    return _in_line((inspect.getdoc(getattr(module, method)) or "").split("\n\n")[0])


def _in_line(text: str) -> str:
    return " ".join(_text(text).split())


def _text(text: str) -> str:
    """Text of a docstring as Markdown: nothing is markup but code, in backticks or indented."""
    return "\n\n".join(paragraph if paragraph.startswith("    ") else _escaped(paragraph) for paragraph in text.split("\n\n"))


def _escaped(paragraph: str) -> str:
    parts = re.split(r"(`+[^`]*`+)", paragraph)
    return "".join(part if part.startswith("`") else re.sub(r"([<*])", r"\\\1", part) for part in parts)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A table whose first row are the titles; rows are cut to their number."""
    heads = list(titles)
    yield _row(heads)
    yield "|---" * len(heads) + "|"
    yield from (_row(list(row)[: len(heads)]) for row in rows)


def _row(cells: list[str]) -> str:
    return "|" + "".join(f" {cell.replace('|', chr(92) + '|')} |" if cell else " |" for cell in cells)


if __name__ == "__main__":
    sys.stdout.write(render(modules()))
