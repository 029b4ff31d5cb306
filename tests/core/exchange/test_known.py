from __future__ import annotations

import pytest

from core.exchange.importing.known import Known, decide
from core.exchange.reading.items import Kind


@pytest.mark.parametrize(
    ("current", "imported", "kind"),
    [
        (None, None, "added"),
        ("cat", "cat", "already"),
        ("Cat", None, "already"),  # labelled by a person first
        ("dog", None, "relabelled"),
        ("dog", "dog", "relabelled"),  # it moved to another folder
        ("dog", "CAT", "kept corrections"),
        (None, "cat", "kept corrections"),  # a person retracted it
        (None, "dog", "added"),
    ],
)
def test_decision_follows_the_current_and_the_imported_label(
    current: str | None, imported: str | None, kind: Kind
) -> None:
    assert decide("cat", Known(current, imported)) == kind
