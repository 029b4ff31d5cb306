"""The labelled texts of tests and benches: tickets, and descriptions of Debian packages."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.texts import debian
from tests.support.tickets import CLASSES, tickets


def test_tickets_are_distinct_balanced_and_the_same_for_a_seed() -> None:
    made = tickets(400)
    assert made == tickets(400)
    assert made != tickets(400, seed=1)
    assert len({each.text for each in made}) == 400
    assert Counter(each.label for each in made) == dict.fromkeys(CLASSES, 100)


def test_description_has_neither_its_packages_name_nor_a_double() -> None:
    texts = debian.parse(
        "Package: nettle\nSection: net\nDescription: Nettle - a client for chat\n more lines\n\n"
        "Package: other\nSection: contrib/net\nDescription: a Client for chat.\n\n"
        "Package: fox\nSection: web\nDescription: browser\n\n"
        "Package: wolf\nSection: net\nDescription: Browser\n"
    )
    assert texts == {"net": ["a Client for chat."]}


def test_section_with_too_few_descriptions_is_named() -> None:
    with pytest.raises(SystemExit, match="section net has 1 descriptions, and 2 are needed"):
        debian.draw({"net": ["a client"]}, 2, seed=0)
