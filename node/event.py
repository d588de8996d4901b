"""What the catalogue of events says of one event."""

import msgspec


class Event(msgspec.Struct, frozen=True):
    """One event. ``fields`` name -> meaning; a field that is not always there ends with "?".

    ``remedy`` is empty where nothing need be done.
    """

    level: str
    fields: dict[str, str]
    meaning: str
    remedy: str = ""
