"""The layers of a build as archives with compiled modules: `python -m localcloud.packing [BUILD] [--runtime python3.13]`.

`sam build` leaves modules uncompiled, and Lambda mounts layers read-only: each cold start would compile them anew. The same content gives
the same archive, byte for byte, and so no new layer version.

In:  a directory that `sam build` made, by default .aws-sam/build
Out: an archive of each layer in it, and its template.yaml naming them; `sam deploy` uploads them as they are
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

_NOT_SOURCE: Final = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache"})
_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
# What a module is compiled to also depends on the order of its sets, and names the file that it was made of.
_COMPILE: Final = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-p", "/opt", "-s")


def pack_layers(build: Path, runtime: str, kept: Path) -> None:
    """Replace the layers of a build with archives, compiled by the interpreter called `runtime`. `kept`: where archives are kept."""
    path = build / "template.yaml"
    template: dict[str, Any] = yaml.safe_load(path.read_text())
    for name, resource in template["Resources"].items():
        if resource["Type"] != "AWS::Serverless::LayerVersion" or resource["Properties"]["ContentUri"].endswith(".zip"):
            continue
        source = (build / resource["Properties"]["ContentUri"]).resolve()
        shutil.copyfile(_packed(source, build / f"{name}.tmp", runtime, kept), build / f"{name}.zip")
        if source.is_relative_to(build.resolve()):
            shutil.rmtree(source)
        resource["Properties"]["ContentUri"] = f"{name}.zip"
    path.write_text(yaml.safe_dump(template, sort_keys=False))


def _packed(source: Path, scratch: Path, runtime: str, kept: Path) -> Path:
    """The archive of a layer, made once for the same content."""
    archive = kept / f"{digest(source, source, ' '.join((runtime, *_COMPILE)).encode()).hexdigest()[:16]}.zip"
    if archive.exists():
        os.utime(archive)
        return archive
    kept.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(source, scratch, ignore=shutil.ignore_patterns(*_NOT_SOURCE, "*.egg-info"))
    subprocess.run([runtime, *_COMPILE, str(scratch), str(scratch)], env={**os.environ, "PYTHONHASHSEED": "0"}, check=True)
    unfinished = archive.with_suffix(".tmp")
    _zip(scratch, unfinished)
    unfinished.rename(archive)
    shutil.rmtree(scratch)
    return archive


def _zip(directory: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for path in files(directory):
            entry = zipfile.ZipInfo(str(path.relative_to(directory)), _ZIP_TIME)
            # Of the mode what git knows of it: the rest is the umask of who made the clone.
            entry.external_attr = (0o755 if path.stat().st_mode & 0o100 else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, path.read_bytes())


def digest(path: Path, base: Path, salt: bytes = b"") -> "hashlib._Hash":
    """Digest the files at or under a path, and their names below `base`."""
    made = hashlib.sha256(salt)
    for file in _sources(path):
        made.update(str(file.relative_to(base)).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return made


def files(directory: Path) -> Iterator[Path]:
    """The files under a directory in a fixed order."""
    return (path for path in sorted(directory.rglob("*")) if path.is_file())


def _sources(path: Path) -> Iterator[Path]:
    """The files at or under a path without what only tools leave there."""
    if path.is_file():
        yield path
    else:
        yield from (file for file in files(path) if _NOT_SOURCE.isdisjoint(file.relative_to(path).parts))


def main() -> int:
    """Pack what `sam build` made. Gives the exit code: 1 where there is no build."""
    parser = argparse.ArgumentParser(prog="python -m localcloud.packing", description="Compile and pack the layers of a build.")
    parser.add_argument("build", nargs="?", type=Path, default=Path(".aws-sam/build"))
    parser.add_argument("--runtime", default="python3.13", help="the stack's PythonRuntime: an interpreter on the PATH")
    options = parser.parse_args()
    if not (options.build / "template.yaml").exists():
        sys.stderr.write(f"{options.build} has no template.yaml: run sam build first\n")
        return 1
    pack_layers(options.build, options.runtime, options.build.parent / "layers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
