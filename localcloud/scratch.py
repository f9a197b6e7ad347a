"""Where the parts of a cloud keep what does not last.

In memory where there is room: an emulated function unpacks its layers at each cold start, thousands of files, which a disk writes and
deletes many times more slowly. `state_dir/tmp` is that place, or leads to it.
"""

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")  # noqa: S108  (the directories made there are private)
_PREFIX: Final = "dr-orchestrator-local-"
_NEEDED_BYTES: Final = 4 * 1024**3
_LOCK: Final = "in-use"
_SETTLED_SECONDS: Final = 60.0  # by then whoever made a directory has locked it


def make(state_dir: Path) -> int:
    """Make `state_dir/tmp`; return a descriptor that the cloud's processes inherit and that says, while any lives, that it is in use."""
    link = state_dir / "tmp"
    remove(state_dir)
    if _has_room():
        _forget_dead()
        link.symlink_to(tempfile.mkdtemp(prefix=_PREFIX, dir=_MEMORY))
    else:
        link.mkdir()
    descriptor = os.open(link / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def remove(state_dir: Path) -> None:
    """Remove `state_dir/tmp` and what it leads to, if it is there."""
    link = state_dir / "tmp"
    shutil.rmtree(link.resolve(), ignore_errors=True)
    if link.is_symlink():
        link.unlink()


def _has_room() -> bool:
    return _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _NEEDED_BYTES


def _forget_dead() -> None:
    """Remove what clouds left that were killed: nobody holds its lock any more."""
    for directory in _MEMORY.glob(f"{_PREFIX}*"):
        if not (directory / _LOCK).exists() or time.time() - directory.stat().st_mtime < _SETTLED_SECONDS:
            continue
        with (directory / _LOCK).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(directory, ignore_errors=True)
