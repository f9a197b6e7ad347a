"""The source of the release before this one, out of the repository's history."""

import re
import subprocess
import tarfile
import tomllib
from io import BytesIO
from pathlib import Path

import pytest

from localcloud.cloud import REPOSITORY

_RELEASE = re.compile(r"Release (\d+\.\d+\.\d+)")


def previous_release(directory: Path) -> tuple[str, Path]:
    """Put the source into `directory`; gives its version and where it is.

    It is found by its tag, else by its commit, `Release 1.2.3`. The test is skipped where the history has neither: in an export, or in a
    clone that is shallow.
    """
    present = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    for version, commit in _releases():
        if version != present:
            with tarfile.open(fileobj=BytesIO(_git("archive", commit))) as archive:
                archive.extractall(directory, filter="data")
            return version, directory
    pytest.skip(f"no tag and no commit of a release before {present}: the repository's history is not here, or is shallow")


def _releases() -> list[tuple[str, str]]:
    """Version and commit, the newest first."""
    if not (REPOSITORY / ".git").exists():
        return []
    tags = _git("tag", "--merged", "HEAD", "--list", "v[0-9]*", "--sort=-version:refname").decode().split()
    commits = _git("log", "--format=%H %s", "--grep=^Release [0-9]").decode().splitlines()
    subjects = [(_RELEASE.fullmatch(subject), commit) for commit, _, subject in (line.partition(" ") for line in commits)]
    return [(tag.removeprefix("v"), tag) for tag in tags] + [(found[1], commit) for found, commit in subjects if found]


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, check=True).stdout
