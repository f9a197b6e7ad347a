"""References in a manifest's parameters: to a CloudFormation export, or to an SSM parameter, of the target account and Region.

A string is a reference as a whole or not at all: `!Import Name`, or `resolve:ssm:/path` with an optional `:version`. References are
resolved before anything runs, all of them but those to a SecureString: these stay references, so that what they stand for is never
stored, and are resolved at the moment of use. No message shows a value.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from dr_core.errors import ErrorClass, ModuleError
from dr_core.findings import Finding, Path, did_you_mean, shown

# IAM actions that the execution role of an account needs: to resolve references, and to use a SecureString.
REFERENCE_ACTIONS = ("cloudformation:ListExports", "ssm:GetParameter")
SECURE_ACTIONS = ("kms:Decrypt", "ssm:GetParameter")

_IMPORT = re.compile(r"!Import\s+([A-Za-z0-9:-]+)")
_SSM = re.compile(r"resolve:ssm:([A-Za-z0-9_./-]+(?::[0-9]+)?)")
# What people take over from CloudFormation templates.
_LOOKALIKE = re.compile(r"!import(value)?\b|!(ref|sub|getatt|findinmap|join|select)\s|\{\{\s*resolve:|resolve:[\w-]+", re.IGNORECASE)
_FORMS = "write !Import Name, or resolve:ssm:/path with an optional :version"
_DENIED = ("AccessDenied", "Unauthorized")
_SHORTEST_SECRET = 4  # a shorter one stands in too much other text to be hidden there
_NOT_THERE = ("ParameterNotFound", "ParameterVersionNotFound")

T = TypeVar("T")


@dataclass(frozen=True)
class _Reference:
    """`export` is a name of CloudFormation's, or else `parameter` one of SSM's, with its version if it has one."""

    export: str = ""
    parameter: str = ""


class _UnresolvedError(Exception):
    """Why a reference has no value, and what would give it one."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def _parsed(text: str) -> _Reference | None:
    if found := _IMPORT.fullmatch(text.strip()):
        return _Reference(export=found[1])
    if found := _SSM.fullmatch(text.strip()):
        return _Reference(parameter=found[1])
    return None


def parameter_name(text: str) -> str | None:
    """The SSM parameter to which the text refers, without a version; None where it does not."""
    found = _parsed(text)
    return found.parameter.partition(":")[0] if found and found.parameter else None


def export_name(text: str) -> str | None:
    """The CloudFormation export to which the text refers; None where it does not."""
    found = _parsed(text)
    return found.export if found and found.export else None


def resembles_reference(value: object) -> bool:
    """Whether the value is a reference, or looks like one that is misspelt."""
    return isinstance(value, str) and _LOOKALIKE.match(value.strip()) is not None


def holds_reference(parameters: object) -> bool:
    """Whether a reference (or what looks like one) stands anywhere in the parameters."""
    return any(resembles_reference(text) for _, text in _texts(parameters, ()))


def misspelt_references(parameters: object) -> list[Finding]:
    """The strings that look like references and are none. The paths begin at the parameters."""
    return [
        Finding(path, f"{shown(text.strip())} is not a reference that manifests have", _FORMS)
        for path, text in _texts(parameters, ())
        if resembles_reference(text) and not _parsed(text)
    ]


class Resolver:
    """Looks references up, each once, in one Region. One resolver serves one request: what it found is not looked up again."""

    def __init__(self, open_client: Callable[[str, str], Any], region: str) -> None:
        """`open_client(account, service)` gives a boto3 client of `ssm` or `cloudformation` in `region`; it may raise ModuleError."""
        self._open_client = open_client
        self._region = region
        self._known: dict[tuple[str, ...], Any] = {}

    def resolve(self, parameters: object, account: str) -> tuple[Any, list[Finding]]:
        """The parameters with values for references, and a finding for each that has none and therefore stays.

        A StringList becomes a list. SecureStrings must exist and stay references. The paths begin at the parameters.
        """
        findings = []

        def value_of(path: Path, text: str) -> object:
            reference = _parsed(text)
            if reference is None:
                return text
            try:
                return self._once(("value", account, text.strip()), lambda: self._look_up(account, reference, text.strip()))
            except _UnresolvedError as error:
                findings.append(Finding(path, error.message, error.remedy))
                return text

        return _replaced(parameters, (), value_of), findings

    def _look_up(self, account: str, reference: _Reference, text: str) -> object:
        where = f"in account {account} and {self._region}"
        value = self._export(account, reference.export, where) if reference.export else self._parameter(account, reference, text, where)
        if value != text and holds_reference(value):
            raise _UnresolvedError(f"the value of {text} {where} is a reference itself", "refer to the value, not to another reference")
        return value

    def _export(self, account: str, name: str, where: str) -> str:
        exports = self._once(("exports", account), lambda: self._exports(account, where))
        if name not in exports:
            meant = did_you_mean(name, exports)
            hint = f"did you mean {meant}?" if meant else "deploy the stack that exports it, or correct the name"
            raise _UnresolvedError(f"there is no export {name} {where}", hint)
        return exports[name]

    def _exports(self, account: str, where: str) -> dict[str, str]:
        def every_page() -> dict[str, str]:
            pages = self._client(account, "cloudformation").get_paginator("list_exports").paginate()
            return {export["Name"]: export["Value"] for page in pages for export in page["Exports"]}

        return _answered(every_page, f"the exports {where} could not be listed", "cloudformation:ListExports")

    def _parameter(self, account: str, reference: _Reference, text: str, where: str) -> object:
        failed = f"the SSM parameter {reference.parameter} could not be read {where}"
        client = self._client(account, "ssm")
        answer = _answered(lambda: client.get_parameter(Name=reference.parameter)["Parameter"], failed, "ssm:GetParameter")
        return text if answer["Type"] == "SecureString" else _value(answer)

    def _client(self, account: str, service: str) -> Any:
        return self._once(("client", account, service), lambda: _answered(lambda: self._open_client(account, service), "", ""))

    def _once(self, key: tuple[str, ...], find: Callable[[], T]) -> T:
        """What `find` returned or raised the first time."""
        if key not in self._known:
            try:
                self._known[key] = find()
            except _UnresolvedError as error:
                self._known[key] = error
        known: T = self._known[key]
        if isinstance(known, _UnresolvedError):
            raise known
        return known


def resolve_secure(parameters: str, client: Any, secrets: set[str]) -> Any:
    """The parameters of a stored resource, from JSON text, as a module takes them: with the values of SecureStrings.

    `client` is boto3's for SSM in the target account and Region; without references it is not used. What this returns must not be
    stored, logged or sent; each value is added to `secrets`, by which a journal hides it. Raises ModuleError when one cannot be had.
    """

    def value_of(path: Path, text: str) -> object:
        reference = _parsed(text)
        if reference is None:
            return text
        where = f"{text} at {'.'.join(str(step) for step in path)}"
        try:
            answer = client.get_parameter(Name=reference.parameter, WithDecryption=True)["Parameter"]
            secrets.update(text for text in [answer["Value"], *answer["Value"].split(",")] if len(text) >= _SHORTEST_SECRET)
            return _value(answer)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            hopeless = code in _NOT_THERE or code.startswith((*_DENIED, "Validation", "Invalid"))
            message = f"{where}: GetParameter: {error.response['Error'].get('Message', '')}"
            error_class = ErrorClass.TERMINAL if hopeless else ErrorClass.THROTTLED if "Throttl" in code else ErrorClass.RETRYABLE
            raise ModuleError(code, message, error_class, error.response.get("ResponseMetadata", {}).get("RequestId")) from error
        except BotoCoreError as error:
            raise ModuleError(type(error).__name__, f"{where}: {error}", ErrorClass.RETRYABLE) from error

    return _replaced(json.loads(parameters), (), value_of)


def _answered(call: Callable[[], T], failed: str, action: str) -> T:
    """What the call returned. Raises _UnresolvedError, with `failed` before the service's own words, when it did not."""
    try:
        return call()
    except ModuleError as error:
        raise _UnresolvedError(error.message, "references are resolved in that account") from error
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code.startswith(_DENIED):
            remedy = f"allow {action} to the execution role of that account (deploy/TargetAccountsAssumeRole.yaml)"
        elif code in _NOT_THERE:
            remedy = "create it there, or correct the name: parameters are not copied from Region to Region"
        else:
            remedy = "request the execution again"
        raise _UnresolvedError(f"{failed}: {code}" + (f": {message}" if message else ""), remedy) from error
    except BotoCoreError as error:
        raise _UnresolvedError(f"{failed}: {error}", "request the execution again") from error


def _value(answer: dict[str, Any]) -> object:
    return answer["Value"].split(",") if answer["Type"] == "StringList" else answer["Value"]


def _texts(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    """Every string in the value, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        for step, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(child, (*path, step))


def _replaced(value: object, path: Path, value_of: Callable[[Path, str], object]) -> Any:
    """A copy of the value in which every string is what `value_of` makes of it."""
    if isinstance(value, dict):
        return {key: _replaced(child, (*path, key), value_of) for key, child in value.items()}
    if isinstance(value, list):
        return [_replaced(child, (*path, at), value_of) for at, child in enumerate(value)]
    return value_of(path, value) if isinstance(value, str) else value
