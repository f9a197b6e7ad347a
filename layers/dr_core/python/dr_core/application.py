"""An application's registration, `<application>/application.json` beside its manifests: its Regions, and how it is looked after.

Such as `{"application": "storefront", "regions": {"primary": "us-east-1", "standby": "us-west-2"}}`. `approvers` and `approval` say who
decides on its phases; without them one person does, whoever a channel lets in. `rtoSeconds` has the recovery times that it promises.

`python -m dr_core.application > manifests/application.schema.json` writes its JSON Schema, for editors.
"""

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from dr_core.errors import InvalidInputError, Problem
from dr_core.findings import Finding, dotted, explain, shown, suggestion
from dr_core.json_document import NotJsonError, read_json
from dr_core.phases import Phase
from dr_core.records import Approver
from dr_core.requests import Name, Region

FILE_NAME = "application.json"

_LONGEST_RTO = 30 * 24 * 3600
_FORM = '{"application": "storefront", "regions": {"primary": "us-east-1", "standby": "us-west-2"}}'
_SYNONYMS = {"name": "application", "source": "primary", "secondary": "standby", "target": "standby", "dr": "standby"}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Regions(_Model):
    """Where the application runs before the first failover, and where it fails over to."""

    primary: Region = Field(description="a Region such as us-east-1: where the application runs")
    standby: Region = Field(description="a Region such as us-west-2: where it fails over to")

    @model_validator(mode="after")
    def _differ(self) -> "Regions":
        if self.primary == self.standby:
            raise PydanticCustomError("regions", "primary and standby are the same Region", {"remedy": "name two Regions"})
        return self


PersonName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f,;]+$")]
Identity = Annotated[str, StringConstraints(min_length=1, max_length=256)]
_IDENTITIES = {"email": "email", "slack_user_id": "slackUserId", "principal": "principal", "subject": "subject"}


class Person(_Model):
    """Somebody who may be asked to approve, with the identities under which the channels know them."""

    name: PersonName = Field(description="as people call them; each name once")
    email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)] | None = Field(
        None, description="such as ann@example.com: where requests are mailed to, and who they are to an OpenID provider"
    )
    slack_user_id: Annotated[str, StringConstraints(pattern=r"^[UW][A-Z0-9]{2,20}$")] | None = Field(
        None, alias="slackUserId", description="the member ID of their Slack profile, such as U012AB3CD"
    )
    principal: Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:(iam|sts)::\d{12}:(user|assumed-role)/.+$")] | None = Field(
        None,
        description="the ARN of the IAM user or the role session, such as arn:aws:sts::111111111111:assumed-role/Operator/ann; "
        "`aws sts get-caller-identity` prints it",
    )
    subject: Identity | None = Field(None, description="who they are to the OpenID provider: the sub of their ID token")

    @model_validator(mode="after")
    def _is_somebody(self) -> "Person":
        if not any(getattr(self, name) for name in _IDENTITIES):
            remedy = f"add one of {', '.join(_IDENTITIES.values())}"
            raise PydanticCustomError("approver", "no channel knows this approver", {"remedy": remedy})
        return self


class PhaseApproval(_Model):
    """Who decides on one phase."""

    quorum: int = Field(1, ge=1, le=10, description="how many different people must approve, 1 to 10; 2 is wise for ACTIVATE and CLEANUP")
    approvers: tuple[PersonName, ...] | None = Field(None, min_length=1, description="names of approvers; without it, all of them")
    escalate: tuple[PersonName, ...] = Field((), description="names of approvers who are asked only when half of the time is over")


Events = Literal["all", "outcomes", "problems", "none"]


class Notifications(_Model):
    """What people are told of the application's executions."""

    events: Events = Field(
        "all", description='"all", "outcomes" (of executions and approvals, and problems), "problems" (failures and halts) or "none"'
    )
    slack_channel: Annotated[str, StringConstraints(pattern=r"^[CG][A-Z0-9]{2,20}$")] | None = Field(
        None,
        alias="slackChannel",
        description="the ID of the Slack channel that is told, such as C0123456789; without it, the stack's own. "
        "A stack without Slack tells none",
    )


class Bounds(_Model):
    """What an application's manifests may name. What is outside is refused before anything is called."""

    accounts: tuple[Annotated[str, StringConstraints(pattern=r"^\d{12}$")], ...] = Field(
        min_length=1, max_length=50, description='such as ["222222222222"]: the accounts that they may act in, and that ARNs may be of'
    )
    parameter_paths: tuple[Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9_./-]+/$", max_length=512)], ...] | None = Field(
        None,
        alias="parameterPaths",
        max_length=50,
        description='such as ["/erp/"]: SSM parameters may be read below these paths; without it, any, and with [], none',
    )
    exports: tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:*?-]+$", max_length=255)], ...] | None = Field(
        None,
        max_length=50,
        description='such as ["erp-*"]: CloudFormation exports that they may name, * for any characters; without it, any',
    )
    arns: tuple[Annotated[str, StringConstraints(pattern=r"^arn:[^\s]+$", max_length=512)], ...] | None = Field(
        None,
        max_length=100,
        description='such as ["arn:aws:rds:*:222222222222:cluster:erp-*"]: ARNs that they may name, * for any characters; '
        "without it, any of the accounts",
    )


class Application(_Model):
    """An application, as it is registered."""

    schema_: str | None = Field(None, alias="$schema", description="where the JSON Schema is, for editors")
    application: Name = Field(description="as its folder is called: letters, digits, - and _, at most 64")
    regions: Regions = Field(description='{"primary": "us-east-1", "standby": "us-west-2"}')
    notifications: Notifications = Field(
        Notifications(), description='{"events": "outcomes"}: what people are told of, and in which Slack channel'
    )
    preflight: bool = Field(True, description="true or false: whether the application takes part in the scheduled preflight")
    approvers: tuple[Person, ...] = Field((), max_length=50, description='such as [{"name": "ann", "email": "ann@example.com"}]')
    approval: dict[Phase, PhaseApproval] = Field({}, description='such as {"ACTIVATE": {"quorum": 2, "approvers": ["ann", "bob"]}}')

    bounds: Bounds | None = Field(None, description='such as {"accounts": ["222222222222"], "parameterPaths": ["/erp/"]}; without it, none')
    home_region: Region | None = Field(
        None, alias="homeRegion", description="the Region whose stack takes its requests; without it, whichever is asked"
    )
    rto_seconds: dict[Phase, Annotated[int, Field(ge=1, le=_LONGEST_RTO, strict=True)]] = Field(
        {}, alias="rtoSeconds", description='such as {"ACTIVATE": 1800}: in how many seconds a phase has to be done'
    )

    def misfits(self) -> Iterator[Finding]:
        """What is wrong between approvers and approvals, each right in itself."""
        for attribute, key in {"name": "name", **_IDENTITIES}.items():
            seen: set[str] = set()
            for index, one in enumerate(self.approvers):
                value = (getattr(one, attribute) or "").casefold()
                if value and value in seen:
                    what = f"another approver has this {key} too: one person would count twice"
                    yield Finding(("approvers", index, key), what, "make them one approver, or correct it")
                seen.add(value)
        known = {one.name for one in self.approvers}
        for phase, rule in self.approval.items():
            for key, names in (("approvers", rule.approvers or ()), ("escalate", rule.escalate)):
                for index, name in enumerate(names):
                    if name not in known:
                        remedy = suggestion(name, sorted(known)) if known else 'name them in "approvers"'
                        yield Finding(("approval", phase, key, index), f"{shown(name)} is not one of the approvers", remedy)
            able = (known if rule.approvers is None else set(rule.approvers) | set(rule.escalate)) & known
            if rule.quorum > 1 and rule.quorum > len(able):
                what = f"{rule.quorum} people must approve, and only {len(able)} may"
                yield Finding(("approval", phase, "quorum"), what, "name more approvers, or ask for fewer")

    def who_decides(self, phase: Phase) -> tuple[int, tuple[Approver, ...]]:
        """The quorum of a phase and those who may approve it; nobody means whoever a channel lets in."""
        rule = self.approval.get(phase, PhaseApproval())
        first = {one.name for one in self.approvers} - set(rule.escalate) if rule.approvers is None else set(rule.approvers)
        chosen = [one for one in self.approvers if one.name in first or one.name in rule.escalate]
        return rule.quorum, tuple(
            # Somebody has to be asked at first: where all stand in the escalation list, all are.
            Approver(one.name, one.email, one.slack_user_id, one.principal, one.subject, escalation=bool(first) and one.name not in first)
            for one in chosen
        )


def read_application(file: str, data: bytes, application: str | None = None) -> Application:
    """The registration in `data`. `file` names it in problems; `application` is the one that it is wanted for, None if any.

    Raises InvalidInputError with everything wrong with it.
    """
    try:
        document, findings = read_json(data, _FORM)
        if not isinstance(document, dict):
            raise NotJsonError(Finding((), "a registration is an object", _FORM))
    except NotJsonError as error:
        raise InvalidInputError([_problem(file, error.finding)]) from None
    made = None
    try:
        made = Application.model_validate(document)
    except ValidationError as error:
        findings += explain(error, document, Application, synonyms=_SYNONYMS)
    findings += made.misfits() if made else ()
    named = document.get("application")
    if application and isinstance(named, str) and named.strip() != application:
        what = f"the registration is of {shown(named)}, and stands with {application}"
        findings.append(Finding(("application",), what, "write the name of its folder"))
    if made is None or findings:
        raise InvalidInputError([_problem(file, finding) for finding in findings])
    return made


def _problem(file: str, finding: Finding) -> Problem:
    return Problem(file, "", "", dotted(finding.path), finding.message, finding.remedy)


if __name__ == "__main__":
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Application.model_json_schema()
    sys.stdout.write(json.dumps(schema, indent=2) + "\n")
