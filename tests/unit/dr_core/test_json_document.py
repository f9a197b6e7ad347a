"""Files that are JSON almost, or not at all: what is wrong with each, and what would be right."""

import json
from typing import Any

import pytest

from dr_core.json_document import NotJsonError, read_json

LEAST = '[{"layer": 1, "resources": [...]}]'
YAML = "this looks like YAML: convert it to JSON"
NO_TRAILING = "remove the last comma: JSON has no trailing commas"
LAYERS = [{"layer": 1, "resources": []}]


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        (b"", "the file is empty", 'write at least [{"layer": 1, "resources": [...]}]'),
        (b"\xef\xbb\xbf\r\n", "the file is empty", 'write at least [{"layer": 1, "resources": [...]}]'),
        (json.dumps(LAYERS).encode("utf-16"), "the file is UTF-16, not UTF-8", "save it as UTF-8"),
        (json.dumps(LAYERS).encode("utf-16-le"), "the file is UTF-16, not UTF-8", "save it as UTF-8"),
        (json.dumps(LAYERS).encode("utf-16-be"), "the file is UTF-16, not UTF-8", "save it as UTF-8"),
        ('[{"layer": "\u00e4"}]'.encode("latin-1"), "the file is not UTF-8", "save it as UTF-8"),
        ("- layer: 1\n  resources:\n    - action: ECS\n", "line 1", YAML),
        ("# the shop\n\n---\nlayers:\n", "line 1", YAML),
        ("%YAML 1.2\n---\n", "line 1", YAML),
        ("layers:\n- layer: 1\n", "line 1", YAML),
        ('"layers":\n- layer: 1\n', "line 1", YAML),
        ("-\n  layer: 1\n", "line 1", YAML),
        ("[{layer: 1, resources: []}]", "line 1", 'keys stand in double quotes: "..."'),
        ('[{"layer": 1, "resources": [],}]', "line 1", NO_TRAILING),
        ('[{"layer": 1, "resources": []},\n]', "line", NO_TRAILING),
        ('[{"layer": 1, // first\n"resources": []}]', "line 1", "remove the comment: JSON has none"),
        ('/* the shop */ [{"layer": 1}]', "line 1", "remove the comment: JSON has none"),
        ('# the shop\n[{"layer": 1}]', "line 1", "remove the comment: JSON has none"),
        ('[{"layer": 1} # first\n]', "line 1", "remove the comment: JSON has none"),
        ("[{'layer': 1}]", "line 1", 'strings and keys stand in straight double quotes: "..."'),
        ("[{\u201clayer\u201d: 1}]", "line 1", 'strings and keys stand in straight double quotes: "..."'),
        ('[{"bestEffort": True}]', "line 1", "JSON writes true, false and null"),
        ('[{"layer": 1, "resources": [...]}]', "line 1", "this is a placeholder: put in what it stands for"),
        ('[{"layer": <number>}]', "line 1", "this is a placeholder: put in what it stands for"),
        ("```json\n[]\n```", "line 1", "remove the lines that begin with ```"),
        ('[{"AccountId": 012345678901}]', "line 1", "a number does not begin with 0: write it as a string, in quotes"),
        ('[{"layer": 1} {"layer": 2}]', "line 1", "put a comma between them; a file holds one document"),
        ("[]\n[]", "line 2", "put a comma between them; a file holds one document"),
        ('[{"layer": 1 "resources": []}]', "line 1", "put a comma before it, or a colon behind a key"),
        ('[{"layer" 1}]', "line 1", "write JSON, without comments and trailing commas"),
        ('[{"layer": 1', "line 1", "the file ends too early: close what is open"),
        ('[{"layer": "1', "line 1", 'put " at the end of the string'),
        ('[{"layer": "a\nb"}]', "line 1", r"write \n for the end of a line in a string, \t for a tab"),
        (r'[{"layer": "C:\Work"}]', "line 1", r"write \\ for a backslash in a string"),
    ],
)
def test_a_file_that_is_not_json_is_one_problem_with_its_remedy(text: bytes | str, message: str, remedy: str) -> None:
    with pytest.raises(NotJsonError) as caught:
        read_json(text, LEAST)
    assert caught.value.finding.path == ()
    assert caught.value.finding.message.startswith(message)
    assert caught.value.finding.remedy == remedy


@pytest.mark.parametrize(
    ("text", "document"),
    [
        (b"\xef\xbb\xbf[1]", [1]),
        ("\ufeff[1]", [1]),
        (b"\r\n[1]\r\n", [1]),
        ('{"name": "K\u00e4se // # ... [,] \U0001f9c0"}', {"name": "K\u00e4se // # ... [,] \U0001f9c0"}),
    ],
)
def test_json_is_read_in_any_of_its_forms(text: bytes | str, document: Any) -> None:
    assert read_json(text, LEAST) == (document, [])


@pytest.mark.parametrize(
    ("text", "path", "message", "remedy"),
    [
        ('[{"a": {"b": 1, "b": 2}}]', (0, "a", "b"), "this key stands twice in the same object", "keep one"),
        ('{"a": [1, NaN]}', ("a", 1), "not a number that JSON has", "write a finite number"),
        ("[-Infinity]", (0,), "not a number that JSON has", "write a finite number"),
        ("[1e999]", (0,), "not a number that JSON has", "write a finite number"),
    ],
)
def test_what_python_reads_although_it_is_not_json_is_found(text: str, path: tuple[str | int, ...], message: str, remedy: str) -> None:
    ((found),) = read_json(text, LEAST)[1]
    assert (found.path, found.message, found.remedy) == (path, message, remedy)
