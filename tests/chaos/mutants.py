"""The product without one of its guards: a copy of the source in which a few lines are taken out. The chaos run must notice each.

epoch      a layer is closed whatever epoch it is in
attempt    a claim, and the record of what came of it, hold on any attempt
check_no   a check holds whatever check it is the answer to
lock       an execution takes its locks whoever has them
outbox     events are stored after the transaction, not in it
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dr_core.phases import Phase
from localcloud.faults import Effect, Fault, When
from tests.chaos.plan import STACK, Emphasis
from tests.support.copied_source import copied_source

_CORE: Final = "layers/dr_core/python/dr_core"
_EXECUTOR: Final = "layers/dr_engine/python/dr_engine/executor.py"


# Small executions without other faults: what matters happens sooner, and more often.
_SMALL: Final = Emphasis(largest=3, strikes=False)


class PatchError(Exception):
    """The source has changed, so that a mutant no longer fits; says which line it looked for."""


@dataclass(frozen=True, slots=True)
class Patch:
    """In `file`, `old` becomes `new`; `times`: how often it stands there."""

    file: str
    old: str
    new: str
    times: int = 1

    def apply(self, root: Path) -> None:
        """Change the copy under `root`. Raises PatchError where the text is not there as often as it should be."""
        path = root / self.file
        text = path.read_text()
        if text.count(self.old) != self.times:
            raise PatchError(f"{self.file} has {text.count(self.old)} times, not {self.times}: {self.old!r}")
        path.write_text(text.replace(self.old, self.new))


@dataclass(frozen=True, slots=True)
class Mutant:
    """The patches that take a guard away, and what a run has more of so that it is missed soon: `faults` are there all the time."""

    patches: tuple[Patch, ...]
    faults: tuple[Fault, ...] = ()
    emphasis: Emphasis = _SMALL


def _slow(seconds: float, *functions: str) -> tuple[Fault, ...]:
    """Commits of these functions are held up, so that others come between what they read and what they write."""
    return tuple(
        Fault(
            effect=Effect.SLOW,
            name=f"always-slow-{function}",
            seconds=seconds,
            probability=0.5,
            service="dynamodb",
            operation="TransactWriteItems",
            function=f"{STACK}-{function}",
        )
        for function in functions
    )


MUTANTS: Final[Mapping[str, Mutant]] = {
    "epoch": Mutant(
        (Patch(f"{_CORE}/moves.py", '{"status": layer.status, "epoch": layer.epoch, "round": layer.round}', '{"status": layer.status}'),),
        _slow(3.0, "advance-execution", "sweep"),
        emphasis=Emphasis(largest=3, haste=1.0, failing=0.9, phases=(Phase.REPLICATE,), twice=0.5, strikes=False),
    ),
    "attempt": Mutant(
        (
            Patch(f"{_CORE}/moves.py", '        "attempt": resource.attempt,\n        "check_no"', '        "check_no"'),
            Patch(f"{_CORE}/execution.py", "resource is None or resource.attempt != trigger.attempt or state", "resource is None or state"),
            Patch(f"{_CORE}/execution.py", "        and resource.attempt == trigger.attempt\n", ""),
            Patch(f"{_CORE}/execution.py", "        or resource.attempt != trigger.attempt\n", ""),
            Patch(
                _EXECUTOR,
                "(resource.attempt, resource.check_no) != (message.attempt, message.check_no)",
                "resource.check_no != message.check_no",
            ),
        ),
        (
            *_slow(6.0, "start-resource"),
            Fault(
                effect=Effect.THROTTLE,
                name="always-throttled",
                service="lambda",
                operation="Invoke",
                function=f"{STACK}-start-resource",
                probability=0.7,
            ),
        ),
        Emphasis(largest=3, haste=1.0, failing=0.9, phases=(Phase.REPLICATE,), twice=0.5, strikes=False),
    ),
    "check_no": Mutant(
        (
            Patch(f"{_CORE}/moves.py", '        "check_no": resource.check_no,\n', ""),
            Patch(f"{_CORE}/execution.py", "        or resource.check_no != trigger.check_no\n", ""),
            Patch(
                _EXECUTOR,
                "(resource.attempt, resource.check_no) != (message.attempt, message.check_no)",
                "resource.attempt != message.attempt",
            ),
        ),
        # Checks that know how long it takes come once, at the right time: throttled, they come again and again.
        (
            Fault(
                effect=Effect.THROTTLE,
                name="always-throttled",
                operation="Describe*",
                function=f"{STACK}-check-resource",
                probability=0.8,
            ),
        ),
        Emphasis(largest=3, phases=(Phase.INSTANTIATE,), twice=0.5, strikes=False),
    ),
    "lock": Mutant(
        (
            Patch(
                f"{_CORE}/state.py",
                "transaction.save(new, condition=condition)",
                "transaction.save(new)",
            ),
        ),
        emphasis=Emphasis(largest=2, rivals=3, strikes=False),
    ),
    "outbox": Mutant(
        (
            Patch(
                f"{_CORE}/writing.py",
                "    for commit in commits:\n        save_events(transaction, commit.execution, commit.move.events, commit.now)\n",
                "",
            ),
            Patch(
                f"{_CORE}/state.py",
                "            done = self._commit_together(mine)\n",
                "            done = self._commit_together(mine)\n"
                "            if done and move.events:\n"
                "                self._transact(lambda transaction: save_events(transaction, execution, move.events, now))\n",
            ),
            Patch(
                f"{_CORE}/state.py",
                "condition=NonceItem.pk.does_not_exist())\n\n        return self._transact(write)",
                "condition=NonceItem.pk.does_not_exist())\n\n"
                "        committed = self._transact(write)\n"
                "        if committed and move.events:\n"
                "            self._transact(lambda transaction: save_events(transaction, execution, move.events, now))\n"
                "        return committed",
            ),
        ),
        (
            Fault(
                effect=Effect.CRASH,
                name="always-crashing",
                when=When.AFTER,
                service="dynamodb",
                operation="TransactWriteItems",
                function=f"{STACK}-*",
                probability=0.05,
            ),
        ),
        _SMALL,
    ),
}


def source_of(mutant: str, directory: Path) -> Path:
    """Copy what is deployed into `directory`, without the mutant's guard; gives the copy's template. Raises PatchError."""
    template = copied_source(directory)
    for patch in MUTANTS[mutant].patches:
        patch.apply(directory)
    return template
