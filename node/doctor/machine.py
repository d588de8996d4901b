"""Checks of the machine: disk, memory, clock service, file modes. Nothing here asks anybody outside."""

import ctypes
import os
import secrets
import shutil
import stat
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from node.attention import LOW_DISK
from node.doctor.finding import Case, Finding, fail, ok, skip, warn
from node.runtime import ROOM
from node.signer.guard import guard_memory

#: Milliseconds for one small synced write: quick, and still enough for a block every 3 s with all else.
QUICK, SLOW = 10.0, 100.0
_WRITES = 9
#: MiB of memory that a node should find free: scrypt alone takes 128 for a moment.
LEAST_MEMORY = 512
#: <sys/timex.h>: the clock is not synchronised.
_TIME_ERROR = 5


def files(case: Case) -> list[Finding]:
    """Who can change the configuration, and read the data."""
    config = case.config
    found = []
    mode = stat.S_IMODE(config.path.stat().st_mode)
    if mode & 0o022:
        what = f"others can change {config.path} (mode {mode:04o})"
        found.append(fail("files", what, f"chmod 600 {config.path}"))
    if config.data.exists() and (mode := stat.S_IMODE(config.data.stat().st_mode)) & 0o077:
        what = f"others can look into {config.data} (mode {mode:04o}), where the signing journal lies"
        found.append(warn("files", what, f"chmod 700 {config.data}"))
    return found or [ok("files", "the configuration and the data folder are this user's")]


def disk(case: Case) -> list[Finding]:
    """Room, and how long a synced write takes."""
    folder = nearest(case.config.data)
    free = shutil.disk_usage(folder).free
    said = f"{free / (1 << 30):.1f} GiB free at {folder}"
    if free < ROOM:
        room = fail("disk", f"{said}: below {ROOM >> 20} MiB the node stops", "make room")
    elif free < LOW_DISK:
        room = warn("disk", f"{said}: below {LOW_DISK >> 30} GiB it is little for snapshots", "make room")
    else:
        room = ok("disk", said)
    return [room, _sync_speed(folder)]


def _sync_speed(folder: Path) -> Finding:
    path = folder / f".doctor-{secrets.token_hex(8)}"
    try:
        taken = _synced_writes(path)
    except OSError as error:
        return fail("disk-sync", f"{folder}: {error.strerror}", "give the node's user a data folder that it may write")
    finally:
        path.unlink(missing_ok=True)
    said = f"a synced write takes {taken:.1f} ms"
    if taken < QUICK:
        return ok("disk-sync", f"{said}: quick")
    if taken < SLOW:
        return ok("disk-sync", f"{said}: enough, but catching up will take its time")
    return warn("disk-sync", f"{said}: slow, every block costs one", "use a local SSD for the data folder")


def _synced_writes(path: Path) -> float:
    """Milliseconds of the usual one of some small synced writes."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        taken = []
        for _ in range(_WRITES):
            begun = time.perf_counter()
            os.write(handle, bytes(4096))
            os.fsync(handle)
            taken.append(time.perf_counter() - begun)
        return statistics.median(taken) * 1000
    finally:
        os.close(handle)


def memory(case: Case, guard: Callable[[], list[str]] = guard_memory) -> list[Finding]:
    """How much there is, and whether keys in it are guarded; this process is guarded from here on too."""
    found = []
    facts = _meminfo()
    available = facts.get("MemAvailable")
    if available is None:
        found.append(skip("memory", "this system does not say how much memory there is"))
    elif available >> 20 < LEAST_MEMORY:
        what = f"{available >> 20} MiB of memory are available, opening a key takes 128 for a moment"
        found.append(warn("memory", what, f"have {LEAST_MEMORY} MiB for the node"))
    else:
        found.append(ok("memory", f"{available >> 20} MiB of memory are available"))
    for sentence in guard():
        what, _, remedy = sentence.partition(": ")
        if "swapped" in what and facts.get("SwapTotal") == 0:
            found.append(ok("memory-guard", "memory cannot be locked, but there is no swap"))
        else:
            found.append(warn("memory-guard", what, remedy))
    if len(found) == 1:
        found.append(ok("memory-guard", "no core dumps, no swap, no debugger of this user"))
    return found


def _meminfo() -> dict[str, int]:
    """Bytes by name, of /proc/meminfo; empty where there is none."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdecimal():
            found[name] = int(words[0]) << 10
    return found


def clock_service(case: Case) -> list[Finding]:
    """Whether something keeps this machine's clock right."""
    state = _clock_state()
    if state is None:
        return [skip("clock-service", "this system does not say whether its clock is synchronised")]
    if state == _TIME_ERROR:
        what = "nothing keeps this machine's clock right, as far as the kernel knows"
        return [warn("clock-service", what, "run a time service: systemd-timesyncd, chrony or ntpd")]
    return [ok("clock-service", "this machine's clock is synchronised")]


def _clock_state() -> int | None:
    """What adjtimex(2) answers when it is asked and told nothing."""
    if sys.platform != "linux":
        return None
    answer = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)))  # struct timex is smaller everywhere
    return answer if answer >= 0 else None


def nearest(path: Path) -> Path:
    """A folder, or the nearest one above it that is there."""
    path = path.absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path
