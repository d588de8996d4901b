"""Who may ask a signer over its Unix socket: its own user, root, and the users that its configuration names.

A node of the signer's own user could read its files, stop it and start another in its place: a signer is apart from its
node only under a user of its own. Then the socket belongs to a group that the node's user is in, and the node's user is
named besides: a group may have members whom nobody thought of.
"""

import asyncio
import grp
import os
import pwd
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

import msgspec

from node.errors import ConfigError

_WITH_GROUP = 0o660


class Admitted(msgspec.Struct, frozen=True):
    """``users``: uids that may ask besides root and the signer's own; ``group``: gid of the socket, None = its own."""

    users: tuple[int, ...] = ()
    group: int | None = None


NOBODY_ELSE = Admitted()


def admitted(users: Iterable[str], group: str) -> Admitted:
    """By names or numbers; an empty ``group``: none. Raises ConfigError for a name that this machine does not know."""
    try:
        uids = tuple(int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid for name in users)
    except KeyError as error:
        raise ConfigError(f"signer.users: {error}: make that user, or name its number") from None
    try:
        gid = None if not group else int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise ConfigError(f"signer.group: {error}: make that group, or name its number") from None
    return Admitted(uids, gid)


def open_to(path: Path, who: Admitted) -> None:
    """Let the group of ``who`` connect to the socket ``path``, which is its owner's alone. Raises ConfigError."""
    if who.group is None:
        return
    try:
        os.chown(path, -1, who.group)
        os.chmod(path, _WITH_GROUP)
    except OSError as error:
        remedy = f"put the signer's user into the group {who.group}"
        raise ConfigError(f"signer.group: {path}: {error.strerror}: {remedy}") from error


def unwelcome(writer: asyncio.StreamWriter, who: Admitted) -> str:
    """Why a client may not ask; empty if it may. Over TLS the handshake has decided."""
    found = writer.get_extra_info("socket")
    if found is None or found.family != socket.AF_UNIX:
        return ""
    _, uid, gid = struct.unpack("3i", found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid in (0, os.geteuid(), *who.users):
        return ""
    return f"it belongs to the user {uid}, group {gid}: signer.users names who may ask"
