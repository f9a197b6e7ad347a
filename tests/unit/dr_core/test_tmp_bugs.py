from tests.support.story import *
from dr_core.records import *
from dr_core.execution import decide
from dr_core.triggers import *
from datetime import timedelta
import pytest

def test_force():
    s = Story(1).approve().begun(1, 0)
    s.order("force-complete", (1, 0))
    assert s.wake().execution.status == "SUCCEEDED"

def test_timeout_spares_living_executor():
    s = Story(1, timeout_seconds=60).approve()
    assert s.claim(1, 0)
    s.after(150); s.owner = "executor-2"
    assert s.claim(1, 0)                     # takeover: its lease runs until 270 s
    s.after(60).wake()                       # 210 s: past deadline (60) and grace (120)
    assert s.statuses(1) == ["STARTING"]

def test_abandoned_is_quiet_fresh():
    s = Story(2).approve().begun(1, 0)
    s.order("pause"); s.order("abandon")
    assert not s.checked(1, 0, IN_PROGRESS)
    assert s.after(10_000).lost() == []

def test_abandoned_is_quiet_race():
    s = Story(2).approve().begun(1, 0)
    s.order("pause")
    r = s.resource(1, 0)
    late = s.decide(Checked(r.id, r.attempt, r.check_no, IN_PROGRESS, 1.0, 0.5))
    s.order("abandon")
    assert not s.table.commit("e1", late)
