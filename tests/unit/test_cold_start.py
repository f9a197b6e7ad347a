"""What each function loads: what is told of it."""

from tests.bench.cold_start import Start, heaviest, section

TOLD = """import time: self [us] | cumulative | imported package
import time:      2000 |       5000 |     pydantic.main
import time:      3000 |       3000 |   pydantic
import time:      4000 |       9000 | boto3
import time:       500 |        500 | json
import time:       100 |        100 | re
"""


def test_the_time_of_a_package_is_that_of_its_modules_by_themselves() -> None:
    assert heaviest(TOLD) == [("pydantic", 5.0), ("boto3", 4.0), ("json", 0.5)]


def test_the_slowest_comes_first_and_the_aim_is_met_or_not() -> None:
    starts = [Start("Quick", 200.0, 190.0, [("json", 1.0)], 512, 900.0), Start("Slow", 260.0, 255.0, [("boto3", 99.6)], 2048, 1900.4)]
    lines = section(starts).splitlines()
    assert lines[-2] == "| Slow | 260 ms | 255 ms | **no** | boto3 100 | 2.0 MB | 1900 ms |"
    assert lines[-1] == "| Quick | 200 ms | 190 ms | yes | json 1 | 0.5 MB | 900 ms |"
