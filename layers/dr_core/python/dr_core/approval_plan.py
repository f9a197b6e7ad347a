"""The digest of a plan: what an approval is bound to beside the manifest. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from dr_core.records import Resource

# What people decide on; what was merely observed may change while they think.
_DECIDED_ON = ("calls", "mayAlsoCall", "irreversible")


def plan_digest(resources: Iterable[Resource], documents: Iterable[Mapping[str, Any]], layer: int = 0) -> str:
    """SHA-256, in hexadecimal, over what would be done: each resource as it was resolved, and the calls that preflight planned for it.

    `layer`: the one before which it is decided on, if it is not the whole execution: what was shown for one approval decides no other.

    `documents`: the reports as `Table.preflights` gives them; those of other resources do not count, and without one the calls of a
    resource are left open. References to SecureStrings count as references: their values are nobody's to see.
    """
    planned = {document["resourceId"]: document for document in documents}
    steps = [
        {
            "id": one.id,
            "name": one.name,
            "module": one.module,
            "account": one.account,
            "parameters": one.parameters,
            "planned": {key: planned[one.id].get(key) for key in _DECIDED_ON} if one.id in planned else None,
        }
        for one in sorted(resources, key=lambda one: one.id)
    ]
    decided_on = {"before": layer, "steps": steps} if layer else steps
    return hashlib.sha256(json.dumps(decided_on, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
