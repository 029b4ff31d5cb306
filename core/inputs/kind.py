"""What a home classifies: images or texts. Protocols that `pixels` and `tokens` implement.

One home has one kind of input. Code outside of `core.inputs` calls the kind and never asks which
one it is.

B inputs of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from core.errors import InputError

#: One decoded input, or a batch of them: uint8 pixels or int64 tokens.
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Limits:
    max_pixels: int = 50_000_000
    max_characters: int = 20_000


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    # Without the axis of the batch.
    array: Array
    # Whether a part of the input was left out. None: this kind is never truncated.
    is_truncated: bool | None = None
    # What the sender should know of how the backbone reads it.
    note: str | None = None


class Fingerprint(Protocol):
    """Finds near-duplicates. Two have at least one of four bands in common, mostly."""

    @property
    def thumb(self) -> bytes:
        """What is stored, to compare."""

    @property
    def bands(self) -> tuple[int, int, int, int]:
        """Four numbers of 16 bits. Near-duplicates mostly share one in its place."""

    def is_near(self, thumb: bytes) -> bool:
        """Whether the input with this thumb is a near-duplicate."""


class Reader(Protocol):
    """Decodes inputs for one backbone. For many threads."""

    def decode(self, content: bytes, limits: Limits = ...) -> Decoded:
        """Raises InputError."""


class InputSpec(Protocol):
    """How inputs become the arrays that one backbone takes. A version's manifest has it."""

    @property
    def key(self) -> str:
        """The key of the spec in a manifest, which is that of its kind."""

    def to_json(self) -> dict[str, Any]: ...

    def reader(self, metadata: Mapping[str, str]) -> Reader:
        """`metadata` is that of the backbone's ONNX file. Raises SpecMismatch."""

    def golden(self, seed: int) -> Array:
        """A batch of one, the same on every machine."""

    def problem_of(self, batch: Array) -> str | None:
        """What is wrong with the shape or type of a batch; None: nothing."""

    def tensor_shape(self) -> tuple[int, ...] | None:
        """The shape of one input as an uint8 tensor of a request, named `key`; None: a request
        carries no such tensor."""


@dataclass(frozen=True, slots=True)
class Wire:
    """How HTTP carries one input of the kind."""

    #: The field of a form that has its bytes, and the name of the OIP input: `image` or `text`.
    field: str
    #: Content types of a body that is one input, such as `image/` for all that begin so.
    media_types: tuple[str, ...]
    #: One of them, and the part of a form, as messages show them.
    example: str
    form_example: str
    #: The fields of a JSON body with one input and with several; None: JSON carries none.
    json_field: str | None = None
    json_list: str | None = None
    #: Which charsets a content type may name; empty: the parameter has no meaning.
    charsets: tuple[str, ...] = ()


class InputKind(Protocol):
    #: As the setting EVERGREEN_INPUT and /v1/status have it.
    name: str
    #: The words for it in messages.
    noun: str
    plural: str
    #: The key of its spec in a manifest.
    spec_key: str
    wire: Wire
    #: The inputs of a backbone's graph.
    onnx_inputs: tuple[str, ...]
    #: Whether all inputs of a backbone have one shape, for which a GPU keeps a plan.
    has_fixed_shape: bool
    #: Whether a backbone in int8 must give the same on every CPU, even where that takes longer.
    needs_exact_products: bool
    #: Whether lists show an excerpt of each input.
    has_excerpts: bool
    #: What is wrong with an input that cannot be decoded.
    undecodable: type[InputError]
    #: The content types of stored inputs.
    stored_types: str
    #: The content type of previews, and the ending of their files.
    preview_type: str
    preview_suffix: str

    def check_installed(self) -> None:
        """Raises SpecMismatch if a package that its inputs need is not installed."""

    def read_spec(self, fields: Any) -> InputSpec:
        """Raises SpecMismatch."""

    def join(self, batches: Sequence[Array]) -> Array:
        """One batch of several. The array of one input is a batch as `array[np.newaxis]`."""

    def feed(self, batch: Array) -> dict[str, Array]:
        """A batch as the inputs of a backbone's graph, by name."""

    def runs(self, batch: Array) -> Sequence[Array]:
        """The parts of a batch that a CPU runs one after the other."""

    def probe(self, shapes: Sequence[Sequence[Any]]) -> Array | None:
        """A batch of one for a graph whose inputs have these shapes, the same on every machine.
        None: the graph takes no batch that is known beforehand."""

    def encode(self, value: str) -> bytes:
        """The bytes of an input that JSON carries as a string: a text itself, an image in base64.
        Raises InputError."""

    def kept(self, content: bytes) -> bytes:
        """What is stored of an input. Bytes that cannot be decoded are left as they are."""

    def measure(self, content: bytes, limits: Limits) -> tuple[int, int]:
        """Width and height of an image, characters and lines of a text. Raises InputError."""

    def fingerprint(self, content: bytes, limits: Limits) -> Fingerprint:
        """Raises InputError."""

    def preview(self, content: bytes, limits: Limits) -> bytes:
        """A thumbnail or an excerpt, of the type `preview_type`. Raises InputError."""

    def preview_size(self, width: int, height: int) -> tuple[int, int]:
        """Of an input of this size, as `measure` returns it."""

    def is_whole_preview(self, preview: bytes) -> bool:
        """Whether a stored preview is complete."""

    def excerpt(self, content: bytes) -> str | None:
        """The beginning, to show in a list; None: lists show no text of this kind."""

    def media_type(self, content: bytes) -> str:
        """Of a stored input, for browsers."""
