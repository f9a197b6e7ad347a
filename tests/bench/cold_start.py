"""What a function loads before it can work: `python -m tests.bench.cold_start [--no-page]`.

Each handler is imported in a process of its own, from the layers that the template gives it, built and unpacked as in Lambda, and nothing
else; the least of several processes, of wall and of processor time, since other work only adds to it. Each round takes all functions in
turn, so that a slow minute of the machine is none of one function. Once with the compiled modules that a build can add, and once without
them: Lambda cannot keep what it compiles of a layer, and compiles it at each cold start. The interpreter's own start is not counted. The
size is that of the function's code and layers, packed. The figures go between the marks of docs/performance.md.
"""

import argparse
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from localcloud import artifacts, performance_page
from localcloud.cloud import REPOSITORY
from tests.support.deployed import functions, variables
from tests.support.state_table import TEMPLATE, template

ROUNDS: Final = 7
AIM_MILLISECONDS: Final = 250
_MEASURE: Final = (
    "import time; wall, processor = time.perf_counter(), time.process_time(); import app; "
    "print((time.perf_counter() - wall) * 1000, (time.process_time() - processor) * 1000)"
)
_HEAVIEST: Final = 3


@dataclass(frozen=True)
class Start:
    """Of one function: milliseconds of its imports, the packages that take longest with theirs, and packed kilobytes.

    `compiling`: milliseconds of processor time where nothing of the layers is compiled.
    """

    name: str
    wall: float
    processor: float
    heaviest: Sequence[tuple[str, float]]
    kilobytes: float
    compiling: float


def unpacked(built: Path, under: Path) -> None:
    """Unpack all layers of a build, as they are into `compiled`, and without what a build compiled into `source`."""
    for archive in built.glob("*Layer.zip"):
        with zipfile.ZipFile(archive) as packed:
            names = packed.namelist()
            packed.extractall(under / "compiled" / archive.stem, names)
            packed.extractall(under / "source" / archive.stem, [name for name in names if not name.endswith(".pyc")])


class Handler:
    """A function's handler, to be imported. `built`: what `sam build` made; `under`: where it is unpacked."""

    def __init__(self, name: str, function: Mapping[str, Any], built: Path, under: Path) -> None:
        self._name, self._built, self._under = name, built, under
        self._layers = [*template()["Globals"]["Function"]["Layers"], *function.get("Layers", ())]
        self._code = REPOSITORY / function["CodeUri"]
        self._environment = {
            "PATH": os.environ["PATH"],
            "AWS_REGION": "us-west-2",
            "AWS_DEFAULT_REGION": "us-west-2",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables(dict(function)),
        }
        self._times: dict[str, list[tuple[float, float]]] = {"compiled": [], "source": []}

    def import_once(self) -> None:
        """Import it in a process for each form, and keep the times."""
        for form, times in self._times.items():
            wall, processor = self._python(form, "-c", _MEASURE).stdout.split()
            times.append((float(wall), float(processor)))

    def start(self) -> Start:
        """What was found."""
        wall, processor = (min(times) for times in zip(*self._times["compiled"], strict=True))
        told = self._python("compiled", "-X", "importtime", "-c", "import app").stderr
        packed = sum((self._built / f"{layer}.zip").stat().st_size for layer in self._layers)
        packed += sum(file.stat().st_size for file in self._code.glob("*.py"))
        return Start(self._name, wall, processor, heaviest(told), packed / 1024, min(one for _, one in self._times["source"]))

    def _python(self, form: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        path = os.pathsep.join(map(str, (self._code, *(self._under / form / layer / "python" for layer in self._layers))))
        environment = {**self._environment, "PYTHONPATH": path}
        return subprocess.run([sys.executable, "-S", *arguments], env=environment, capture_output=True, text=True, check=True)


def heaviest(told: str) -> list[tuple[str, float]]:
    """The packages that take longest by themselves, with their milliseconds, of what `-X importtime` tells."""
    taken: dict[str, float] = {}
    for line in told.splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        module = rest.rpartition("|")[2].strip()
        if own.strip().isdigit():
            package = module.partition(".")[0]
            taken[package] = taken.get(package, 0) + int(own) / 1000
    return sorted(taken.items(), key=lambda one: -one[1])[:_HEAVIEST]


def section(starts: Sequence[Start]) -> str:
    """Markdown."""
    lines = [
        f"Measured on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} processors, Python {sys.version_info.major}.{sys.version_info.minor}, "
        f"load average {os.getloadavg()[0]:.1f}; the aim is {AIM_MILLISECONDS} ms.",
        "",
        "| Function | Imports | Processor | Aim met | Heaviest | Packed | Not compiled, processor |",
        "|---|---:|---:|---|---|---:|---:|",
    ]
    for one in sorted(starts, key=lambda start: -start.processor):
        heavy = ", ".join(f"{package} {milliseconds:.0f}" for package, milliseconds in one.heaviest)
        met = "yes" if one.wall <= AIM_MILLISECONDS else "**no**"
        times = f"{one.wall:.0f} ms | {one.processor:.0f} ms"
        lines.append(f"| {one.name} | {times} | {met} | {heavy} | {one.kilobytes / 1024:.1f} MB | {one.compiling:.0f} ms |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure every function. Gives the exit code, 0: a function that cannot be imported raises."""
    parser = argparse.ArgumentParser(description="What each function loads before it can work.")
    parser.add_argument("--no-page", action="store_true", help="print the figures, and leave docs/performance.md as it is")
    options = parser.parse_args()
    with TemporaryDirectory() as directory:
        built, under = artifacts.built_template(TEMPLATE, Path(directory) / "sam-build.log").parent, Path(directory)
        unpacked(built, under)
        named = {name.removesuffix("Function"): function for name, function in functions().items()}
        handlers = [Handler(name, function, built, under) for name, function in named.items()]
        for _ in range(ROUNDS):
            for handler in handlers:
                handler.import_once()
        text = section([handler.start() for handler in handlers])
    sys.stdout.write(text)
    if not options.no_page:
        performance_page.write("cold-start", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
