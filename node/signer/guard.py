"""The memory of a process that holds keys: no core dump, no debugger of the same user, no page on the swap disk.

Root can read everything all the same, and what Python has freed may linger until it is used again.
"""

import ctypes
import os
import resource
import sys
from pathlib import Path

# <sys/prctl.h>, <sys/mman.h> (asm-generic: the numbers of x86, arm and riscv), <linux/capability.h>
_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAP_IPC_LOCK = 14


def guard_memory() -> list[str]:
    """Guard this process and what it allocates from now on; call it before a key is opened.

    Returns what could not be done, one sentence each with its remedy. Nothing that fails here stops a node.
    """
    missing = [_no_core_file()]
    if sys.platform != "linux":
        missing.append("memory is guarded on Linux alone: core dumps, debuggers and swap are up to this system")
    else:
        libc = ctypes.CDLL(None, use_errno=True)
        missing += [_not_dumpable(libc), _not_swapped(libc)]
    return [sentence for sentence in missing if sentence]


def lock_no_more() -> None:
    """What is in memory stays locked, what is allocated from now on is not.

    Call it once the keys are open and before LevelDB is: of the tables that it maps every page that was ever read
    would stay in memory, up to a gigabyte.
    """
    if sys.platform == "linux" and _may_lock_all():
        ctypes.CDLL(None).mlockall(_MCL_CURRENT | _MCL_ONFAULT)  # where it fails the guard has told so already


def _no_core_file() -> str:
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ValueError, OSError) as error:
        return f"core files could not be forbidden ({error}): set LimitCORE=0 in the unit, or ulimit -c 0"
    return ""


def _not_dumpable(libc: ctypes.CDLL) -> str:
    """No core piped to a program either, which ignores the limit, and no ptrace by processes of the same user."""
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        reason = os.strerror(ctypes.get_errno())
        return f"other processes of this user can read the memory ({reason}): give the node a user of its own"
    return ""


def _not_swapped(libc: ctypes.CDLL) -> str:
    """Lock all pages, as they are touched.

    Only without a limit: with one, an allocation beyond it would fail later, in the middle of a block.
    """
    remedy = "set LimitMEMLOCK=infinity in the unit, or use no swap, or an encrypted one"
    if not _may_lock_all():
        return f"memory may be swapped to disk, since the limit of locked memory is low: {remedy}"
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        return f"memory may be swapped to disk ({os.strerror(ctypes.get_errno())}): {remedy}"
    return ""


def _may_lock_all() -> bool:
    return resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY or _has_capability(_CAP_IPC_LOCK)


def _has_capability(number: int) -> bool:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return False
    held = [int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")]
    return bool(held) and bool(held[0] >> number & 1)
