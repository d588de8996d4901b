"""What several tests of the floor start from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from state.state import State
from state.store import LevelStore, MemoryStore
from tests.state.model import state_over


@pytest.fixture(params=["memory", "level"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """An empty state over each kind of store."""
    store = MemoryStore() if request.param == "memory" else LevelStore(tmp_path / "state")
    state = state_over(store)
    yield state
    state.close()
