"""One request to a remote signer and its answer, on a socket that blocks, within a time for the whole of it."""

import socket
import time

from node.errors import SignerError
from node.signer import wire


def exchange(wired: socket.socket, request: wire.Request, seconds: float) -> wire.Answer:
    """The answer to a request. Raises OSError, TimeoutError after ``seconds``, SignerError; then the socket is done."""
    data = wire.frame(request)
    end = time.monotonic() + seconds
    _hurry(wired, end)
    wired.sendall(data)
    kind, size = wire.body_size(_read(wired, wire.HEAD, end))
    if kind != wire.TALK:
        raise SignerError("the signer answered with blocks")
    return wire.read_answer(_read(wired, size, end))


def _hurry(wired: socket.socket, end: float) -> None:
    """The next call must be over at ``end``, by time.monotonic(): an answer in drops is none. Raises TimeoutError."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    wired.settimeout(left)


def _read(wired: socket.socket, size: int, end: float) -> bytes:
    found = bytearray()
    while len(found) < size:
        _hurry(wired, end)
        part = wired.recv(min(size - len(found), 1 << 16))
        if not part:
            raise ConnectionResetError("it hung up")
        found += part
    return bytes(found)
