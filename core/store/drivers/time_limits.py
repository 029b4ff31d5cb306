"""How long the drivers of the database and of the object store may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimeLimits:
    #: To open a connection.
    connect_s: float = 5.0
    #: To answer one statement, to give a lock, or to take or send one blob of usual size.
    answer_s: float = 15.0
