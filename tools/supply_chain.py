"""What the project brings along: no secret in it, licences that may be passed on, a bill of materials, no known vulnerability.

Run: python -m tools.supply_chain (`make supply-chain`). Exit code 1 when something is found.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
BIN: Final = ROOT / ".local" / "tools" / "supply-chain" / "bin"
BILLS: Final = ROOT / ".local" / "sbom"
# What is delivered to Lambda or to operators, and what only makes and checks it.
DELIVERED: Final = ("layers/dependencies/requirements.txt", "layers/people_dependencies/requirements.txt")
LOCKS: Final = (*DELIVERED, "requirements.lock", "localcloud/requirements/ministack.txt", "localcloud/requirements/sam.txt")
ENVIRONMENTS: Final = (".venv", ".local/tools/ministack", ".local/tools/sam")

# As parts of what the packages call their licences.
LICENCES: Final = ("Apache", "BSD", "MIT", "MPL", "Mozilla Public License 2.0", "ISC", "PSF", "Python Software Foundation", "CNRI-Python")
LICENSED_OTHERWISE: Final = {
    "dr-orchestrator": "this project",
    "cookiecutter": "BSD-3-Clause, which its metadata do not say; part of the SAM CLI",
    "text-unidecode": "the Artistic License is to be chosen; part of the SAM CLI, and not delivered",
    "pyphen": "one of three licences is to be chosen: MPL 1.1. Only for drctl report --format pdf, and not delivered to Lambda",
}
# Files with hashes of packages, and pictures.
_NOT_LOOKED_AT: Final = (
    ".lock",
    ".png",
    "requirements.txt",
    "ministack.txt",
    "sam.txt",
    "tools/uv.txt",
    "tools/checkov.txt",
    "supply-chain.txt",
)
LOOKS_SECRET: Final = {
    ("docs/operations.md", "Hex High Entropy String"): "a digest of a manifest, in an example",
    ("localcloud/applications/erp/data.py", "Secret Keyword"): "the password of an emulated database",
    ("localcloud/applications/storefront.py", "Secret Keyword"): "the password of an emulated database",
    ("template.yaml", "Secret Keyword"): "the name of a parameter, and the word for none",
    ("tests/integration/localcloud/test_gateway.py", "AWS Access Key"): "a key that nobody has",
    ("tests/support/slack_workspace.py", "Hex High Entropy String"): "Slack's own example of a signing secret",
}


class Found(Exception):
    """Something that must not be; the lines say what."""


def secrets() -> str:
    """Look through every file under version control. In tests a word like "password" is no find: they are full of made-up ones."""
    listed = _run(["git", "ls-files"]).splitlines()
    looked = [name for name in listed if not name.endswith(_NOT_LOOKED_AT)]
    tests = [name for name in looked if name.startswith("tests/")]
    found = _scan([name for name in looked if name not in set(tests)]) | _scan(tests, "--disable-plugin", "KeywordDetector")
    new = [
        f"{path}:{one['line_number']}: {one['type']}; take it out, or say in tools/supply_chain.py why it is none"
        for path, all_of_it in sorted(found.items())
        for one in all_of_it
        if (path, one["type"]) not in LOOKS_SECRET
    ]
    _raise(new + _unused("LOOKS_SECRET", set(LOOKS_SECRET) - {(path, one["type"]) for path, ones in found.items() for one in ones}))
    return f"no secret in {len(looked)} files"


def _scan(paths: Sequence[str], *options: str) -> dict[str, list[dict[str, Any]]]:
    results: dict[str, list[dict[str, Any]]] = json.loads(_run([BIN / "detect-secrets", "scan", *options, *paths]))["results"]
    return results


def licences() -> str:
    """Every package of every environment has a licence of the list."""
    wrong, names = [], set[str]()
    for environment in ENVIRONMENTS:
        python = ROOT / environment / "bin" / "python"
        for one in json.loads(_run([BIN / "pip-licenses", "--python", python, "--from", "mixed", "--with-system", "--format", "json"])):
            names.add(one["Name"])
            if one["Name"] not in LICENSED_OTHERWISE and not any(part in one["License"] for part in LICENCES):
                wrong.append(f"{environment}: {one['Name']} {one['Version']}: {one['License']}")
    _raise(wrong + _unused("LICENSED_OTHERWISE", set(LICENSED_OTHERWISE) - names))
    return f"licences of {len(names)} packages"


def bills() -> str:
    """Write the bill of materials of what is delivered: CycloneDX, JSON, the same for the same lock."""
    BILLS.mkdir(parents=True, exist_ok=True)
    for lock in DELIVERED:
        target = BILLS / f"{Path(lock).parent.name}.cdx.json"
        _run([BIN / "cyclonedx-py", "requirements", "--output-reproducible", "--pyproject", "pyproject.toml", "-o", target, lock])
        parts = {(one["name"], one["version"]) for one in json.loads(target.read_text())["components"]}
        locked = {tuple(line.split(" ")[0].split("==")) for line in (ROOT / lock).read_text().splitlines() if "==" in line}
        if parts != locked:
            raise Found(f"{target} and {lock} differ: {sorted(parts ^ locked)}")
    return f"bills of materials in {BILLS.relative_to(ROOT)}"


def vulnerabilities() -> str:
    """Ask the package index for known vulnerabilities of all that is locked; an index that does not know is said, and no failure."""
    known, unknown, found = set[str](), set[str](), []
    for lock in LOCKS:
        answer = _run([BIN / "pip-audit", "--disable-pip", "--require-hashes", "--format", "json", "-r", lock], may_fail=True)
        if not answer:
            return "NOT ASKED for vulnerabilities: the package index does not answer"
        for one in json.loads(answer)["dependencies"]:
            (unknown if "skip_reason" in one else known).add(one["name"])
            found += [
                f"{lock}: {one['name']} {one['version']}: {bug['id']}, mended in {bug['fix_versions']}" for bug in one.get("vulns", [])
            ]
    _raise(found)
    if not known:
        return f"NOT ASKED for vulnerabilities: the package index knows none of {len(unknown)} packages"
    return f"no known vulnerability in {len(known)} packages" + (f", {len(unknown)} unknown to the index" if unknown else "")


def _run(command: Sequence[str | Path], *, may_fail: bool = False) -> str:
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own words alone
    if ended.returncode != 0 and not may_fail:
        raise Found(f"{Path(command[0]).name} failed:\n{ended.stderr[-2000:]}")
    return ended.stdout


def _unused(name: str, what: Iterable[object]) -> list[str]:
    return [f"{one}: is in {name} of tools/supply_chain.py and no longer found" for one in sorted(map(str, what))]


def _raise(lines: list[str]) -> None:
    if lines:
        raise Found("\n".join(lines))


def main() -> int:
    """Check everything; say what was checked, and all that was found."""
    failed = False
    for check in (secrets, licences, bills, vulnerabilities):
        try:
            sys.stdout.write(f"{check.__name__}: {check()}\n")
        except Found as found:
            failed = True
            sys.stdout.write(f"{check.__name__}: FAILED\n{found}\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
