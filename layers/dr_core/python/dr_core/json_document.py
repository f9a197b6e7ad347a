"""JSON that other people wrote: read strictly, so that nothing means something else than it seems to."""

import codecs
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from dr_core.findings import Finding, Path

LARGEST = 1_000_000  # bytes
DEEPEST = 32  # levels

_SURROGATE = re.compile("[\ud800-\udfff]")
_COMMENTS = re.compile(r"(?:\s*#[^\n]*(?:\n|$))*\s*")
_YAML = re.compile(r"""---|%YAML|-(\s|$)|([\w.$-]+|"[^"\n]*"|'[^'\n]*')\s*:(\s|$)""")
_BY_MESSAGE = {
    "Unterminated string": 'put " at the end of the string',
    "Invalid control character": r"write \n for the end of a line in a string, \t for a tab",
    "Invalid \\": r"write \\ for a backslash in a string",
}
# What people write that JSON does not have: the end of what stands before the place where it breaks, the beginning of what follows.
_HABITS = (
    (r",", r"[\]}]", "remove the last comma: JSON has no trailing commas"),
    (r"", r",\s*[\]}]", "remove the last comma: JSON has no trailing commas"),
    (r"", r"//|/\*|#", "remove the comment: JSON has none"),
    (r"", r"\.\.\.|\N{HORIZONTAL ELLIPSIS}|<", "this is a placeholder: put in what it stands for"),
    (r"", r"['\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}]", 'strings and keys stand in straight double quotes: "..."'),
    (r"", r"(True|False|None)\b", "JSON writes true, false and null"),
    (r"", r"[A-Za-z_$][\w$-]*\s*:", 'keys stand in double quotes: "..."'),
    (r"", r"```", "remove the lines that begin with ```"),
    (r"\b0", r"[0-9]", "a number does not begin with 0: write it as a string, in quotes"),
    (r"[\]}]", r"[\[{]", "put a comma between them; a file holds one document"),
    (r"[\w\]}\"]", r"[\"\[{]", "put a comma before it, or a colon behind a key"),
    (r"", r"$", "the file ends too early: close what is open"),
)


class NotJsonError(ValueError):
    """Not a JSON document at all; `finding` says where it breaks."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def read_json(text: bytes | str, least: str) -> tuple[Any, list[Finding]]:
    """The document, and what is wrong with it although it could be read: duplicate keys, and numbers that JSON does not have.

    A byte order mark is tolerated. `least` is what an empty file should hold at least. Raises NotJsonError for what is too large, too
    deep, not Unicode or not JSON.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        if len(data) > LARGEST:
            raise _not_json(f"the file has {len(data)} bytes, more than {LARGEST}", "split the application")
        decoded = data.decode("utf-8-sig")
    except UnicodeError:
        raise _not_utf8(data) from None
    if "\0" in decoded[:4]:  # characters of two or four bytes
        raise _not_utf8(data)
    repeated: list[tuple[dict[str, Any], list[str]]] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            repeated.append((made, [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]))
        return made

    try:
        document = json.loads(decoded, object_pairs_hook=collect)
    except json.JSONDecodeError as error:
        raise _broken(decoded, error, least) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # Python refuses to read integers of thousands of digits
        raise _not_json("a number has too many digits", "write it as a string") from None
    keys_of = {id(made): keys for made, keys in repeated}
    findings = []
    for path, value in _nodes(document, ()):
        if len(path) > DEEPEST:
            raise _too_deep()
        findings += [Finding((*path, key), "this key stands twice in the same object", "keep one") for key in keys_of.get(id(value), [])]
        if isinstance(value, float) and not math.isfinite(value):
            findings.append(Finding(path, "not a number that JSON has", "write a finite number"))
        for text in value if isinstance(value, dict) else (value,):
            if isinstance(text, str) and not text.isascii() and _SURROGATE.search(text):
                raise NotJsonError(Finding(path, "not valid Unicode: half of a surrogate pair", "correct the \\u escapes"))
    return document, findings


def _nodes(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Each value of the document with its path, down to one level too deep."""
    yield path, value
    if len(path) <= DEEPEST and isinstance(value, dict | list):
        for step, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _nodes(child, (*path, step))


def _broken(text: str, error: json.JSONDecodeError, least: str) -> NotJsonError:
    if not text.strip():
        return _not_json("the file is empty", f"write at least {least}")
    where = f"line {error.lineno}, column {error.colno}: {error.msg}"
    if _YAML.match(_COMMENTS.sub("", text, count=1)):
        return _not_json(where, "this looks like YAML: convert it to JSON")
    for message, remedy in _BY_MESSAGE.items():
        if error.msg.startswith(message):
            return _not_json(where, remedy)
    before, after = text[: error.pos].rstrip(), text[error.pos :].lstrip()
    for end, beginning, remedy in _HABITS:
        if re.search(f"(?:{end})$", before[-3:]) and re.match(beginning, after[:200]):
            return _not_json(where, remedy)
    return _not_json(where, "write JSON, without comments and trailing commas")


def _not_utf8(data: bytes) -> NotJsonError:
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data[:4]
    return _not_json(f"the file is {'UTF-16, ' if is_wide else ''}not UTF-8", "save it as UTF-8")


def _too_deep() -> NotJsonError:
    return _not_json(f"nested more than {DEEPEST} levels deep", "flatten it")


def _not_json(message: str, remedy: str) -> NotJsonError:
    return NotJsonError(Finding((), message, remedy))
