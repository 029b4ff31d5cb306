"""Work beside answering."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from core.beside import at_low_priority, give_memory_back


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="threads share their niceness here")
def test_the_work_yields_and_whoever_waits_for_it_does_not() -> None:
    before = niceness()
    assert at_low_priority(niceness) > before
    assert niceness() == before


def test_what_the_work_raises_is_raised_where_it_is_wanted() -> None:
    with pytest.raises(ZeroDivisionError):
        at_low_priority(lambda: 1 // 0)


def test_memory_can_be_given_back_at_any_time() -> None:
    give_memory_back()
    assert at_low_priority(lambda: "done") == "done"
