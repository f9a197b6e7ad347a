"""Search a scope of one's own: `python -m tests.model --layers 2,1 --network lossy --crash 1 --broken 1`."""

import argparse
import sys

from tests.model.protocol import Variant
from tests.model.variants import MUTANTS, SCOPES, search

_BUDGETS = ("crash", "broken", "step", "deadline", "repoll", "pause", "cancel", "retry", "skip", "abandon", "force_complete")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Search and print; the exit status says whether the protocol holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--all", action="store_true", help="every scope and mutant of the tests")
    parser.add_argument("--layers", default="2,1", help="resources in each layer")
    parser.add_argument("--network", choices=["mono", "lossy"], default="mono")
    parser.add_argument("--policy", choices=["drain", "failFast", "continue"], default="drain")
    parser.add_argument("--gap", type=int, default=1, help="handlers that may be between read and commit at once")
    parser.add_argument("--max-attempts", type=int, default=1)
    parser.add_argument("--votes", action="store_true", help="begin before the approval")
    parser.add_argument("--asks", default="", help="the layers that wait for an approval, such as 2,3")
    for name in _BUDGETS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=0, help="how often")
    arguments = parser.parse_args()
    if arguments.all:
        for name, scope in SCOPES.items():
            _say(f"{name:32} {search(scope)}")
        for name, (scope, _) in MUTANTS.items():
            _say(f"{name:32} {search(scope)}")
        return 0
    result = search(
        Variant(
            layers=tuple(int(size) for size in arguments.layers.split(",")),
            network=arguments.network,
            policy=arguments.policy,
            gap=arguments.gap,
            max_attempts=arguments.max_attempts,
            votes=arguments.votes,
            asks=tuple(int(number) for number in arguments.asks.split(",") if number),
            **{name: getattr(arguments, name) for name in _BUDGETS},
        )
    )
    _say(str(result))
    return 0 if result.holds else 1


if __name__ == "__main__":
    sys.exit(main())
