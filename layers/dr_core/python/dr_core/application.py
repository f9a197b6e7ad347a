"""An application's registration, `<application>/application.json` beside its manifests: its Regions, and how it is looked after.

Such as `{"application": "storefront", "regions": {"primary": "us-east-1", "standby": "us-west-2"}}`.

`python -m dr_core.application > manifests/application.schema.json` writes its JSON Schema, for editors.
"""

import json
import sys

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from dr_core.errors import InvalidInputError, Problem
from dr_core.events import Name, Region
from dr_core.findings import Finding, dotted, explain, shown
from dr_core.json_document import NotJsonError, read_json

FILE_NAME = "application.json"

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


class Application(_Model):
    """An application, as it is registered."""

    schema_: str | None = Field(None, alias="$schema", description="where the JSON Schema is, for editors")
    application: Name = Field(description="as its folder is called: letters, digits, - and _, at most 64")
    regions: Regions = Field(description='{"primary": "us-east-1", "standby": "us-west-2"}')
    preflight: bool = Field(True, description="true or false: whether the application takes part in the scheduled preflight")


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
