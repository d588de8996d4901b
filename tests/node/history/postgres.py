"""A PostgreSQL of its own for tests: made in a temporary folder, on a free port of the loopback, gone afterwards."""

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg import sql

PASSWORD = "a secret/of@the:role"
_WAIT = 60  # seconds
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_FAST = ("-F", "-c", "full_page_writes=off", "-c", "synchronous_commit=off", "-c", "shared_buffers=32MB")


def binaries() -> dict[str, Path] | None:
    """postgres and initdb, of the same version; None if this machine has none."""
    folders = [Path(found).resolve().parent for found in (shutil.which("initdb"),) if found]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb")):
            return {name: folder / name for name in ("postgres", "initdb")}
    return None


class Server(msgspec.Struct, frozen=True):
    """A running one. Its superuser ``postgres`` and every role that is made have the same password."""

    port: int

    def dsn(self, database: str, role: str = "postgres", **parts: str) -> str:
        """How to reach a database, as key=value pairs."""
        given = {"host": "127.0.0.1", "port": str(self.port), "dbname": database, "user": role, "password": PASSWORD}
        return psycopg.conninfo.make_conninfo("", **given | parts)

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """As the superuser."""
        return psycopg.connect(self.dsn(database), autocommit=True)

    def create(self, database: str, template: str = "template0") -> None:
        """A new database."""
        with self.connect() as connection:
            names = sql.Identifier(database), sql.Identifier(template)
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))


@contextmanager
def running() -> Iterator[Server]:
    """A server while the block lasts; it ends with this process, too, should that be killed."""
    found = binaries()
    assert found is not None
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    who = _unprivileged()
    try:
        if who is not None:
            os.chown(folder, who.pw_uid, who.pw_gid)
        as_whom = {} if who is None else {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
        data, secret, port = folder / "data", folder / "password", _free_port()
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o644)
        made = [found["initdb"], "-D", data, "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"]
        made += ["-A", "scram-sha-256", f"--pwfile={secret}"]
        done = subprocess.run(made, cwd=folder, capture_output=True, text=True, check=False, **as_whom)
        assert done.returncode == 0, done.stderr
        served = [found["postgres"], "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1", *_FAST]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(served, cwd=folder, stdout=log, stderr=log, preexec_fn=_end_with_me, **as_whom)
        try:
            server = Server(port)
            _wait_for(server, process, folder / "log")
            yield server
        finally:
            _stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to run it as: PostgreSQL refuses root."""
    return pwd.getpwnam("nobody") if os.getuid() == 0 else None


def _end_with_me() -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGQUIT)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _wait_for(server: Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _WAIT
    while True:
        try:
            server.connect().close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.05)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
