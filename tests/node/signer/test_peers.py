"""Who may ask over the Unix socket, where the node has another user than its signer."""

import asyncio
import grp
import os
import pwd
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from node.devnet.founding import member_keys
from node.errors import ConfigError
from node.signer import peers, service, wire
from node.signer.peers import NOBODY_ELSE, Admitted, admitted, unwelcome
from tests.node.signer.remotely import new_replica, serving
from tests.node.test_core import new_group

ME = member_keys(2)
NODE, OTHER = 12_345, 54_321


def writer(family=socket.AF_UNIX):
    wired = SimpleNamespace(family=family, getsockopt=lambda *asked: b"")
    return SimpleNamespace(get_extra_info=lambda name: wired)


def refusal(monkeypatch, uid, gid, who):
    monkeypatch.setattr(peers, "struct", SimpleNamespace(unpack=lambda form, raw: (1, uid, gid)))
    return unwelcome(writer(), who)


def test_the_users_that_are_named_and_nobody_else(monkeypatch):
    who = Admitted((NODE,), 70)
    for uid in (0, os.geteuid(), NODE):
        assert refusal(monkeypatch, uid, 1, who) == ""
    assert f"the user {OTHER}, group 1" in refusal(monkeypatch, OTHER, 1, who)
    assert refusal(monkeypatch, OTHER, 70, who), "the group alone gets to the socket, and no answer"
    assert refusal(monkeypatch, NODE, 70, NOBODY_ELSE), "without a word of it, its own user and root"


def test_names_and_numbers():
    me, mine = pwd.getpwuid(os.geteuid()), grp.getgrgid(os.getegid())
    assert admitted([me.pw_name, "70"], mine.gr_name) == Admitted((me.pw_uid, 70), mine.gr_gid)
    assert admitted([], "71") == Admitted((), 71)
    assert admitted([], "") == NOBODY_ELSE
    with pytest.raises(ConfigError, match=r"signer.users: .*nobody-here"):
        admitted(["nobody-here"], "")
    with pytest.raises(ConfigError, match=r"signer.group: .*no-such-group"):
        admitted([], "no-such-group")
    with pytest.raises(ConfigError, match=r"signer.users"):
        admitted(["-1"], "")


def test_the_socket_is_the_groups_too_and_nobody_elses(tmp_path):
    group = new_group(tmp_path / "group")
    path = tmp_path / "sock"
    with serving(new_replica(group.genesis, ME, tmp_path / "signer"), path, who=Admitted((NODE,), os.getegid())):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert (path.stat().st_uid, path.stat().st_gid) == (os.geteuid(), os.getegid())


def test_a_group_that_it_is_not_in_ends_the_start(tmp_path, monkeypatch):
    def chown(*asked):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(peers.os, "chown", chown)
    path = tmp_path / "sock"
    with pytest.raises(ConfigError, match="put the signer's user into the group 70"):
        asyncio.run(service.listen(service.Service(None, None, Admitted((NODE,), 70)), f"unix:{path}", None))
    assert not path.exists() or stat.S_IMODE(path.stat().st_mode) == 0o600


ASK = """
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[4]))
os.setuid(int(sys.argv[3]))
found = socket.socket(socket.AF_UNIX)
found.settimeout(5)
try:
    found.connect(sys.argv[1])
    found.sendall(bytes.fromhex(sys.argv[2]))
    print("answered" if found.recv(1) else "dropped")
except ConnectionError:
    print("dropped")
except PermissionError:
    print("not let in")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_processes_of_other_users(tmp_path):
    group = new_group(tmp_path / "group")
    said = wire.frame(wire.Hello(wire.VERSION, group.genesis.hash, ME.account)).hex()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder, "sock")

        def ask(uid, gid):
            command = [sys.executable, "-I", "-S", "-c", ASK, str(path), said, str(uid), str(gid)]
            return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout

        with serving(new_replica(group.genesis, ME, tmp_path / "signer"), path, who=Admitted((NODE,), 70)):
            assert ask(NODE, 70) == "answered\n"
            assert ask(OTHER, 70) == "dropped\n"
            assert ask(NODE, 71) == "not let in\n"
        with serving(new_replica(group.genesis, ME, tmp_path / "another"), path):
            assert ask(NODE, 70) == "not let in\n"
