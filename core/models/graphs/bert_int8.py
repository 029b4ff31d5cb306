"""A BERT encoder as ONNX in 8-bit integers, written without torch and without onnxruntime.

The inputs of each linear map are rounded by fixed ranges, in the QDQ format of standard operators.
So an embedding does not depend on the rest of its batch, and a GPU runs the graph too. A few
channels of a BERT have values ten times as large as all others (Bondarenko et al. 2021). They are
divided by a constant before rounding, and their weights multiplied by it (SmoothQuant, Xiao et al.
2023). The layer norm before takes the division, so it costs nothing. Runs no model.

Axes: B texts, T tokens, D numbers of a token, V vocabulary, I inputs and O outputs of a linear map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from core.models.graphs.builder import GraphBuilder

# Added to the scores of padding before the softmax: its share is then 0 in float32.
_MASKED = -10_000.0
_EPSILON = 1e-12
_LARGEST = 127

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Table:
    """An embedding table in int8: row v is codes_VD[v] * scale_V1[v]."""

    codes_VD: NDArray[np.int8]
    scale_V1: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Range:
    """What one linear map takes: after the division of outliers, from low to high."""

    low: float
    high: float
    #: By channel, what it is divided by.
    outliers: Mapping[int, float]

    def divisors(self, num_channels: int) -> NDArray[np.float32]:
        divisors_D = np.ones(num_channels, np.float32)
        for channel, divisor in self.outliers.items():
            divisors_D[channel] = divisor
        return divisors_D


def inputs_of_layer(layer: int) -> tuple[str, str, str, str]:
    """The names of what the linear maps of a layer take, in their order."""
    names = ("attention", "context", "intermediate", "activation")
    attention, context, intermediate, activation = (f"{layer}.{name}" for name in names)
    return attention, context, intermediate, activation


class BertInt8:
    def __init__(
        self,
        weights: Weights,
        tables: Mapping[str, Table],
        num_heads: int,
        ranges: Mapping[str, Range] | None = None,
    ) -> None:
        """`weights` and `tables` have the keys of transformers' BertModel. Weights [O, I] are
        rounded by row. `ranges` has four inputs for each layer, named by `inputs_of_layer`; without
        them, the graph computes in float32."""
        self._weights = weights
        self._tables = tables
        self._ranges = ranges
        self._num_heads = num_heads
        queries = [key for key in weights if key.endswith(".attention.self.query.weight")]
        self._num_layers = len(queries)
        self._size = weights["embeddings.LayerNorm.weight"].size
        self._graph = GraphBuilder()

    def onnx(self, metadata: Mapping[str, str]) -> bytes:
        """`input_ids`, `attention_mask` int64 [B, T] to `embedding` float32 [B, D], of length 1.

        The embedding is the mean over the tokens that the mask has. A row without any is zero.
        """
        g = self._graph
        mask_BT = g.cast("attention_mask", TensorProto.FLOAT)
        hidden = self._embeddings()
        masked = g.add("Sub", g.constant("one", 1.0), mask_BT)
        masked = g.add("Mul", masked, g.constant("masked", _MASKED))
        bias_B11T = g.add("Unsqueeze", masked, g.ints(1, 2))
        for layer in range(self._num_layers):
            hidden = self._layer(layer, hidden, bias_B11T)
        kept = g.add("Mul", hidden, g.add("Unsqueeze", mask_BT, g.ints(2)))
        # Of length 1, the sum and the mean are the same.
        total = g.add("ReduceSum", kept, g.ints(1), keepdims=0)
        length = g.add("ReduceL2", total, axes=[1], keepdims=1)
        length = g.add("Max", length, g.constant("shortest", _EPSILON))
        g.add("Div", total, length, to="embedding")
        tokens = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"])
            for name in ("input_ids", "attention_mask")
        ]
        embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", self._size])
        return g.model(tokens, [embedding], metadata)

    def _embeddings(self) -> str:
        g = self._graph
        num_positions = len(self._tables["embeddings.position_embeddings.weight"].codes_VD)
        positions = g.constant("positions", np.arange(num_positions))
        num_tokens = g.add("Shape", "input_ids", start=1, end=2)
        positions_T = g.add("Slice", positions, g.ints(0), num_tokens)
        words = self._rows("embeddings.word_embeddings.weight", "input_ids")
        places = self._rows("embeddings.position_embeddings.weight", positions_T)
        types = self._weights["embeddings.token_type_embeddings.weight"]
        summed = g.add("Add", words, g.constant("token_type", types[0]))
        return self._layer_norm("embeddings", g.add("Add", summed, places), inputs_of_layer(0)[0])

    def _rows(self, key: str, ids: str) -> str:
        """The rows of a table, as float32. Only these are converted."""
        g, table = self._graph, self._tables[key]
        codes = g.add("Gather", g.constant(f"{key}.codes", table.codes_VD), ids)
        scale = g.add("Gather", g.constant(f"{key}.scale", table.scale_V1), ids)
        return g.add("Mul", g.cast(codes, TensorProto.FLOAT), scale)

    def _layer(self, layer: int, hidden: str, bias_B11T: str) -> str:
        """`hidden` is divided by the outliers of this layer's first input, the result by those of
        the next layer's."""
        g, key = self._graph, f"encoder.layer.{layer}"
        attention, context, intermediate, activation = inputs_of_layer(layer)
        after = inputs_of_layer(layer + 1)[0] if layer + 1 < self._num_layers else ""
        parts = [f"{key}.attention.self.{name}" for name in ("query", "key", "value")]
        attended = self._attend(self._linear(parts, hidden, attention), bias_B11T)
        mapped = self._linear([f"{key}.attention.output.dense"], attended, context)
        summed = g.add("Add", mapped, self._multiplied(hidden, attention))
        hidden = self._layer_norm(f"{key}.attention.output", summed, intermediate)
        mapped = self._linear([f"{key}.intermediate.dense"], hidden, intermediate)
        activated = self._divided(self._gelu(mapped), activation, self._width(key))
        mapped = self._linear([f"{key}.output.dense"], activated, activation)
        summed = g.add("Add", mapped, self._multiplied(hidden, intermediate))
        return self._layer_norm(f"{key}.output", summed, after)

    def _width(self, key: str) -> int:
        return self._weights[f"{key}.intermediate.dense.bias"].size

    def _attend(self, mapped: str, bias_B11T: str) -> str:
        g, size = self._graph, self._size
        by_head = g.ints(0, 0, self._num_heads, size // self._num_heads)
        query, key, value = (
            g.add("Transpose", g.add("Reshape", part, by_head), perm=order)
            for part, order in zip(
                g.split(mapped, 3, size), ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True
            )
        )
        scale = g.constant("attention_scale", float(np.sqrt(self._num_heads / size)))
        scores = g.add("Mul", g.add("MatMul", query, key), scale)
        shares = g.add("Softmax", g.add("Add", scores, bias_B11T), axis=-1)
        joined = g.add("Transpose", g.add("MatMul", shares, value), perm=[0, 2, 1, 3])
        return g.add("Reshape", joined, g.ints(0, 0, size))

    def _linear(self, keys: list[str], tensor: str, name: str) -> str:
        """One linear map that computes several of the same input. The input is divided already."""
        g = self._graph
        weights_IO = np.concatenate([self._weights[f"{key}.weight"].T for key in keys], axis=1)
        weights_IO = weights_IO * self._divisors(name, len(weights_IO))[:, None]
        scale_O = np.abs(weights_IO).max(axis=0) / np.float32(_LARGEST)
        codes_IO = np.round(weights_IO / scale_O).astype(np.int8)
        codes = g.constant(f"{name}.weight.codes", codes_IO)
        scale = g.constant(f"{name}.weight.scale", scale_O)
        if self._ranges is None:
            # onnxruntime rounds the input of a MatMul by a DequantizeLinear too.
            weights = g.add("Mul", g.cast(codes, TensorProto.FLOAT), scale)
        else:
            zero = g.constant(f"{name}.weight.zero", np.zeros(len(scale_O), np.int8))
            weights = g.add("DequantizeLinear", codes, scale, zero, axis=1)
        product = g.add("MatMul", self._rounded(tensor, name), weights)
        bias_O = np.concatenate([self._weights[f"{key}.bias"] for key in keys])
        return g.add("Add", product, g.constant(f"{name}.bias", bias_O))

    def _rounded(self, tensor: str, name: str) -> str:
        if self._ranges is None:
            return tensor
        g, taken = self._graph, self._ranges[name]
        step = np.asarray((taken.high - taken.low) / 255, np.float32)
        rounding = (
            g.constant(f"{name}.step", step),
            g.constant(f"{name}.zero", np.asarray(round(-taken.low / float(step)), np.uint8)),
        )
        return g.add("DequantizeLinear", g.add("QuantizeLinear", tensor, *rounding), *rounding)

    def _gelu(self, tensor: str) -> str:
        g = self._graph
        error = g.add("Erf", g.add("Div", tensor, g.constant("sqrt_2", float(np.sqrt(2)))))
        product = g.add("Mul", tensor, g.add("Add", error, g.constant("one", 1.0)))
        return g.add("Mul", product, g.constant("half", 0.5))

    def _layer_norm(self, key: str, tensor: str, name: str) -> str:
        """The result is divided by the outliers of the input `name`; without a name it is not."""
        g = self._graph
        divisors_D = self._divisors(name, self._size) if name else np.float32(1)
        parts = (
            g.constant(f"{key}.{part}", self._weights[f"{key}.LayerNorm.{part}"] / divisors_D)
            for part in ("weight", "bias")
        )
        return g.add("LayerNormalization", tensor, *parts, axis=-1, epsilon=_EPSILON)

    def _divided(self, tensor: str, name: str, size: int) -> str:
        if self._ranges is None:
            return tensor
        factors = 1 / self._divisors(name, size)
        return self._graph.add("Mul", tensor, self._graph.constant(f"{name}.factors", factors))

    def _multiplied(self, tensor: str, name: str) -> str:
        """What the layer norm divided, as it was."""
        if self._ranges is None:
            return tensor
        divisors = self._divisors(name, self._size)
        return self._graph.add("Mul", tensor, self._graph.constant(f"{name}.divisors", divisors))

    def _divisors(self, name: str, num_channels: int) -> NDArray[np.float32]:
        if self._ranges is None:
            return np.ones(num_channels, np.float32)
        return self._ranges[name].divisors(num_channels)
