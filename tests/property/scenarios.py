"""Strategies: what an execution may be made of, and how its world may behave."""

from collections.abc import Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

from dr_core.errors import ErrorClass
from tests.support.memory_table import LayerPlan, ResourcePlan
from tests.support.world import Act


@dataclass(frozen=True, slots=True)
class Scenario:
    """The layers of an execution, and what each call to act on a resource leads to."""

    layers: tuple[LayerPlan, ...]
    scripts: Mapping[str, tuple[Act, ...]]


POLICIES = ("drain", "failFast", "continue")
_ENDS = ("DONE", "DONE", "NEXT", "NEXT", "FAILED", "never")

acts = st.one_of(
    st.builds(Act, ends=st.sampled_from(_ENDS), seconds=st.sampled_from([0.0, 20.0, 90.0]), mendable=st.booleans()),
    st.builds(Act, error=st.sampled_from(list(ErrorClass)), lands=st.booleans()),
)
# Fit for comparing runs: far from every deadline or hanging for good, so that it does not matter when exactly somebody looks.
clear_acts = st.one_of(
    st.builds(Act, ends=st.sampled_from(_ENDS), seconds=st.sampled_from([0.0, 10.0, 40.0]), mendable=st.booleans()),
    st.builds(Act, error=st.sampled_from([ErrorClass.RETRYABLE, ErrorClass.THROTTLED, ErrorClass.TERMINAL])),
)


@st.composite
def scenarios(
    draw: st.DrawFn,
    acts: st.SearchStrategy[Act] = acts,
    policies: tuple[str, ...] = POLICIES,
    timeouts: tuple[int, ...] = (10, 60, 600),
    most_layers: int = 3,
    approvals: tuple[bool, ...] = (False,),
) -> Scenario:
    """A few layers, numbered with gaps, of a few resources each."""
    layers, scripts, number = [], {}, 0
    for _ in range(draw(st.integers(1, most_layers))):
        number += draw(st.integers(1, 3))
        resources = []
        for index in range(draw(st.integers(1, 3))):
            name = f"r{number}{'abc'[index]}"
            scripts[name] = tuple(draw(st.lists(acts, max_size=3)))
            resource = ResourcePlan(
                name,
                max_attempts=draw(st.integers(1, 3)),
                timeout_seconds=draw(st.sampled_from(timeouts)),
                best_effort=draw(st.sampled_from([False, False, False, True])),
            )
            resources.append(resource)
        policy = draw(st.sampled_from(policies))
        waits = draw(st.sampled_from(approvals))
        layers.append(LayerPlan(number, tuple(resources), policy, draw(st.integers(0, 2)), waits))  # type: ignore[arg-type]
    return Scenario(tuple(layers), scripts)
