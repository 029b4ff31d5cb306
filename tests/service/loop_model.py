"""What must be true of an installation, as plain Python values: the model of the state machine.

It knows no database and no thread. The machine does each step on both and compares them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from core.labelling.census import MIN_CLASSES, MIN_EXAMPLES_OF_CLASS


@dataclass
class Event:
    id: int
    image: str
    label: str
    is_retracted: bool = False


@dataclass
class Keyed:
    """A request that had an Idempotency-Key, and the event that it made."""

    image: str
    label: str
    event: Event


@dataclass
class Model:
    events: list[Event] = field(default_factory=list)
    keyed: dict[str, Keyed] = field(default_factory=dict)
    # The first spelling of each class.
    spellings: dict[str, str] = field(default_factory=dict)
    # By image, since its first label.
    is_held_out: dict[str, bool] = field(default_factory=dict)
    newest_event: int = 0
    # By version: what was labelled, and up to which event, when it was trained.
    trained_on: dict[int, tuple[int, dict[str, str]]] = field(default_factory=dict)
    newest_version: int = 1
    # From the first champion to the live one; a rollback takes the last one off.
    champions: list[int] = field(default_factory=lambda: [1])

    @property
    def live(self) -> int:
        return self.champions[-1]

    @property
    def previous(self) -> int | None:
        return self.champions[-2] if len(self.champions) > 1 else None

    @property
    def current(self) -> dict[str, str]:
        """The label of each image that has one."""
        return {event.image: event.label for event in self.events if not event.is_retracted}

    @property
    def num_trained(self) -> Counter[str]:
        return Counter(
            label for image, label in self.current.items() if not self.is_held_out[image]
        )

    @property
    def num_held_out(self) -> int:
        return sum(self.is_held_out[image] for image in self.current)

    @property
    def classes(self) -> list[str]:
        """Those with enough examples to train on."""
        return sorted(c for c, n in self.num_trained.items() if n >= MIN_EXAMPLES_OF_CLASS)

    @property
    def can_train(self) -> bool:
        return len(self.classes) >= MIN_CLASSES

    def spell(self, label: str) -> str:
        return self.spellings.setdefault(label.lower(), label)

    def add(self, event_id: int, image: str, label: str) -> Event:
        assert event_id > self.newest_event, "ids of events grow"
        self.newest_event = event_id
        event = Event(event_id, image, self.spell(label))
        self.events.append(event)
        return event

    def retract(self, event: Event, retraction_id: int) -> None:
        if not event.is_retracted:
            assert retraction_id > self.newest_event
            self.newest_event = retraction_id
        event.is_retracted = True

    def publish(self, version: int) -> None:
        assert version == self.newest_version + 1, "versions are numbered without gaps"
        self.newest_version = version
        self.trained_on[version] = (self.newest_event, self.current)

    def promote(self, version: int) -> None:
        if version in self.champions:
            del self.champions[self.champions.index(version) + 1 :]
        else:
            self.champions.append(version)
