"""What `sam build` makes of the repository's template, kept until something in it changes.

In:  template.yaml and the directories it names
Out: .aws-sam/localcloud/<fingerprint>/template.yaml, whose layers are zip files that `sam deploy` only has to upload
"""

import compileall
import fcntl
import hashlib
import os
import platform
import py_compile
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from localcloud.cloud import REPOSITORY

SAM: Final = REPOSITORY / ".local" / "tools" / "sam" / "bin" / "sam"
_SAM_DIR: Final = REPOSITORY / ".aws-sam"
_BUILDS: Final = _SAM_DIR / "localcloud"
_LAYERS: Final = _BUILDS / "layers"
_KEPT_BUILDS: Final = 3
_KEPT_LAYERS: Final = 12
_SOURCES: Final = re.compile(r"^\s*(?:CodeUri|ContentUri|DefinitionUri|Location):\s*['\"]?([^'\"\s#]+)", re.MULTILINE)
_NOT_SOURCE: Final = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache"})
_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)  # the same content gives the same archive, and so no new layer version


class SamError(Exception):
    """`sam` ended with an error; carries the end of what it said."""


def python_runtime() -> str:
    """The Lambda runtime of the interpreter in use: the emulated functions run with that interpreter."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def architecture() -> str:
    """The Lambda architecture of this machine, whose wheels the layers hold."""
    return "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"


def run_sam(arguments: list[str], *, cwd: Path, environment: Mapping[str, str], log: Path) -> None:
    """Run the SAM CLI with its output in `log`; raise SamError when it fails."""
    own = {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(_SAM_DIR / "home"),
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with log.open("w") as output:
        ended = subprocess.run(
            [str(SAM), *arguments],
            cwd=cwd,
            env={**inherited, **own, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if ended.returncode != 0:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise SamError(f"sam {arguments[0]} failed ({log}):\n{end}")


def built_template(template: Path, log: Path) -> Path:
    """Build the template unless its sources are as they were, and return the path of the built one."""
    _BUILDS.mkdir(parents=True, exist_ok=True)
    # The builds share sam's cache of dependencies, which is not made for two at a time.
    with (_BUILDS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = _BUILDS / _fingerprint(template)
        if built.exists():
            os.utime(built)
        else:
            _build(template, built, log)
            _forget_old(_KEPT_BUILDS, (path for path in _BUILDS.iterdir() if path.is_dir() and path != _LAYERS))
            _forget_old(_KEPT_LAYERS, _LAYERS.iterdir())
    return built / "template.yaml"


def _build(template: Path, built: Path, log: Path) -> None:
    unfinished = built.with_suffix(".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    run_sam(
        [
            *("build", "--template-file", str(template), "--build-dir", str(unfinished)),
            *("--cached", "--cache-dir", str(_SAM_DIR / "cache"), "--parallel"),
            *("--parameter-overrides", f"PythonRuntime={python_runtime()}", f"Architecture={architecture()}"),
        ],
        cwd=REPOSITORY,
        environment={"AWS_DEFAULT_REGION": "us-west-2"},
        log=log,
    )
    _pack_layers(unfinished)
    unfinished.rename(built)


def _pack_layers(build: Path) -> None:
    """Replace the layers of a build with archives.

    `sam deploy` would zip 45 MB at each deployment, and the code layers with whatever the tests left beside the code.
    """
    path = build / "template.yaml"
    template: dict[str, Any] = yaml.safe_load(path.read_text())
    for name, resource in template["Resources"].items():
        if resource["Type"] != "AWS::Serverless::LayerVersion":
            continue
        source = (build / resource["Properties"]["ContentUri"]).resolve()
        shutil.copyfile(_packed_layer(source, build / f"{name}.tmp"), build / f"{name}.zip")
        if source.is_relative_to(build.resolve()):
            shutil.rmtree(source)
        resource["Properties"]["ContentUri"] = f"{name}.zip"
    path.write_text(yaml.safe_dump(template, sort_keys=False))


def _packed_layer(source: Path, scratch: Path) -> Path:
    """The archive of a layer, made once for the same content.

    Compiled modules are added: an emulated function unpacks its layers, and would compile them, at each cold start.
    """
    archive = _LAYERS / f"{_digest(source, source, python_runtime().encode()).hexdigest()[:16]}.zip"
    if archive.exists():
        os.utime(archive)
        return archive
    _LAYERS.mkdir(exist_ok=True)
    shutil.copytree(source, scratch, ignore=shutil.ignore_patterns(*_NOT_SOURCE, "*.egg-info"))
    compileall.compile_dir(scratch, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    unfinished = archive.with_suffix(".tmp")
    _zip(scratch, unfinished)
    unfinished.rename(archive)
    shutil.rmtree(scratch)
    return archive


def _zip(directory: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for path in _files(directory):
            entry = zipfile.ZipInfo(str(path.relative_to(directory)), _ZIP_TIME)
            entry.external_attr = (path.stat().st_mode & 0o777 | 0o444) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, path.read_bytes())


def _fingerprint(template: Path) -> str:
    """A digest of everything the build depends on."""
    digest = hashlib.sha256(f"{python_runtime()} {architecture()} {SAM.resolve()}".encode())
    digest.update(Path(__file__).read_bytes())
    text = template.read_text()
    digest.update(text.encode())
    for source in sorted(set(_SOURCES.findall(text))):
        path = template.parent / source
        digest.update(source.encode() + b"\0" + _digest(path, path.parent).digest())
    return digest.hexdigest()[:16]


def _digest(path: Path, base: Path, salt: bytes = b"") -> "hashlib._Hash":
    """Digest the files at or under a path, and their names below `base`."""
    digest = hashlib.sha256(salt)
    for file in _sources(path):
        digest.update(str(file.relative_to(base)).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest


def _files(directory: Path) -> Iterator[Path]:
    """The files under a directory in a fixed order."""
    return (path for path in sorted(directory.rglob("*")) if path.is_file())


def _sources(path: Path) -> Iterator[Path]:
    """The files at or under a path without what only tools leave there."""
    if path.is_file():
        yield path
    else:
        yield from (file for file in _files(path) if _NOT_SOURCE.isdisjoint(file.relative_to(path).parts))


def _forget_old(kept: int, paths: Iterable[Path]) -> None:
    """Remove all but the most recently used."""
    for path in sorted(paths, key=lambda path: path.stat().st_mtime)[:-kept]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
