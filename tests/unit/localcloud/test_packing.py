"""Packed layers: compiled, and the same archive for the same content, whoever packs it and when."""

import os
import sys
import zipfile
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcloud import packing

CODE = 'NAMES = frozenset({"one", "two", "three", "four"})\n\n\ndef known(name):\n    return name in {"one", "two", "three", "four"}\n'


def built(place: Path, code: str = CODE) -> Path:
    """A build with one layer that `sam build` made and one that it left where it is."""
    left = place.with_name(f"{place.name}-left")
    for directory, content in ((place / "Made", code), (left, "WORD = 1\n")):
        module = directory / "python" / "package" / "module.py"
        module.parent.mkdir(parents=True)
        module.write_text(content)
    (left / "python/package/__pycache__").mkdir()
    (left / "python/package/__pycache__/stale.cpython-311.pyc").write_bytes(b"stale")
    layers = {"Made": "Made", "Left": f"../{left.name}"}
    resources: dict[str, Any] = {
        name: {"Type": "AWS::Serverless::LayerVersion", "Properties": {"ContentUri": uri}} for name, uri in layers.items()
    }
    resources["Function"] = {"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": "Function"}}
    (place / "template.yaml").write_text(yaml.safe_dump({"Resources": resources}))
    return place


def test_the_same_content_is_the_same_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives = []
    for number, seed in enumerate(("1", "2")):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        place = built(tmp_path / f"build-{number}")
        os.utime(place / "Made/python/package/module.py", (number, number))
        (place / "Made/python/package/module.py").chmod((0o644, 0o664)[number])  # the umask of whoever made the clone
        packing.pack_layers(place, sys.executable, tmp_path / f"kept-{number}")
        archives.append((place / "Made.zip").read_bytes())
    assert archives[0] == archives[1]
    other = built(tmp_path / "other", CODE + "MORE = 1\n")
    packing.pack_layers(other, sys.executable, tmp_path / "kept-0")
    assert (other / "Made.zip").read_bytes() != archives[0]


def test_the_template_names_archives_of_compiled_modules(tmp_path: Path) -> None:
    place = built(tmp_path / "build")
    for _ in range(2):  # a second time has nothing left to do
        packing.pack_layers(place, sys.executable, tmp_path / "kept")
        named = yaml.safe_load((place / "template.yaml").read_text())["Resources"]
        assert {name: one["Properties"].get("ContentUri") for name, one in named.items()} == {
            "Made": "Made.zip",
            "Left": "Left.zip",
            "Function": None,
        }
    for layer in ("Made", "Left"):
        with zipfile.ZipFile(place / f"{layer}.zip") as packed:
            source, compiled = sorted(packed.namelist(), key=lambda name: name.endswith(".pyc"))
            code = packed.read(compiled)
        assert source == "python/package/module.py" and compiled.startswith("python/package/__pycache__/module.")
        assert code[:8] == MAGIC_NUMBER + (0b01).to_bytes(4, "little"), "by its hash, which nobody checks"
        assert b"/opt/python/package/module.py" in code and str(tmp_path).encode() not in code
    assert not (place / "Made").exists()
    assert [one.name for one in (tmp_path / "build-left").rglob("*.pyc")] == ["stale.cpython-311.pyc"], "what is not of the build stays"


def test_without_a_build_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["packing", str(tmp_path)])
    assert packing.main() == 1
    assert "run sam build first" in capsys.readouterr().err
