"""Every error that Evergreen raises on purpose.

    EvergreenError
      InputError       UndecodableImage, ImageTooLarge, ImageTooCostly, UndecodableText,
                       TextTooLong, BodyTooLarge, UnsupportedMediaType, SlowBody, InvalidLabel,
                       InvalidRequest, UnknownPrediction, UnknownFeedback, UnknownExample,
                       UnknownBatch, UnknownClass, UnknownRun, UnknownVersion, UnknownModel,
                       UnknownImport, OtherKind, InvalidRecipe, InvalidArchive
      AccessError      KeyRequired, RoleRequired, QuotaExceeded, UnknownHost, ForeignOrigin
      StateError       NotReady, NoClasses, Overloaded, DeadlineExceeded, NotEnoughLabels,
                       PromotionConflict, PromotionFailed, VersionNotLoaded, VersionTaken,
                       IdempotencyConflict, ClassTaken, RunFinished, BackboneUnavailable, Diverged,
                       MigrationNeeded, ImageNotKept, ImageLost, VersionRetired,
                       ImportFinished
      ArtifactError    BlobMissing, ChecksumMismatch, SignatureMismatch, SpecMismatch,
                       ParityFailure
      StoreError       the database or the blob store cannot be used; `__cause__` says why
        DiskFull

A message names the value, the limit and the remedy. Clients may rely on `code`: it is stable.
HTTP status codes live in `service/api/problems.py`, exit codes in `cli`.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any, ClassVar


class EvergreenError(Exception):
    code: ClassVar[str] = "evergreen-error"

    def __init_subclass__(cls, *, code: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.code = cls.code if code is None else code


class InputError(EvergreenError, code="invalid-input"): ...


class UndecodableImage(InputError, code="undecodable-image"): ...


class ImageTooLarge(InputError, code="image-too-large"): ...


class ImageTooCostly(InputError, code="image-too-costly"): ...


class UndecodableText(InputError, code="undecodable-text"):
    """Its message quotes nothing of the text."""


class TextTooLong(InputError, code="text-too-long"): ...


class BodyTooLarge(InputError, code="body-too-large"): ...


class UnsupportedMediaType(InputError, code="unsupported-media-type"): ...


class SlowBody(InputError, code="slow-body"): ...


class InvalidLabel(InputError, code="invalid-label"): ...


class InvalidRequest(InputError, code="invalid-request"): ...


class UnknownPrediction(InputError, code="unknown-prediction"): ...


class UnknownFeedback(InputError, code="unknown-feedback"): ...


class UnknownExample(InputError, code="unknown-example"): ...


class UnknownBatch(InputError, code="unknown-batch"): ...


class UnknownClass(InputError, code="unknown-class"): ...


class UnknownRun(InputError, code="unknown-run"): ...


class UnknownVersion(InputError, code="unknown-version"): ...


class UnknownModel(InputError, code="unknown-model"): ...


class OtherKind(InputError, code="other-kind"):
    """What is asked for is of another kind of input than the home has."""


class UnknownImport(InputError, code="unknown-import"): ...


class InvalidArchive(InputError, code="invalid-archive"):
    """Of labelled images: a damaged or dangerous one, or one that says no labels."""


class InvalidRecipe(InputError, code="invalid-recipe"): ...


class AccessError(EvergreenError, code="access-denied"):
    """The request is refused, whatever it asks for."""


class KeyRequired(AccessError, code="key-required"):
    """Says nothing of what is wrong with the key that came, if any."""


class RoleRequired(AccessError, code="role-required"): ...


class QuotaExceeded(AccessError, code="quota-exceeded"):
    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnknownHost(AccessError, code="unknown-host"): ...


class ForeignOrigin(AccessError, code="foreign-origin"): ...


class StateError(EvergreenError, code="conflict"): ...


class NotReady(StateError, code="not-ready"): ...


class NoClasses(StateError, code="no-classes"): ...


class Overloaded(StateError, code="overloaded"): ...


class DeadlineExceeded(StateError, code="deadline-exceeded"): ...


class NotEnoughLabels(StateError, code="not-enough-labels"): ...


class PromotionConflict(StateError, code="promotion-conflict"): ...


class MigrationNeeded(StateError, code="migration-needed"): ...


class PromotionFailed(StateError, code="promotion-failed"): ...


class VersionTaken(StateError, code="version-taken"): ...


class VersionNotLoaded(StateError, code="version-not-loaded"): ...


class IdempotencyConflict(StateError, code="idempotency-conflict"): ...


class ClassTaken(StateError, code="class-taken"): ...


class RunFinished(StateError, code="run-finished"): ...


class BackboneUnavailable(StateError, code="backbone-unavailable"): ...


class Diverged(StateError, code="training-diverged"): ...


class ImageNotKept(StateError, code="image-not-kept"): ...


class ImageLost(StateError, code="image-lost"): ...


class VersionRetired(StateError, code="version-retired"): ...


class ImportFinished(StateError, code="import-finished"): ...


class ArtifactError(EvergreenError, code="bad-artifact"): ...


class BlobMissing(ArtifactError, code="blob-missing"):
    """The blob store responds and does not have it. One that does not respond is a StoreError."""


class ChecksumMismatch(ArtifactError, code="checksum-mismatch"): ...


class SignatureMismatch(ArtifactError, code="signature-mismatch"): ...


class SpecMismatch(ArtifactError, code="spec-mismatch"): ...


class ParityFailure(ArtifactError, code="parity-failure"): ...


class StoreError(EvergreenError, code="store-unavailable"): ...


class DiskFull(StoreError, code="disk-full"): ...


# What is wrong with one stored image, and not with the store.
UNUSABLE_IMAGE = (BlobMissing, ChecksumMismatch, InputError)


def describe_invalid(problem: Mapping[str, Any]) -> str:
    """Describe one error of pydantic in a clause: the place, the value in short, the limit."""
    place = ".".join(map(str, problem["loc"])) or "the body"
    value = problem.get("input")
    # A body, a list or what is no Unicode may hold a text, which no message quotes.
    is_hidden = problem["type"] in ("missing", "string_unicode") or (
        isinstance(value, dict | list) and value
    )
    shown = "" if is_hidden else f" is {reprlib.repr(value)[:60]}"
    reason = str(problem["msg"]).removeprefix("Value error, ")
    return f"{place}{shown}: {reason[:1].lower()}{reason[1:]}"
