"""Side by side, on one local cloud, in one run: the product, and the specification's nested state machines.

`python -m tests.bench [--only TEXT] [--no-page]`. Both do the same no work: the module Pause, which is done after so many seconds. The
clock runs from the approval to the end. The figures go between the marks of docs/performance.md, and are printed.
"""

import argparse
import os
import sys

from rich.console import Console

from localcloud import performance_page
from localcloud.cloud import CONTROL_ACCOUNT, REPOSITORY, WORKLOAD_ACCOUNT, LocalCloud
from localcloud.deployment import deploy_target_role
from localcloud.installation import EXTERNAL_ID, install
from tests.bench.cases import CASES, TOLD
from tests.bench.nested import Nested, deploy_nested
from tests.bench.orchestrator import Orchestrator, source
from tests.bench.section import Pair, section


def main() -> int:
    """Run the cases. Gives the exit code, 0: what does not end right raises."""
    parser = argparse.ArgumentParser(description="The product and nested state machines, side by side on a local cloud.")
    parser.add_argument("--only", default="", help="only cases with this in their name, such as '5 x 10'")
    parser.add_argument("--no-page", action="store_true", help="print the figures, and leave docs/performance.md as it is")
    options = parser.parse_args()
    told = None
    out, pairs, load_average = Console(highlight=False, width=200), list[Pair](), os.getloadavg()[0]
    directory = REPOSITORY / ".local" / "bench" / str(os.getpid())
    cloud = LocalCloud.start(directory / "cloud")
    try:
        os.environ.update(cloud.environment(CONTROL_ACCOUNT))
        outputs = install(cloud, approval_seconds=7200, template=source(directory / "source"))
        states = deploy_nested(cloud, outputs["ManifestBucketName"], EXTERNAL_ID)
        callers = f"{outputs['OrchestratorRoleArns']},{states['OrchestratorRoleArns']}"
        deploy_target_role(cloud, WORKLOAD_ACCOUNT, {"OrchestratorRoleArns": callers, "ExternalId": EXTERNAL_ID})
        ours, nested = Orchestrator(cloud, outputs), Nested(cloud, states, outputs["ManifestBucketName"])
        for case in CASES:
            if options.only in case.name:
                pairs.append((ours.run(case), nested.run(case)))
                seconds = [f"{run.wall_seconds:.1f} s" for run in pairs[-1]]
                out.print(f"{case.name}: {seconds[0]}, nested {seconds[1]}", markup=False)
        if options.only in TOLD.name:
            told = ours.run(TOLD)
            out.print(f"{TOLD.name}: lag p95 {told.lag(0.95):.2f} s", markup=False)
    finally:
        cloud.stop()
    found = section(pairs, load_average, told)
    out.print(found, markup=False)
    if not options.no_page:
        performance_page.write("bench", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
