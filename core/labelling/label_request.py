"""A label and its attributes, as a client sends them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from core import class_names
from core.audit import Actor
from core.errors import InvalidRequest
from core.plain_text import MAX_WHO_CHARACTERS, check_plain
from core.store.blobs import sha256

MAX_KEY_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """A label and its attributes, without the image."""

    label: str
    who: str = "anonymous"
    idempotency_key: str | None = None
    source: str = "feedback"
    # Whose the key is: the same key of another client is another key.
    key_scope: str = ""
    # For the audit; null: whom the label names.
    actor: Actor | None = None

    @property
    def by(self) -> Actor:
        return self.actor or Actor(self.who)

    @property
    def stored_key(self) -> str | None:
        if self.idempotency_key is None or not self.key_scope:
            return self.idempotency_key
        return sha256(f"{self.key_scope}\n{self.idempotency_key}".encode())


def check(request: LabelRequest) -> LabelRequest:
    """Return the request with its label normalised. Raises InvalidLabel, InvalidRequest."""
    key = request.idempotency_key
    if key is not None and not (0 < len(key) <= MAX_KEY_CHARACTERS and key.isprintable()):
        raise InvalidRequest(
            f"the Idempotency-Key has {len(key):,} characters; send 1 to {MAX_KEY_CHARACTERS}, "
            "none of them a control character"
        )
    check_plain("who", request.who, MAX_WHO_CHARACTERS)
    return replace(request, label=class_names.normalise(request.label))
