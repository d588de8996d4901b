"""What was sent and has not been seen on chain: content -> height, bounded, on disk (protocol section 11).

Losing it is harmless (things are sent twice, the rules take the first); it spares the chain the doubles.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

MAX_ENTRIES = 256


class Outbox:
    """The outbox of a node; ``path`` None keeps it in memory."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._sent: dict[str, int] = self._load()

    @property
    def sent(self) -> dict[str, int]:
        """Contents with the height they were sent at."""
        return dict(self._sent)

    def add(self, content: str, height: int) -> None:
        """Remember that ``content`` was sent at ``height``; the oldest make room."""
        self._sent.pop(content, None)
        self._sent[content] = height
        while len(self._sent) > MAX_ENTRIES:
            del self._sent[next(iter(self._sent))]
        self._save()

    def forget(self, is_gone: Callable[[str, int], bool]) -> None:
        """Drop what ``is_gone(content, height)`` says was seen, or is of no use any more."""
        kept = {content: height for content, height in self._sent.items() if not is_gone(content, height)}
        if kept != self._sent:
            self._sent = kept
            self._save()

    def _load(self) -> dict[str, int]:
        if self._path is None or not self._path.exists():
            return {}
        try:
            found = json.loads(self._path.read_text())
            return {str(content): int(height) for content, height in list(found.items())[-MAX_ENTRIES:]}
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            return {}  # torn by a crash: the doubles it would have spared are harmless

    def _save(self) -> None:
        if self._path is None:
            return
        fresh = self._path.with_suffix(".new")
        with open(fresh, "w") as file:
            json.dump(self._sent, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self._path)
