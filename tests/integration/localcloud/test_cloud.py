"""The local cloud as a whole: it starts beside others, is found again, and leaves nothing behind."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from localcloud.cloud import AlreadyRunningError, LocalCloud, NotRunningError

pytestmark = pytest.mark.integration


def processes_of(state_dir: Path) -> list[str]:
    """The processes whose environment names the state directory."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"TMPDIR={state_dir}" in environment.read_text(errors="replace"):
                found.append(environment.parent.name)
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
    return found


def runs(state_dir: Path) -> bool:
    try:
        LocalCloud.load(state_dir)
    except NotRunningError:
        return False
    return True


def test_a_second_cloud_has_a_life_of_its_own(cloud: LocalCloud, tmp_path: Path) -> None:
    other = LocalCloud.start(tmp_path, time_scale=0.5, die_with_parent=True)
    assert other.endpoint_url != cloud.endpoint_url
    assert all(other.status().values())
    with pytest.raises(AlreadyRunningError):
        LocalCloud.start(tmp_path)

    found = LocalCloud.load(tmp_path)
    assert found == other
    found.stop()
    assert not processes_of(tmp_path)
    assert not (tmp_path / "tmp").exists()
    with pytest.raises(NotRunningError):
        LocalCloud.load(tmp_path)
    assert all(cloud.status().values())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_cloud_of_a_test_dies_with_it(tmp_path: Path) -> None:
    script = f"""
import os
from pathlib import Path
from localcloud.cloud import LocalCloud
LocalCloud.start(Path({str(tmp_path)!r}), die_with_parent=True)
os._exit(1)
"""
    subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    deadline = time.monotonic() + 20
    while processes_of(tmp_path) or runs(tmp_path):  # one that just ends has no environment any more, and is not gone yet
        assert time.monotonic() < deadline, "its processes outlive it"
        time.sleep(0.1)
    restarted = LocalCloud.start(tmp_path, die_with_parent=True)
    restarted.stop()
