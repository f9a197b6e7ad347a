"""The rows of the failure matrix, as tests/failures/rows.toml has them."""

import tomllib
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict


class Row(BaseModel):
    """Something that may go wrong. `gap` says why no test shows it; empty where one does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fault: str
    happens: str
    recovered: str
    gap: str = ""


ROWS: Final = tuple(Row.model_validate(row) for row in tomllib.loads(Path(__file__).with_name("rows.toml").read_text())["row"])
FAULTS: Final = tuple(row.fault for row in ROWS)
