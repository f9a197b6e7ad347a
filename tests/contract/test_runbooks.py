"""Runbooks are read in the worst hour: what they name exists, what they tell to type is understood, every link leads somewhere."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from drctl.app import app
from tests.contract.test_alarms import RUNBOOKS, anchors
from tests.support.state_table import TEMPLATE, template

DOCS = TEMPLATE.parent / "docs"
BLOCKS = "\n".join(re.findall(r"^```sh\n(.*?)^```", RUNBOOKS, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
TYPED = sorted({line.partition(" #")[0].strip() for line in BLOCKS.splitlines() if line.startswith("drctl ")})
IN_TEXT = sorted({one for one in re.findall(r"`(drctl [^`]+)`", RUNBOOKS) if "…" not in one})
FUNCTIONS = {
    str(one["Properties"]["FunctionName"]).rpartition("${AWS::StackName}-")[2]
    for one in template()["Resources"].values()
    if one["Type"] == "AWS::Serverless::Function"
}


@pytest.mark.parametrize("line", sorted({*TYPED, *IN_TEXT}))
def test_drctl_understands_what_is_told_to_be_typed(line: str) -> None:
    command: Any = typer.main.get_command(app)
    options = set(names(command))
    for word in shlex.split(line.split("&&")[0].split(" > ")[0])[1:]:
        if word.startswith("-") and word != "-":
            assert word.partition("=")[0] in options, f"{command.name} has no {word}"
        elif word in getattr(command, "commands", {}):
            command = command.commands[word]
            options |= set(names(command))
    assert not hasattr(command, "commands") or line.endswith(f" {command.name}"), f"drctl has no such command: {line}"


def names(command: Any) -> Iterator[str]:
    """The options of a command."""
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)


def test_every_function_is_named_where_its_log_is_looked_for_and_no_other() -> None:
    named = set(re.findall(r"/aws/lambda/dr-orchestrator-([a-z-]+)|--function-name dr-orchestrator-([a-z-]+)", RUNBOOKS))
    assert {one or other for one, other in named} <= FUNCTIONS
    (listed,) = re.findall(r"^The functions: (.*)$", RUNBOOKS, re.MULTILINE)
    assert set(re.findall(r"`([a-z-]+)`", listed)) == FUNCTIONS


def test_outputs_and_resources_that_commands_ask_for_are_the_stacks() -> None:
    outputs, resources = set(re.findall(r"\bout ([A-Z]\w+)", RUNBOOKS)), set(re.findall(r"\$\(id (\w+)\)", RUNBOOKS))
    assert outputs and outputs <= set(template()["Outputs"])
    assert resources and resources <= set(template()["Resources"])


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_a_link_to_another_page_finds_its_section(page: Path) -> None:
    text = page.read_text()
    for file, anchor in re.findall(r"\]\(([\w./-]*\.md)?(?:#([\w-]+))?\)", text):
        target = page.parent / file if file else page
        assert target.exists(), f"{page.name}: {file}"
        assert not anchor or anchor in anchors(target.read_text()), f"{page.name}: {file}#{anchor}"
