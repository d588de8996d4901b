"""The memory of a process that holds keys. Each test guards a process of its own: the guard cannot be taken off."""

import ctypes
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from node.signer import guard
from node.signer.guard import guard_memory, lock_no_more

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="core dumps, ptrace and swap of Linux")
ROOT = Path(__file__).resolve().parents[3]


def child(code, **more):
    """What a fresh Python says that has begun with this code."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, **more)


def test_no_core_file_and_nobody_of_the_same_user_looks_in():
    code = """
import ctypes, resource
resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
from node.signer.guard import guard_memory
libc = ctypes.CDLL(None)
before = libc.prctl(3, 0, 0, 0, 0)
guard_memory()
print(before, libc.prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))
"""
    assert child(code).stdout == "1 0 (0, 0)\n"


def test_a_crash_leaves_no_core(tmp_path):
    """With a limit that would allow one, and in a folder where it would lie."""
    code = f"""
import os, resource, signal, sys
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
sys.path.insert(0, {str(ROOT)!r})
from node.signer.guard import guard_memory
guard_memory()
os.chdir({str(tmp_path)!r})
os.kill(os.getpid(), signal.SIGSEGV)
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, capture_output=True)
    assert found.returncode == -11
    assert list(tmp_path.iterdir()) == []


#: Become nobody: as root one reads everything.
NOBODY = """
import ctypes, os, sys
if os.geteuid() == 0:
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
"""


def test_no_process_of_the_same_user_opens_its_memory_from_then_on():
    guarded = f"""
from node.signer.guard import guard_memory
{NOBODY}
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as any program of this user is, that did not change its user
print("open", flush=True)
sys.stdin.readline()
guard_memory()
print("guarded", flush=True)
sys.stdin.readline()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", guarded], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    look = f"{NOBODY}\nopen('/proc/{process.pid}/mem', 'rb')"
    try:
        assert process.stdout.readline() == "open\n"
        assert child(look).returncode == 0
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "guarded\n"
        assert "PermissionError" in child(look).stderr
    finally:
        process.communicate()


def test_memory_is_locked_where_there_is_no_limit_and_allocations_go_on():
    code = """
import mmap
from node.signer.guard import guard_memory
told = guard_memory()
room = mmap.mmap(-1, 256 << 20)
room[:4096] = bytes(4096)
locked = [line for line in open("/proc/self/status") if line.startswith("VmLck")][0].split()[1]
print(locked != "0", [sentence for sentence in told if "swap" in sentence] != [])
"""
    locked, told = child(code).stdout.split()
    assert locked != told or (locked, told) == ("False", "False")  # some kernels lock and count nothing


class Libc:
    """A system that refuses some of it."""

    def __init__(self, *refused):
        self._refused = refused
        self.called = []

    def prctl(self, *words):
        self.called.append(("prctl", *words))
        return -1 if "prctl" in self._refused else 0

    def mlockall(self, flags):
        self.called.append(("mlockall", flags))
        return -1 if "mlockall" in self._refused else 0


@pytest.fixture
def system(monkeypatch):
    """Put a system in the place of this one."""

    def put(libc, *, limit=resource.RLIM_INFINITY, capable=False, core=None):
        def set_limit(*words):
            if core:
                raise core

        monkeypatch.setattr(ctypes, "CDLL", lambda *words, **more: libc)
        monkeypatch.setattr(resource, "setrlimit", set_limit)
        monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))
        monkeypatch.setattr(guard, "_has_capability", lambda number: capable)
        return libc

    return put


@pytest.mark.parametrize(("limit", "capable"), [(resource.RLIM_INFINITY, False), (8 << 20, True)])
def test_everything_done_nothing_told(system, limit, capable):
    libc = system(Libc(), limit=limit, capable=capable)
    assert guard_memory() == []
    assert libc.called == [("prctl", 4, 0, 0, 0, 0), ("mlockall", 7)]  # current, future, as it is touched


def test_locking_ends_before_leveldb_maps_its_tables(system):
    libc = system(Libc())
    guard_memory()
    lock_no_more()
    assert libc.called[-1] == ("mlockall", 5)  # without what is to come
    libc = system(Libc(), limit=8 << 20)
    lock_no_more()
    assert libc.called == []


def test_with_a_limit_nothing_is_locked_since_later_allocations_would_fail(system):
    libc = system(Libc(), limit=8 << 20)
    [told] = guard_memory()
    assert "LimitMEMLOCK=infinity" in told
    assert [call for call in libc.called if call[0] == "mlockall"] == []


def test_what_is_refused_is_told_with_its_remedy_and_the_rest_is_done(system):
    system(Libc("prctl", "mlockall"), core=ValueError("not allowed"))
    core, dump, swap = guard_memory()
    assert "LimitCORE=0" in core
    assert "a user of its own" in dump
    assert "use no swap, or an encrypted one" in swap


def test_on_another_system_it_says_so(system, monkeypatch):
    libc = system(Libc())
    monkeypatch.setattr(sys, "platform", "darwin")
    [told] = guard_memory()
    assert "Linux alone" in told
    assert libc.called == []


def test_the_capability_is_read_from_the_kernel(monkeypatch):
    for mask, held in (("0000000000004000", True), ("000001ffffffffff", True), ("0000000000000000", False)):
        monkeypatch.setattr(Path, "read_text", lambda self, mask=mask: f"Name:\tx\nCapEff:\t{mask}\n")
        assert guard._has_capability(14) is held
    monkeypatch.setattr(Path, "read_text", lambda self: "Name:\tx\n")
    assert guard._has_capability(14) is False
