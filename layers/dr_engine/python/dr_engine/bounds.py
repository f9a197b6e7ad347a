"""Whether a manifest stays within its application's bounds, which stand in application.json: accounts, references, ARNs.

It is asked twice: of the manifest as it is written, before anything is called, and of what its references stand for, before anything
is stored. What a name alone means (a cluster, an instance) cannot be told from it; the account can.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from dr_core.application import Bounds
from dr_core.findings import Finding, Path, shown
from dr_core.references import export_name, parameter_name

_ARN = re.compile(r"arn:aws[a-z-]*:[^\s,\"']*")
_ACCOUNT = re.compile(r"\d{12}")


@dataclass(frozen=True)
class _Bounded:
    bounds: Bounds
    file: str

    def account(self, account: str) -> Iterator[Finding]:
        if account not in self.bounds.accounts:
            yield Finding(("AccountId",), f"{account} is none of the application's accounts", self._remedy("accounts"))

    def text(self, path: Path, text: str) -> Iterator[Finding]:
        name, paths = parameter_name(text), self.bounds.parameter_paths
        if name is not None and paths is not None and not name.startswith(paths):
            yield Finding(path, f"{shown(name)} is below none of the application's parameter paths", self._remedy("parameterPaths"))
        export, exports = export_name(text), self.bounds.exports
        if export is not None and exports is not None and not any(fnmatchcase(export, one) for one in exports):
            yield Finding(path, f"{shown(export)} is none of the application's exports", self._remedy("exports"))
        for arn in _ARN.findall(text):
            account = (arn.split(":", 5) + [""] * 5)[4]
            if _ACCOUNT.fullmatch(account) and account not in self.bounds.accounts:
                yield Finding(path, f"{shown(arn)} is of {account}, none of the application's accounts", self._remedy("accounts"))
            elif self.bounds.arns is not None and not any(fnmatchcase(arn, one) for one in self.bounds.arns):
                yield Finding(path, f"{shown(arn)} is none of the application's ARNs", self._remedy("arns"))

    def _remedy(self, key: str) -> str:
        return f"correct it, or have bounds.{key} of {self.file} widened by whoever looks after it"


def outside(bounds: Bounds, file: str, account: str, parameters: object) -> list[Finding]:
    """What of a resource in `account` with these parameters is outside of the bounds that stand in `file`; paths begin at the resource."""
    bounded = _Bounded(bounds, file)
    found = list(bounded.account(account))
    for path, text in _texts(parameters, ("parameters",)):
        found += bounded.text(path, text)
    return found


def _texts(value: Any, path: Path) -> Iterable[tuple[Path, str]]:
    """Every string, and every key, with its place."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield (*path, str(key)), str(key)
            yield from _texts(one, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for place, one in enumerate(value):
            yield from _texts(one, (*path, place))
