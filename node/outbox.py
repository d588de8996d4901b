"""What was sent and has not been seen on chain: content -> height, bounded, on disk (protocol section 11); and what no
server took, which rests a while, in memory.

Losing it is harmless (things are sent twice, the rules take the first); it spares the chain the doubles.
"""

import json
from collections.abc import Callable
from pathlib import Path

from node.files import DISK, Files

MAX_ENTRIES = 256
#: Blocks of rest for what no server takes: 1, 2, 4 and so on to so many.
LONGEST_REST = 32


class Outbox:
    """The outbox of a node; ``path`` None keeps it in memory."""

    def __init__(self, path: Path | None, files: Files = DISK) -> None:
        self._path = path
        self._files = files
        self._sent: dict[str, int] = self._load()
        #: What no server took: content -> (height to try again at, blocks of rest).
        self.resting: dict[str, tuple[int, int]] = {}

    @property
    def sent(self) -> dict[str, int]:
        """Contents with the height they were sent at."""
        return dict(self._sent)

    def add(self, content: str, height: int) -> None:
        """Remember that ``content`` was sent at ``height``; the oldest make room."""
        self.resting.pop(content, None)
        self._sent.pop(content, None)
        self._sent[content] = height
        while len(self._sent) > MAX_ENTRIES:
            del self._sent[next(iter(self._sent))]
        self._save()

    def refuse(self, content: str, height: int) -> None:
        """No server took it at ``height``: it rests, longer each time."""
        _, rest = self.resting.get(content, (0, 0))
        rest = min(max(1, 2 * rest), LONGEST_REST)
        self.resting[content] = (height + rest, rest)

    def forget(self, is_gone: Callable[[str, int], bool]) -> None:
        """Drop what ``is_gone(content, height)`` says was seen, or is of no use any more."""
        self.resting = {name: found for name, found in self.resting.items() if not is_gone(name, found[0])}
        kept = {content: height for content, height in self._sent.items() if not is_gone(content, height)}
        if kept != self._sent:
            self._sent = kept
            self._save()

    def _load(self) -> dict[str, int]:
        raw = self._files.read(self._path) if self._path is not None else None
        if raw is None:
            return {}
        try:
            found = json.loads(raw)
            return {str(content): int(height) for content, height in list(found.items())[-MAX_ENTRIES:]}
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            return {}  # torn by a crash: the doubles it would have spared are harmless

    def _save(self) -> None:
        if self._path is not None:
            self._files.replace(self._path, json.dumps(self._sent).encode())
