"""The release before this one is found by its tag, or by its commit, and where the history has neither the upgrade's test is skipped."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import previous_release

ABOUT_ME = {f"GIT_{role}_{what}": "somebody@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(repository: Path, *arguments: str) -> None:
    environment = {**os.environ, **ABOUT_ME, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", "-C", str(repository), *arguments], env=environment, check=True, capture_output=True)


def committed(repository: Path, version: str, subject: str) -> None:
    (repository / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n')
    git(repository, "add", ".")
    git(repository, "commit", "-m", subject)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two releases and what came after, without tags."""
    made = tmp_path / "repository"
    made.mkdir()
    git(made, "init", "-b", "main")
    committed(made, "0.1.0", "Release 0.1.0")
    committed(made, "0.1.1.dev0", "Release notes are easier to read")
    committed(made, "0.2.0", "Release 0.2.0")
    committed(made, "0.3.0.dev0", "Begin 0.3.0")
    monkeypatch.setattr(previous_release, "REPOSITORY", made)
    return made


def found(directory: Path) -> tuple[str, str]:
    """The version that is said, and the one of the source."""
    version, source = previous_release.previous_release(directory)
    return version, (source / "pyproject.toml").read_text().split('"')[1]


def test_without_tags_it_is_the_newest_commit_of_a_release(repository: Path, tmp_path: Path) -> None:
    assert found(tmp_path / "source") == ("0.2.0", "0.2.0")


def test_a_tag_goes_before_and_the_newest_is_that_of_the_highest_version(repository: Path, tmp_path: Path) -> None:
    committed(repository, "0.10.0", "The tenth")
    git(repository, "tag", "v0.10.0")
    git(repository, "tag", "v0.2.0", "HEAD~2")
    committed(repository, "0.11.0.dev0", "Begin 0.11.0")
    assert found(tmp_path / "source") == ("0.10.0", "0.10.0")


def test_a_release_is_not_its_own_predecessor(repository: Path, tmp_path: Path) -> None:
    git(repository, "checkout", "HEAD~1")
    assert found(tmp_path / "source") == ("0.1.0", "0.1.0")


@pytest.mark.parametrize("lack", ["export", "shallow"])
def test_without_the_history_the_test_is_skipped_and_says_what_is_missing(repository: Path, tmp_path: Path, lack: str) -> None:
    if lack == "export":
        (repository / ".git").rename(tmp_path / "elsewhere")
    else:
        git(tmp_path, "clone", "--depth", "1", f"file://{repository}", "clone")
        repository.rename(tmp_path / "elsewhere")
        (tmp_path / "clone").rename(repository)
    with pytest.raises(pytest.skip.Exception, match=r"no tag and no commit of a release before 0\.3\.0\.dev0"):
        found(tmp_path / "source")
