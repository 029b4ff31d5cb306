"""Requests and responses of `infer` in the Open Inference Protocol v2, as they go over HTTP.

The body is a JSON object, followed by the binary data of the tensors that have some. The header
`Inference-Header-Content-Length` gives the length of the JSON. `service/oip/infer.py` gives the
tensors their meaning.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, PrivateAttr, ValidationError
from pydantic import field_validator as validates
from pydantic.json_schema import SkipJsonSchema

from core.errors import BodyTooLarge, InvalidRequest, UnsupportedMediaType, describe_invalid
from service.oip import tensors
from service.oip.tensors import Elements, RawTensor

HEADER_LENGTH = "Inference-Header-Content-Length"

_COMPRESSIONS = ("gzip", "deflate")
# What grows when JSON is parsed, up to a hundred times: elements, lists, objects and texts. There
# may be a list for each pixel, with its three colours, and one for each row and each image.
_MARKS = {b",": 1.0, b"[": 0.4, b"{": 0.0, b'"': 0.0}
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
# The rest of a message: shapes, parameters, outputs.
_OTHER_ELEMENTS = 10_000
_ANY_HEADER = zlib.MAX_WBITS | 32  # zlib tells gzip from its own format

# The limit keeps the messages about it short.
Count = Annotated[int, Field(ge=0, lt=2**31)]


class _Message(BaseModel):
    # The protocol allows parameters that a server does not know.
    model_config = ConfigDict(strict=True, extra="ignore")


class TensorParameters(_Message):
    shared_memory_region: SkipJsonSchema[Any] = Field(None, exclude=True)

    @validates("shared_memory_region")
    @classmethod
    def _refuse(cls, _region: Any) -> None:
        raise ValueError("there is no shared memory here; send binary data")


class InputParameters(TensorParameters):
    binary_data_size: Count | None = Field(None, description="Bytes after the JSON.")


class RequestInput(_Message):
    name: str
    shape: Annotated[list[Count], FailFast()]
    datatype: str
    parameters: InputParameters = InputParameters()
    # Without a type: pydantic then copies the list whole, and does not check millions of elements.
    data: list[Any] | None = Field(None, description="Or binary data after the JSON.")
    _binary: memoryview | None = PrivateAttr(None)

    @property
    def raw(self) -> RawTensor:
        return (self.data or []) if self._binary is None else self._binary

    def take_from(self, binary: memoryview) -> memoryview:
        """Take this input's part of the binary data. Returns the rest. Raises InvalidRequest."""
        size = self.parameters.binary_data_size
        if size is None:
            if self.data is None:
                raise InvalidRequest(
                    f"input {self.name[:40]!r} has no `data`; send a list, or binary data with its "
                    "length in the parameter `binary_data_size`"
                )
            return binary
        if size > len(binary):
            raise InvalidRequest(
                f"input {self.name[:40]!r} has {size:,} bytes of binary data by its "
                f"`binary_data_size`; {len(binary):,} are left in the body; check "
                f"{HEADER_LENGTH}, and send the data in the order of `inputs`"
            )
        self._binary = binary[:size]
        return binary[size:]


class OutputParameters(TensorParameters):
    binary_data: bool | None = None
    classification: Count = Field(
        0, description="Triton's extension: this many best classes instead of the numbers."
    )


class RequestOutput(_Message):
    name: str
    parameters: OutputParameters = OutputParameters()


class RequestParameters(_Message):
    binary_data_output: bool = False


class InferenceRequest(_Message):
    id: str | None = None
    parameters: RequestParameters = RequestParameters()
    inputs: Annotated[list[RequestInput], FailFast()] = Field(
        json_schema_extra={"minItems": 1, "maxItems": 1}
    )
    outputs: Annotated[list[RequestOutput], FailFast()] = Field(
        [], description="Empty: those that are sent by default."
    )

    def is_binary(self, output: RequestOutput) -> bool:
        """Whether the client takes this output as binary data."""
        wanted = output.parameters.binary_data
        return self.parameters.binary_data_output if wanted is None else wanted


class ResponseParameters(BaseModel):
    binary_data_size: int


class ResponseOutput(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    parameters: ResponseParameters | None = None
    data: list[Any] | None = None


class InferenceResponse(BaseModel):
    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[ResponseOutput]


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor of the response."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    elements: Elements = field(repr=False)
    is_binary: bool = False


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Undo a Content-Encoding. Raises UnsupportedMediaType, BodyTooLarge, InvalidRequest."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _COMPRESSIONS:
        raise UnsupportedMediaType(
            f"the Content-Encoding is {encoding[:40]!r}; send gzip, deflate, or the body as it is"
        )
    unpacker = zlib.decompressobj(_ANY_HEADER)
    try:
        content = unpacker.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise InvalidRequest(
            f"the body is not {encoding}, as its Content-Encoding says ({error}); send it as it is"
        ) from error
    if len(content) > max_bytes:
        raise BodyTooLarge(
            f"the body has more than {max_bytes:,} bytes when decompressed; that is the limit "
            "(EVERGREEN_MAX_BODY_MB); send fewer or smaller inputs"
        )
    if not unpacker.eof or unpacker.unused_data:
        raise InvalidRequest(
            f"the {encoding} body is cut short or followed by more; send it again, in one piece"
        )
    return content


def read(body: bytes, header_length: str | None, max_elements: int) -> InferenceRequest:
    """Read a message of at most so many numbers or texts. Raises InvalidRequest."""
    end = len(body) if header_length is None else _json_length(header_length, len(body))
    outside: bytes | None = None
    for mark, share in _MARKS.items():
        num, limit = body.count(mark, 0, end), int(share * max_elements) + _OTHER_ELEMENTS
        if num > limit and outside is None:  # texts have marks of their own
            outside = _STRING.sub(b'""', body[:end])
        if num > limit and outside is not None:
            num = outside.count(mark)
        if num > limit:
            raise InvalidRequest(
                f"the JSON of the request has {num:,} times {mark.decode()!r}; the limit is "
                f"{limit:,}; send fewer inputs, or binary data"
            )
    try:
        request = InferenceRequest.model_validate_json(body[:end])
    except ValidationError as error:
        (problem, *_) = error.errors(include_url=False)
        if problem["type"] == "json_invalid":
            raise InvalidRequest(
                f"the first {end:,} bytes of the body are not JSON ({problem['ctx']['error']}); "
                f"with binary data, give the length of the JSON in {HEADER_LENGTH}"
            ) from error
        raise InvalidRequest(describe_invalid(problem)) from error
    binary = memoryview(body)[end:]
    for tensor in request.inputs:
        binary = tensor.take_from(binary)
    if len(binary):
        raise InvalidRequest(
            f"{len(binary):,} bytes of binary data belong to no input; give the size of each in "
            "its parameter `binary_data_size`"
        )
    return request


def write(
    model: str, version: int, request_id: str | None, outputs: list[Output]
) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON if binary data follows."""
    tensors_out, chunks = [], []
    for output in outputs:
        tensor = ResponseOutput(
            name=output.name, shape=list(output.shape), datatype=output.datatype
        )
        if output.is_binary:
            chunks.append(tensors.to_binary(output.elements))
            tensor.parameters = ResponseParameters(binary_data_size=len(chunks[-1]))
        else:
            tensor.data = tensors.to_json(output.elements)
        tensors_out.append(tensor)
    response = InferenceResponse(
        model_name=model, model_version=str(version), id=request_id or None, outputs=tensors_out
    )
    header = response.model_dump_json(exclude_none=True).encode()
    return header + b"".join(chunks), len(header) if chunks else None


def _json_length(header: str, num_bytes: int) -> int:
    # int() would refuse a number of thousands of digits in its own words.
    if not (header.isascii() and header.isdigit() and len(header) <= 10):
        raise InvalidRequest(f"{HEADER_LENGTH} is {header[:40]!r}; send the length of the JSON")
    if int(header) > num_bytes:
        raise InvalidRequest(
            f"{HEADER_LENGTH} is {int(header):,}, but the body has {num_bytes:,} bytes; send the "
            "length of the JSON alone, uncompressed"
        )
    return int(header)
