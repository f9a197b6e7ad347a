"""Whether a caller may make a call that moto serves: asked of ministack, which holds the roles, their boundaries and the sessions.

moto would let everybody do everything. An ARN among a call's parameters is asked for as it is; of other resources only account, Region
and kind are known here, not the name, so a policy that names single resources would refuse them.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import aiohttp
from aiohttp import web

from dr_core.calls import iam_action
from localcloud import wire
from localcloud.intervention import Passing, refusal
from localcloud.wire import Protocol

PATH: Final = "/_localcloud/authorise"
_CODES: Final = {Protocol.EC2: "UnauthorizedOperation", Protocol.QUERY: "AccessDenied", Protocol.REST_XML: "AccessDenied"}


class Authorisation:
    """Asks ministack at `url` before a call goes to moto."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def refusal(self, passing: Passing, account: str) -> web.Response | None:
        """AWS's answer to a caller without the right; None for one who has it. The administrator of an account has every right."""
        call = passing.call
        if call.access_key == account:
            return None
        action = iam_action(call.service, call.operation)
        asked = {
            "accessKey": call.access_key,
            "account": account,
            "region": call.region,
            "action": action,
            "resources": resources(action, call.region, account, passing.parameters()),
        }
        async with self._session.post(self._url + PATH, json=asked) as answer:
            denied = await answer.json()
        if not denied:
            return None
        return refusal(call, 403, _CODES.get(call.protocol, "AccessDeniedException"), denied["message"])


def resources(action: str, region: str, account: str, parameters: Mapping[str, Any]) -> list[str]:
    """The ARNs that IAM is asked about: those that the parameters have of the service, else one of the kind that the action takes."""
    service, _, operation = action.partition(":")
    known = _definitions()[service]
    kinds = known["Actions"].get(operation.lower(), {}).get("Resources")
    if not kinds:
        return ["*"]
    named = sorted({text for text in _texts(parameters) if text.startswith(f"arn:aws:{service}:")})
    if named:
        return named
    known_kinds = [
        known["Resources"][kind] for kind in sorted(kinds, key=lambda kind: _unlike(kind, operation)) if kind in known["Resources"]
    ]
    forms = [str(kind["ARNFormats"][0]) for kind in known_kinds]
    form = next((form for form in forms if f":{service}:" in form), f"arn:${{Partition}}:{service}:${{Region}}:${{Account}}:.*")
    for variable, value in (("Partition", "aws"), ("Region", region), ("Account", account)):
        form = form.replace(f"${{{variable}}}", value)
    return [form.replace(".*", "*")]


def _unlike(kind: str, operation: str) -> bool:
    """Whether an operation is named after something else than this kind of resource."""
    return kind.replace("-", "").lower() not in operation.lower()


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


@cache
def _definitions() -> dict[str, Any]:
    """Of the services that moto serves: each action with the kinds of resources that it takes, from cfn-lint's copy of AWS's reference."""
    path = files("cfnlint") / "data" / "AdditionalSpecs" / "Policies.json"
    everything: dict[str, Any] = json.loads(path.read_text())
    names = {iam_action(service, "").rstrip(":") for service in wire.MODELS}
    return {name: everything[name] for name in names & everything.keys()}
