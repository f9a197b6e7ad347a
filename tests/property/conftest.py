"""How hard the properties are tried: `ci` always the same examples, `deep` (HYPOTHESIS_PROFILE=deep) many more and new ones."""

import os

from hypothesis import HealthCheck, settings

_SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
_CI = settings(deadline=None, suppress_health_check=_SLOW, report_multiple_bugs=False)

settings.register_profile("ci", _CI, max_examples=300, stateful_step_count=60, derandomize=True, database=None)
settings.register_profile("deep", _CI, max_examples=2000, stateful_step_count=120, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
