"""onnxruntime sessions, and the device that they run on. Nothing else runs onnxruntime;
`training/backbones/quantise.py` rewrites models with it.

CUDA is used where there is a GPU, its libraries are found, and a convolution has run. Otherwise the
CPU is used, and the reason is logged once.
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

# Otherwise onnxruntime sends usage data to its maker and writes to the user's home folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from core.errors import SpecMismatch

ORT_VERSION: str = ort.__version__
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
_ERROR, _FATAL = 3, 4

# To be changed with what `Sessions.optimise` writes: older files are then not used.
_FORM = "ort"
_CPUINFO = Path("/proc/cpuinfo")
# On x86, and on ARM.
_CPU_FIELDS = (
    *("vendor_id", "cpu family", "model", "model name"),
    *("CPU implementer", "CPU part", "CPU variant"),
)

log = logging.getLogger(__name__)


class Sessions:
    def __init__(self, provider: str = "auto", threads: int = 1, gpu: int = 0) -> None:
        """`provider` is auto, cpu or cuda; auto and cuda fall back to the CPU."""
        self._threads = threads
        self._providers: list[Any] = [CPU]
        if provider == "cpu":
            return
        reason = why_not_cuda(gpu)
        if reason is None:
            self._providers = [_cuda(gpu), CPU]
        elif provider == "cuda" or num_gpus():
            _warn_once(reason)

    @property
    def provider(self) -> str:
        return CUDA if self.is_on_gpu else CPU

    @property
    def is_on_gpu(self) -> bool:
        return len(self._providers) > 1

    def open(
        self, model: bytes | Path, *, is_optimised: bool = False, is_exact: bool = False
    ) -> Any:
        """Open an `onnxruntime.InferenceSession`. With `is_optimised`, the model is a file that
        `optimise` wrote. With `is_exact`, no sum of two products of 8-bit integers is cut off at 16
        bits (see `core/system/host.py`). onnxruntime holds the GIL while it parses bytes, but not
        while it reads a file. Raises SpecMismatch."""
        options = self._options()
        if is_exact:
            options.add_session_config_entry("session.x64quantprecision", "1")
        if is_optimised:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.add_session_config_entry("session.load_model_format", "ORT")
            # Mapped only while it is read. To use the weights where they lie in the file would make
            # each run slower, as they are not aligned there.
            options.add_session_config_entry("session.use_memory_mapped_ort_model", "1")
        return self._open(model, options, self._providers)

    def open_head(self, model: bytes | Path) -> Any:
        """Like `open`, on the CPU and without optimisation. A head has nothing to optimise, and
        packing its weights would take half of the time that a head takes to load."""
        options = self._options()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
        return self._open(model, options, [CPU])

    def optimise(self, model: Path, to: Path) -> None:
        """Write the model as onnxruntime rewrites it for this CPU. Constants are folded, nodes are
        fused and weights are in the order of its convolutions (onnxruntime's guide, "Graph
        Optimizations in ONNX Runtime", offline mode). The format needs no parsing ("ORT Format
        Models"). Raises SpecMismatch."""
        options = self._options()
        options.add_session_config_entry("session.save_model_format", "ORT")
        options.optimized_model_filepath = str(to)
        self._open(model, options, [CPU])

    def _options(self) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # A thread that spins while it waits takes CPU time from other workers.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = _ERROR
        return options

    def _open(self, model: bytes | Path, options: Any, providers: list[Any]) -> Any:
        try:
            # Without fallback: a model that ran elsewhere would be slow without a word.
            return ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
        except Exception as error:  # onnxruntime raises its own classes, derived from Exception
            raise SpecMismatch(f"onnxruntime cannot load the model: {error}") from error


@functools.cache
def cpu_identity() -> str | None:
    """A hash of the kind of CPU and the build of onnxruntime. A model that was optimised under one
    identity may crash or predict wrongly under another. None if the CPU is unknown."""
    try:
        first_cpu = _CPUINFO.read_text(encoding="utf-8").split("\n\n", 1)[0]
    except (OSError, UnicodeError):
        return None
    fields: dict[str, str] = dict(re.findall(r"^(.+?)[ \t]*:[ \t]*(.*)$", first_cpu, re.MULTILINE))
    features = sorted(fields.get("flags", fields.get("Features", "")).split())
    if not features:
        return None
    kind = [fields.get(name, "") for name in _CPU_FIELDS]
    known = [_FORM, ort.__version__, ort.get_build_info(), platform.machine(), *kind, *features]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:16]


def num_usable_gpus(provider: str) -> int:
    """The number of GPUs to serve on, as far as is known without taking memory on them."""
    return 0 if provider == "cpu" or _why_not_cuda() or _load_libraries() else num_gpus()


def why_not_cuda(gpu: int = 0) -> str | None:
    """The reason why models cannot run on this GPU; None if they can."""
    if (reason := _why_not_cuda()) is not None:
        return reason
    if gpu >= num_gpus():
        return f"the driver shows {num_gpus()} GPUs, and number {gpu} from 0 is requested"
    missing = _load_libraries()
    reason = _try_convolution(gpu)
    return f"{reason}; {missing}" if reason and missing else reason


def num_gpus() -> int:
    """As the driver counts them: onnxruntime lists CUDA even where there is no GPU."""
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
        return f"the driver supports CUDA {known}, onnxruntime needs {needed}; update the driver"
    return None


def _ask_driver() -> tuple[int, int]:
    """The number of GPUs, and the newest CUDA that the driver supports, such as 13000."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return 0, 0
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0, 0
    count, version = ctypes.c_int(0), ctypes.c_int(0)
    calls = (driver.cuDriverGetVersion, version), (driver.cuDeviceGetCount, count)
    if driver.cuInit(0) != 0 or any(call(ctypes.byref(result)) != 0 for call, result in calls):
        return 0, 0
    return count.value, version.value


def _cuda(gpu: int) -> tuple[str, dict[str, Any]]:
    options = {
        "device_id": gpu,
        # A change of the batch size takes 16 ms, and about 140 ms with the default, EXHAUSTIVE.
        # Runs of one size are no slower (github.com/sgl-project/sglang-omni pull 2176 with
        # onnxruntime 1.29 on an H200, github.com/PaddlePaddle/PaddleX pull 5057).
        "cudnn_conv_algo_search": "HEURISTIC",
        # Each session runs one batch size, so it needs no more memory than at first.
        "arena_extend_strategy": "kSameAsRequested",
    }
    return CUDA, options


@functools.cache
def _load_libraries() -> str:
    """Load the CUDA libraries that pip installed. Returns what is missing, or an empty text."""
    if not hasattr(ort, "preload_dlls"):
        return ""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        ort.preload_dlls()
    return " ".join(printed.getvalue().split())


@functools.cache
def _try_convolution(gpu: int) -> str | None:
    """Run a convolution, which needs all libraries that backbones need. Returns why it cannot run;
    None if it can."""
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
    # Imported only where there is a GPU: a worker has no other use for it.
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
def _warn_once(reason: str) -> None:
    log.warning("cuda.unavailable", extra={"reason": reason})
