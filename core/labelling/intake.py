"""Intake of labels: check the request, store the image, then write the event.

HTTP and the command line both use it. When a function returns, its event is durable (fsynced).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from core import class_names, predictions
from core.audit import Actor
from core.errors import (
    IdempotencyConflict,
    UnknownExample,
    UnknownPrediction,
)
from core.inputs.kind import InputKind, Limits
from core.labelling import classes, examples, label_audit, labels, lost_images
from core.labelling.examples import Example, NewExample
from core.labelling.label_request import LabelRequest, check
from core.labelling.labels import LabelEvent
from core.labelling.predicted_image import prediction_of, read_image
from core.labelling.swept_images import (
    ImageSwept,
    check_not_swept,
    doom_again,
    swept_is_store_error,
)
from core.store import lost_blobs
from core.store.blobs import Blobs, sha256
from core.store.store import Store


@dataclass(frozen=True, slots=True)
class IntakeResult:
    event: LabelEvent
    # False if the same request came before: then `event` is the one of that request.
    is_new: bool


def label_image(
    store: Store, image: bytes, request: LabelRequest, limits: Limits, now: float
) -> IntakeResult:
    """Label an image. Raises UndecodableImage, ImageTooLarge, InvalidLabel, IdempotencyConflict."""
    request = check(request)
    image = kept(store, image)
    return store_label(
        store, image, prepare(image, limits, request.source, store.kind), request, now
    )


def kept(store: Store, image: bytes) -> bytes:
    """What is kept of an image: its bytes up to its end.

    An example that was stored whole, by an earlier release, stays the example of those bytes.
    """
    shorter = store.kind.kept(image)
    if len(shorter) < len(image) and has_example(store, sha256(image)):
        return image
    return shorter


def store_label(
    store: Store, image: bytes, new: NewExample, request: LabelRequest, now: float
) -> IntakeResult:
    """Label an image that `prepare` has decoded. Raises InvalidLabel, IdempotencyConflict."""
    request = check(request)
    store.blobs.put(image)
    return _append(store, new, request, None, now, image)


def label_prepared(
    store: Store, batch: Sequence[tuple[NewExample, LabelRequest]], now: float, by: Actor
) -> list[IntakeResult]:
    """Label images in one transaction, in this order. Their blobs must be stored already.

    Raises InvalidLabel, IdempotencyConflict or StoreError, and then labels none of them.
    """
    checked = [(image, check(request)) for image, request in batch]
    with swept_is_store_error(), store.db.write() as conn:
        results = [
            _append_to(conn, store.blobs, image, request, None, now) for image, request in checked
        ]
        label_audit.record_imported(conn, by, [r.event for r in results if r.is_new], now)
    return results


@dataclass(frozen=True, slots=True)
class PreparedImage:
    image: bytes
    new: NewExample


def label_prediction(
    store: Store,
    prediction_id: str,
    request: LabelRequest,
    limits: Limits,
    now: float,
    prepared: PreparedImage | None = None,
) -> IntakeResult:
    """Label the image of a prediction. Decodes it if it is new, unless it comes `prepared`.

    Raises UnknownPrediction, ImageNotKept, InvalidLabel, IdempotencyConflict.
    """
    request = check(request)
    prediction = prediction_of(store, prediction_id)
    image = prediction.image
    if prepared is None and not has_example(store, image):
        content = read_image(store, prediction)
        prepared = PreparedImage(content, prepare(content, limits, "prediction", store.kind))
    if prepared is not None:
        # The prediction stored the blob without an fsync. A label needs it durable.
        store.blobs.put(prepared.image)
        try:
            return _append(store, prepared.new, request, prediction_id, now, prepared.image)
        except UnknownPrediction:
            with store.db.write() as conn:
                doom_again(conn, image)
            raise
    result = _append(store, image, request, prediction_id, now, None)
    lost_images.note_if_missing(store, image, now)
    return result


def label_example(store: Store, example_id: int, request: LabelRequest, now: float) -> IntakeResult:
    """Label an example again. Raises UnknownExample, InvalidLabel, IdempotencyConflict."""
    request = check(request)
    with store.db.read() as conn:
        image = examples.image_of(conn, example_id)
    try:
        result = _append(store, image, request, None, now, None)
    except UnknownPrediction:  # it was erased since
        raise UnknownExample(f"example {example_id} was erased") from None
    lost_images.note_if_missing(store, image, now)
    return result


def has_example(store: Store, image: str) -> bool:
    with store.db.read() as conn:
        return examples.find(conn, image) is not None


def prepare(image: bytes, limits: Limits, source: str, kind: InputKind) -> NewExample:
    """Decode and fingerprint an input. Raises InputError."""
    width, height = kind.measure(image, limits)
    return NewExample(
        image=sha256(image),
        num_bytes=len(image),
        width=width,
        height=height,
        source=source,
        fingerprint=kind.fingerprint(image, limits),
    )


def _append(
    store: Store,
    new: NewExample | str,
    request: LabelRequest,
    prediction_id: str | None,
    now: float,
    content: bytes | None,
) -> IntakeResult:
    try:
        with store.db.write() as conn:
            return _give(conn, store.blobs, new, request, prediction_id, now)
    except ImageSwept:
        assert content is not None  # a known example is never swept
        store.blobs.put(content)
    with swept_is_store_error(), store.db.write() as conn:
        return _give(conn, store.blobs, new, request, prediction_id, now)


def _give(
    conn: Connection,
    blobs: Blobs,
    new: NewExample | str,
    request: LabelRequest,
    prediction_id: str | None,
    now: float,
) -> IntakeResult:
    result = _append_to(conn, blobs, new, request, prediction_id, now)
    if result.is_new:
        label_audit.record_given(conn, request.by, result.event, now)
    return result


def _append_to(
    conn: Connection,
    blobs: Blobs,
    new: NewExample | str,
    request: LabelRequest,
    prediction_id: str | None,
    now: float,
) -> IntakeResult:
    image = new if isinstance(new, str) else new.image
    labels.lock_order(conn)
    key = request.stored_key
    if key is not None:
        earlier = labels.by_idempotency_key(conn, key)
        if earlier is not None:
            _check_same(conn, earlier, request, image)
            return IntakeResult(earlier, is_new=False)
    if prediction_id is not None and predictions.get(conn, prediction_id) is None:
        raise UnknownPrediction("this prediction was erased; send its input with the label")
    if not isinstance(new, str):  # it has just been stored
        lost_blobs.clear(conn, [image])
    label = classes.join(conn, request.label)
    example = examples.find(conn, image)
    if example is None:
        if isinstance(new, str):  # its example was erased since `label_prediction` read it
            raise UnknownPrediction("the input was erased; send it again")
        check_not_swept(conn, blobs, image)
        example = examples.add(conn, new, label, now)
    event = labels.append(
        conn,
        example_id=example.id,
        label=label,
        who=request.who,
        prediction_id=prediction_id,
        idempotency_key=key,
        now=now,
    )
    return IntakeResult(event, is_new=True)


def _check_same(conn: Connection, earlier: LabelEvent, request: LabelRequest, image: str) -> None:
    example: Example | None = examples.find(conn, image)
    is_same_class = earlier.label is not None and class_names.is_same(earlier.label, request.label)
    if not is_same_class or example is None or example.id != earlier.example_id:
        raise IdempotencyConflict(
            f"the Idempotency-Key {request.idempotency_key!r} came before with another input or "
            "label; use a new key for a new label"
        )
