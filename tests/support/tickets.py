"""Support tickets made by templates: texts of four classes for tests, the demo and the benches.

All classes speak of the same things, such as invoices and prices, so single words tell little.
Every text is distinct, and the same on every machine.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any

CLASSES = ("billing", "bug", "praise", "question")


@dataclass(frozen=True, slots=True)
class LabelledText:
    text: str
    label: str

    @property
    def body(self) -> bytes:
        return self.text.encode()

    @property
    def content_type(self) -> str:
        return "text/plain; charset=utf-8"

    def feedback(self) -> dict[str, Any]:
        """The arguments of httpx for a label."""
        return {"json": {"text": self.text, "label": self.label}}


_SENTENCES: dict[str, tuple[str, ...]] = {
    "billing": (
        "My card was charged twice in {month}; please return one of the payments.",
        "The invoice for {month} has the wrong address on it, please send a corrected one.",
        "We cancelled the {plan} plan in {month} and still pay {amount} for it.",
        "The receipt says {amount}, but {other} was agreed.",
        "Please move us from the {plan} plan to the smaller one from {month} on.",
        "Your reminder says that {amount} is overdue, though our bank sent it in {month}.",
        "We pay for {number} seats and use half of them. Please correct the subscription.",
        "I would like the money back for {thing}: we never ordered it.",
        "The discount of {number} percent is missing from what you took in {month}.",
        "Tax was added to {amount}, although our company is exempt.",
        "Since {month} we are billed for {thing}, which should be part of the {plan} plan.",
        "Our new card is entered, yet the old one was debited with {amount}.",
    ),
    "bug": (
        "{Thing} shows an empty page since the update in {month}.",
        "When I open {thing}, an error with the number {number} appears.",
        "{Thing} adds up to {amount} although its rows make {other}.",
        "Saving in {thing} takes {number} minutes and then fails.",
        "The button to pay does nothing on the {plan} plan; I clicked {number} times.",
        "{Thing} has forgotten all that we entered in {month}.",
        "Dates of {month} appear twice in {thing}, and others are missing.",
        "On a phone {thing} freezes as soon as the keyboard appears.",
        "The invoice cannot be downloaded: the file is damaged after {number} kilobytes.",
        "{Thing} logs me out every {number} minutes.",
        "Umlauts turn into question marks in {thing}.",
        "After a search {thing} jumps back to the first page.",
    ),
    "praise": (
        "{Thing} saves us {number} hours a week, thank you.",
        "The invoice is easy to read at last. Well done!",
        "Since {month} {thing} no longer fails. Great work.",
        "Your support answered within {number} minutes; that was excellent.",
        "My colleagues and I enjoy {thing} very much.",
        "The {plan} plan is worth every cent of its {amount}.",
        "I have not seen anything as simple as {thing} elsewhere.",
        "We have recommended you to {number} other companies since {month}.",
        "What you did to {thing} in {month} is just what we hoped for.",
        "Refunding {amount} on the same day was very kind of you.",
        "The new look of {thing} is beautiful.",
        "No other tool has made {month} so calm for our office.",
    ),
    "question": (
        "How do I share {thing} with a colleague?",
        "Does the {plan} plan include {thing}?",
        "Where do I find the invoice for {month}?",
        "Can {number} people work in {thing} at the same time?",
        "What does the {plan} plan cost for {number} seats?",
        "Is it possible to pay {amount} by bank transfer and not by card?",
        "Until when may we cancel if we start in {month}?",
        "Will {thing} be available in French by {month}?",
        "Which file formats does {thing} read?",
        "Could you tell me whether {thing} counts towards the limit of {number}?",
        "Who of us may change {thing}, and who may only look at it?",
        "I am looking for the setting that hides {thing}.",
    ),
}
_WORDS: dict[str, tuple[str, ...]] = {
    "thing": (
        "the calendar", "the monthly report", "the mobile app", "the search", "the address book",
        "the export to Excel", "the list of payments", "the price calculator", "the dashboard",
        "the page of invoices", "the payment form", "the import of contacts", "the time sheet",
        "the shared inbox", "the map of deliveries", "the stock list",
    ),
    "month": (
        "January", "February", "March", "April", "May", "June",
        "July", "August", "September", "October", "November", "December",
    ),
    "plan": ("Basic", "Team", "Plus", "Office", "Premium"),
}  # fmt: skip
_OPENINGS = (
    *[""] * 8, "Hello,", "Hi there!", "Good morning.", "Dear support team,", "Me again.",
    "We have been customers for {number} years.", "I am writing on behalf of our accountant.",
    "Thank you for the quick answer last time.",
    "There is a problem, or perhaps a misunderstanding.",
)  # fmt: skip
_CLOSINGS = (
    *[""] * 8, "Thanks in advance.", "Kind regards", "Best wishes from Lyon", "Please answer soon.",
    "We work on the {plan} plan.", "Have a nice weekend!", "A screenshot is attached.",
    "My customer number is {number}.", "I could not find it in the manual.",
)  # fmt: skip


def tickets(count: int = 400, seed: int = 0) -> list[LabelledText]:
    """Make distinct tickets, shuffled. The classes take turns, so they are balanced.

    Up to some ten thousand: later ones begin to repeat, and take ever longer to find.
    """
    rng = random.Random(seed)
    made: dict[str, str] = {}
    while len(made) < count:
        label = CLASSES[len(made) % len(CLASSES)]
        made.setdefault(_write(rng, label), label)
    every = [LabelledText(text, label) for text, label in made.items()]
    rng.shuffle(every)
    return every


def _write(rng: random.Random, label: str) -> str:
    parts = (rng.choice(_OPENINGS), rng.choice(_SENTENCES[label]), rng.choice(_CLOSINGS))
    return re.sub(r"\{(\w+)\}", lambda field: _word(rng, field[1]), " ".join(filter(None, parts)))


def _word(rng: random.Random, field: str) -> str:
    if field in ("amount", "other"):
        return f"{rng.randint(9, 900)}.{rng.randint(0, 99):02} euros"
    if field == "number":
        return str(rng.randint(2, 60))
    word = rng.choice(_WORDS[field.lower()])
    return word[0].upper() + word[1:] if field[0].isupper() else word
