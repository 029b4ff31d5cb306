"""Sessions of onnxruntime, and the processor that they run on. The only place that runs it;
`training/backbones/quantise.py` rewrites models with it.

CUDA is used where it works: there is a GPU, the libraries are found, and a convolution has run.
Otherwise the CPU is, and why is said once: a process prints nothing else about it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import io
import logging
import os
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np

# Set, it keeps onnxruntime from sending usage to its maker and from writing to the home folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from core.errors import SpecMismatch

ORT_VERSION: str = ort.__version__
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
_ERROR, _FATAL = 3, 4

# Changes with what `Sessions.optimise` makes: what was made before is not for this one to open.
_FORM = "ort"
_CPUINFO = Path("/proc/cpuinfo")
# On x86, and on ARM.
_KIND_OF_PROCESSOR = (
    *("vendor_id", "cpu family", "model", "model name"),
    *("CPU implementer", "CPU part", "CPU variant"),
)

log = logging.getLogger(__name__)


class Sessions:
    def __init__(self, provider: str = "auto", threads: int = 1, gpu: int = 0) -> None:
        """`provider` is auto, cpu or cuda; both of the others fall back to the CPU."""
        self._threads = threads
        self._providers: list[Any] = [CPU]
        if provider == "cpu":
            return
        problem = why_not_cuda(gpu)
        if problem is None:
            self._providers = [_cuda(gpu), CPU]
        elif provider == "cuda" or num_gpus():
            _warn_once(problem)

    @property
    def provider(self) -> str:
        return CUDA if self.is_on_gpu else CPU

    @property
    def is_on_gpu(self) -> bool:
        return len(self._providers) > 1

    def open(self, model: bytes | Path, *, is_optimised: bool = False) -> Any:
        """An `onnxruntime.InferenceSession`. Bytes are copied and parsed with the interpreter's
        lock held, a file is not. `is_optimised`: it is a file that `optimise` wrote. Raises
        SpecMismatch."""
        options = self._options()
        if is_optimised:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.add_session_config_entry("session.load_model_format", "ORT")
            # Mapped only while it is read. With the weights used where they lie in the file, each
            # run would take 4 to 11 % longer: there they begin anywhere (`bench/RESULTS.md`).
            options.add_session_config_entry("session.use_memory_mapped_ort_model", "1")
        return self._open(model, options, self._providers)

    def open_head(self, model: bytes | Path) -> Any:
        """Like `open`, on the CPU and as it is: there is nothing to rewrite in a head, and weights
        in another order would take half of the time that a swap of heads has for this, to be faster
        with several images at once only."""
        options = self._options()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
        return self._open(model, options, [CPU])

    def optimise(self, model: Path, to: Path) -> None:
        """Write the model as onnxruntime rewrites it for the processor of this machine: constants
        folded, nodes fused, weights in the order that its convolutions take (onnxruntime's guide,
        "Graph Optimizations in ONNX Runtime", offline mode), and in a format that need not be
        parsed ("ORT Format Models"). Raises SpecMismatch."""
        options = self._options()
        options.add_session_config_entry("session.save_model_format", "ORT")
        options.optimized_model_filepath = str(to)
        self._open(model, options, [CPU])

    def _options(self) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # A waiting thread that spins takes the core from another worker.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = _ERROR
        return options

    def _open(self, model: bytes | Path, options: Any, providers: list[Any]) -> Any:
        try:
            # Without fallback: a model that silently ran elsewhere would be slow, and nobody told.
            return ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
        except Exception as error:  # onnxruntime raises its own classes, derived from Exception
            raise SpecMismatch(f"onnxruntime cannot load the model: {error}") from error


@functools.cache
def cpu_identity() -> str | None:
    """Names the kind of processor and the build of onnxruntime: a model that was optimised under
    one name may crash or answer wrongly under another. None where the processor does not tell."""
    try:
        # The first of the processors.
        told = _CPUINFO.read_text(encoding="utf-8").split("\n\n", 1)[0]
    except (OSError, UnicodeError):
        return None
    facts: dict[str, str] = dict(re.findall(r"^(.+?)[ \t]*:[ \t]*(.*)$", told, re.MULTILINE))
    features = sorted(facts.get("flags", facts.get("Features", "")).split())
    if not features:
        return None
    kind = [facts.get(name, "") for name in _KIND_OF_PROCESSOR]
    known = [_FORM, ort.__version__, ort.get_build_info(), platform.machine(), *kind, *features]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:16]


def num_usable_gpus(provider: str) -> int:
    """The GPUs to serve on, as far as can be told without taking memory on them."""
    return 0 if provider == "cpu" or _why_not_cuda() or _load_libraries() else num_gpus()


def why_not_cuda(gpu: int = 0) -> str | None:
    """None if models can run on this GPU."""
    if (hindrance := _why_not_cuda()) is not None:
        return hindrance
    if gpu >= num_gpus():
        return f"the driver shows {num_gpus()} GPUs, and number {gpu} from 0 is asked for"
    missing = _load_libraries()
    problem = _try(gpu)
    return f"{problem}; {missing}" if problem and missing else problem


def num_gpus() -> int:
    """Asks the driver itself: onnxruntime lists CUDA also where there is no GPU."""
    return _ask_driver()[0]


def _why_not_cuda() -> str | None:
    if CUDA not in ort.get_available_providers():
        return "this onnxruntime is built without CUDA; install onnxruntime-gpu"
    count, version = _ask_driver()
    if not count:
        return "the driver shows no GPU"
    needed = str(getattr(ort, "cuda_version", "")).split(".")[0]
    if needed.isdigit() and version // 1000 < int(needed):
        known = f"{version // 1000}.{version % 1000 // 10}"
        return f"the driver knows CUDA {known}, and onnxruntime needs {needed}; update the driver"
    return None


def _ask_driver() -> tuple[int, int]:
    """How many GPUs there are, and the newest CUDA that it knows, such as 13000."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return 0, 0
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0, 0
    count, version = ctypes.c_int(0), ctypes.c_int(0)
    asked = (driver.cuDriverGetVersion, version), (driver.cuDeviceGetCount, count)
    if driver.cuInit(0) != 0 or any(ask(ctypes.byref(found)) != 0 for ask, found in asked):
        return 0, 0
    return count.value, version.value


def _cuda(gpu: int) -> tuple[str, dict[str, Any]]:
    options = {
        "device_id": gpu,
        # With the default, EXHAUSTIVE, each change of the batch size costs about 140 ms, with this
        # 16 ms, and where it stays the same this is no slower: github.com/sgl-project/sglang-omni
        # pull 2176 (onnxruntime 1.29, H200), github.com/PaddlePaddle/PaddleX pull 5057.
        "cudnn_conv_algo_search": "HEURISTIC",
        # A server's sessions see one size of batch each: what one asked for first is all it needs.
        "arena_extend_strategy": "kSameAsRequested",
    }
    return CUDA, options


@functools.cache
def _load_libraries() -> str:
    """Find the CUDA libraries that pip installed; returns what is missing, or nothing."""
    if not hasattr(ort, "preload_dlls"):
        return ""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        ort.preload_dlls()
    return " ".join(printed.getvalue().split())


@functools.cache
def _try(gpu: int) -> str | None:
    """Run a convolution, which needs all that backbones need. None if it can be."""
    ort.set_default_logger_severity(_FATAL)
    try:
        session = ort.InferenceSession(
            _convolution(), providers=[_cuda(gpu), CPU], enable_fallback=0
        )
        if CUDA not in session.get_providers():
            return "onnxruntime cannot use its CUDA libraries"
        session.run(None, {"x": np.ones((1, 1, 2, 2), np.float32)})
    except Exception as error:  # onnxruntime raises its own classes, derived from Exception
        return " ".join(str(error).split())
    finally:
        ort.set_default_logger_severity(_ERROR)
    return None


def _convolution() -> bytes:
    # Loaded only where there is a GPU: a serving process has no other use for it.
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "try",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, 1])],
        [helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 2, 2], [1.0] * 4)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


@functools.cache
def _warn_once(problem: str) -> None:
    log.warning("cuda.unavailable", extra={"reason": problem})
