"""What `sam build` makes of the repository's template, kept until something in it changes.

In:  template.yaml and the directories it names
Out: .aws-sam/localcloud/<fingerprint>/template.yaml, whose layers are zip files that `sam deploy` only has to upload
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from localcloud import packing
from localcloud.cloud import REPOSITORY
from localcloud.packing import digest, pack_layers

SAM: Final = REPOSITORY / ".local" / "tools" / "sam" / "bin" / "sam"
_SAM_DIR: Final = REPOSITORY / ".aws-sam"
_BUILDS: Final = _SAM_DIR / "localcloud"
_LAYERS: Final = _BUILDS / "layers"
_KEPT_BUILDS: Final = 3
_KEPT_LAYERS: Final = 12
_SOURCES: Final = re.compile(r"^\s*(?:CodeUri|ContentUri|DefinitionUri|Location):\s*['\"]?([^'\"\s#]+)", re.MULTILINE)


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
    pack_layers(unfinished, sys.executable, _LAYERS)
    unfinished.rename(built)


def _fingerprint(template: Path) -> str:
    """A digest of everything the build depends on."""
    made = hashlib.sha256(f"{python_runtime()} {architecture()} {SAM.resolve()}".encode())
    made.update(Path(__file__).read_bytes() + Path(packing.__file__).read_bytes())
    text = template.read_text()
    made.update(text.encode())
    for source in sorted(set(_SOURCES.findall(text))):
        path = template.parent / source
        made.update(source.encode() + b"\0" + digest(path, path.parent).digest())
    return made.hexdigest()[:16]


def _forget_old(kept: int, paths: Iterable[Path]) -> None:
    """Remove all but the most recently used."""
    for path in sorted(paths, key=lambda path: path.stat().st_mtime)[:-kept]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
