"""Fewer collections of cyclic garbage while a long history is replayed: it makes hardly any, and remembers much."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: Objects more than were freed, before the youngest are looked through; and how often the older ones then.
_THRESHOLDS = 100_000, 50, 50


@contextmanager
def rare_collections() -> Iterator[None]:
    """What is there already is not looked through again; what comes, seldom."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
