"""What is wrong with an input, in the input's own words: keys as they are spelt there, and the key that was probably meant."""

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]

_MOST = 200  # of one ValidationError: nobody reads more
_LONGEST = 64  # characters of a word that are compared and shown
_REMEDIES = {
    "missing": "add it",
    "dict_type": "write an object: {...}",
    "model_type": "write an object: {...}",
    "list_type": "write an array: [...]",
    "tuple_type": "write an array: [...]",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "int_type": "write it in digits, such as 4",
    "int_parsing": "write it in digits, such as 4",
    "int_from_float": "write it in digits, such as 4",
    "string_type": "write one string, in quotes",
    "string_too_short": "write it",
    "too_short": "write at least one",
}
_MESSAGES = {
    "missing": "this key is missing",
    "extra_forbidden": "unknown key",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "list_type": "must be an array",
    "tuple_type": "must be an array",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_type": "must be a string",
    "too_short": "needs at least {min_length} of them",
    "too_long": "has more than {max_length} of them",
}


@dataclass(frozen=True)
class Finding:
    """One thing wrong: `path` leads through the input to where it stands, `remedy` (may be empty) says what would be right."""

    path: Path
    message: str
    remedy: str = ""


def shown(word: object) -> str:
    """A piece of untrusted input, short and printable."""
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(word)[: _LONGEST + 1])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def dotted(path: Path) -> str:
    """The path as people write it, such as `parameters.0.EcsDesiredSize`."""
    return ".".join(shown(step) for step in path)


def did_you_mean(word: str, known: Collection[str], synonyms: Mapping[str, str] | None = None) -> str | None:
    """The known word that was probably meant, if one is near: the same but for case and dashes, longer or shorter, or misspelt."""
    if len(word) > _LONGEST:
        return None
    plain = _plain(word)
    candidates = {_plain(one): one for one in known} | {_plain(wrong): right for wrong, right in (synonyms or {}).items() if right in known}
    if plain in candidates:
        return candidates[plain]
    related = [one for one in candidates if min(len(one), len(plain)) >= 3 and _is_related(one, plain)]
    near = difflib.get_close_matches(plain, related, 1, 0) or difflib.get_close_matches(plain, candidates, 1)
    return candidates[near[0]] if near else None


def _is_related(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _plain(word: str) -> str:
    return re.sub(r"[\s_-]", "", word).casefold()


def suggestion(word: str, known: Collection[str], synonyms: Mapping[str, str] | None = None) -> str:
    """The remedy for a word that is not known."""
    meant = did_you_mean(word, known, synonyms)
    return f"did you mean {meant}?" if meant else f"known here: {', '.join(known)}"


def explain(
    error: ValidationError,
    raw: object,
    model: type[BaseModel],
    *,
    ignore: Callable[[ErrorDetails], bool] = lambda _: False,
    synonyms: Mapping[str, str] | None = None,
    also: Collection[str] = (),
    elsewhere: Callable[[str, Collection[type[BaseModel]], str | None], str | None] = lambda key, models, near: None,
) -> list[Finding]:
    """What `model` found wrong with `raw`. No finding shows a value, only keys: values may be confidential.

    A key that is missing because it is misspelt is one finding, and so is a value that fits none of several types. `ignore` drops
    errors; `synonyms` are wrong words with the right ones; `also` are keys that are taken out of the input before the model sees it;
    `elsewhere(key, models, near)` says where a key belongs that the models do not have, None if it does not know better than `near`.
    """
    details = [detail for detail in error.errors(include_url=False) if not ignore(detail)]
    found: dict[Path, tuple[Finding, bool]] = {}
    meant: set[Path] = set()
    for detail in details[:_MOST]:
        path, of_union = _path(detail, raw)
        is_extra = detail["type"] == "extra_forbidden"
        models, field = _follow(model, detail["loc"][:-1] if is_extra else detail["loc"])
        message = _message(detail)
        own = (field.description if field else None) or _REMEDIES.get(detail["type"], "")
        remedy = str((detail.get("ctx") or {}).get("remedy", own))
        if is_extra:
            known = [name for one in models for key, each in one.model_fields.items() for name in _names(key, each)] + list(also)
            word = str(path[-1])
            right = did_you_mean(word, known, synonyms)
            place = None if right and _is_related(_plain(right), _plain(word)) else elsewhere(word, models, right)
            remedy = place or suggestion(word, known, synonyms)
            meant.add((*path[:-1], word if place else right or word))
        if path in found and found[path][0].message != message:
            message = f"{found[path][0].message} or {message.removeprefix('must be ')}"
        found[path] = (Finding(path, message, remedy), of_union or detail["type"] == "too_short")
    findings = [
        finding
        for path, (finding, is_vague) in found.items()
        if not (finding.message == _MESSAGES["missing"] and path in meant)
        # A type of a union that does not fit, or an array left empty, says nothing where something inside is what does not fit.
        if not (is_vague and any(other != path and other[: len(path)] == path for other in found))
    ]
    if len(details) > _MOST:
        findings.append(Finding((), f"and {len(details) - _MOST} problems more", "mend these first"))
    return findings


def _message(detail: ErrorDetails) -> str:
    context = detail.get("ctx") or {}
    if detail["type"] in _MESSAGES:
        return _MESSAGES[detail["type"]].format_map(context)
    text = detail["msg"].removeprefix("Value error, ")
    return re.sub(r"^(Input|String|Value) should ", "must ", re.sub(r", unable to .*", "", text))


def _path(detail: ErrorDetails, raw: Any) -> tuple[Path, bool]:
    """The error's place in the input, without the steps that only pydantic knows, such as the types of a union; and whether it had some."""
    steps: list[str | int] = []
    last = len(detail["loc"]) - 1
    for position, step in enumerate(detail["loc"]):
        if has_step(raw, step):
            raw = raw[step]
        elif not (position == last and detail["type"] == "missing"):
            continue
        steps.append(step)
    return tuple(steps), len(steps) < len(detail["loc"])


def has_step(value: object, step: str | int) -> bool:
    """Whether the object has that key, or the array that position."""
    return step in value if isinstance(value, dict) else isinstance(value, list) and isinstance(step, int) and step < len(value)


def _follow(model: type[BaseModel], loc: Path) -> tuple[list[type[BaseModel]], FieldInfo | None]:
    """The models that may stand where `loc` leads, and the last field on the way."""
    models, field = [model], None
    for step in loc:
        fields = [each for one in models for key, each in one.model_fields.items() if step in _names(key, each)]
        if fields:
            field = fields[0]
            # A validator that takes other forms than the field's own type says so for the schema.
            forms = [getattr(one, "json_schema_input_type", None) for one in field.metadata]
            models = [model for annotation in (field.annotation, *forms) for model in _models_in(annotation)]
    return models, field


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _names(key: str, field: FieldInfo) -> list[str]:
    """How a manifest may spell the field."""
    alias = field.validation_alias or field.alias or key
    return [one for one in alias.choices if isinstance(one, str)] if isinstance(alias, AliasChoices) else [str(alias)]
