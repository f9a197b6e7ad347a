"""What a function loads before it can work: `python -m tests.bench.cold_start [--no-page]`.

Each handler is imported in a process of its own, with the packages that the tests use and the layers that the template gives it; the median
of several processes, of wall and of processor time. Compiled modules are there, as in a deployed layer. The interpreter's own start is not
counted. The size is that of the function's code and layers, packed by `sam build`. The figures go between the marks of docs/performance.md.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from localcloud import artifacts, performance_page
from localcloud.cloud import REPOSITORY
from tests.support.deployed import functions, variables
from tests.support.state_table import TEMPLATE, template

ROUNDS: Final = 5
AIM_MILLISECONDS: Final = 250
_MEASURE: Final = (
    "import time; wall, processor = time.perf_counter(), time.process_time(); import app; "
    "print((time.perf_counter() - wall) * 1000, (time.process_time() - processor) * 1000)"
)
_HEAVIEST: Final = 3


@dataclass(frozen=True)
class Start:
    """Of one function: milliseconds of its imports, the packages that take longest with theirs, and packed kilobytes."""

    name: str
    wall: float
    processor: float
    heaviest: Sequence[tuple[str, float]]
    kilobytes: float


def measure(name: str, function: Mapping[str, Any], built: Path) -> Start:
    """Import the handler several times. `built`: what `sam build` made."""
    layers = [*template()["Globals"]["Function"]["Layers"], *function.get("Layers", ())]
    contents = [REPOSITORY / template()["Resources"][layer]["Properties"]["ContentUri"] for layer in layers]
    code = REPOSITORY / function["CodeUri"]
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_REGION": "us-west-2",
        "AWS_DEFAULT_REGION": "us-west-2",
        "AWS_LAMBDA_FUNCTION_NAME": name,
    }
    environment |= {"PYTHONPATH": os.pathsep.join(str(path) for path in (code, *contents) if path.is_dir())} | variables(dict(function))
    times = []
    for _ in range(ROUNDS + 1):  # the first one may have to compile
        times.append([float(word) for word in _python(["-c", _MEASURE], environment).stdout.split()])
    walls, processors = zip(*times[1:], strict=True)
    told = _python(["-X", "importtime", "-c", "import app"], environment).stderr
    packed = sum((built / f"{layer}.zip").stat().st_size for layer in layers) + sum(file.stat().st_size for file in code.glob("*.py"))
    return Start(name, median(walls), median(processors), heaviest(told), packed / 1024)


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
        "| Function | Imports | Processor | Aim met | Heaviest | Packed |",
        "|---|---:|---:|---|---|---:|",
    ]
    for one in sorted(starts, key=lambda start: -start.processor):
        heavy = ", ".join(f"{package} {milliseconds:.0f}" for package, milliseconds in one.heaviest)
        met = "yes" if one.wall <= AIM_MILLISECONDS else "**no**"
        lines.append(f"| {one.name} | {one.wall:.0f} ms | {one.processor:.0f} ms | {met} | {heavy} | {one.kilobytes / 1024:.1f} MB |")
    return "\n".join(lines) + "\n"


def _python(arguments: Sequence[str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=True)


def main() -> int:
    """Measure every function. Gives the exit code, 0: a function that cannot be imported raises."""
    parser = argparse.ArgumentParser(description="What each function loads before it can work.")
    parser.add_argument("--no-page", action="store_true", help="print the figures, and leave docs/performance.md as it is")
    options = parser.parse_args()
    with TemporaryDirectory() as directory:
        built = artifacts.built_template(TEMPLATE, Path(directory) / "sam-build.log").parent
    named = {name.removesuffix("Function"): function for name, function in functions().items()}
    text = section([measure(name, function, built) for name, function in named.items()])
    sys.stdout.write(text)
    if not options.no_page:
        performance_page.write("cold-start", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
