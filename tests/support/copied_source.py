"""A copy of what is deployed, to be changed before it is."""

import re
import shutil
from pathlib import Path

from localcloud.cloud import REPOSITORY


def copied_source(directory: Path) -> Path:
    """Copy template, layers and functions into `directory`, which is made anew; gives the copy's template."""
    shutil.rmtree(directory, ignore_errors=True)
    for name in ("layers", "functions"):
        shutil.copytree(REPOSITORY / name, directory / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    # The packages are not changed: their layers stay where they are, and need not be built again.
    text = (REPOSITORY / "template.yaml").read_text()
    template = directory / "template.yaml"
    template.write_text(re.sub(r"(ContentUri: )(layers/\w*dependencies)\b", rf"\g<1>{REPOSITORY}/\g<2>", text))
    return template
