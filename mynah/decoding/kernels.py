"""The kernels that the decoder's matrices go through: one table, from which each process takes one entry by what its processor has.

`MYNAH_KERNELS=NAME` takes another that the machine can run. docs/platforms.md has the table with what was measured.
"""

import functools
import importlib.util
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import gelu, linear, pad

from mynah.core.errors import InputError, PlatformError
from mynah.core.machine import missing_instructions, processor_name
from mynah.core.settings import MYNAH_KERNELS
from mynah.core.threads import FreeCores, cores_to_use
from mynah.decoding import compat, fp16_linear, int8_linear, team
from mynah.decoding.compiled_int8 import CompiledInt8Linear
from mynah.decoding.fp16_linear import HalfLinear
from mynah.decoding.int8_linear import Int8Linear

THREADS = cores_to_use(torch.get_num_threads())  # as the machine, the container or OMP_NUM_THREADS has it
FREE_CORES = FreeCores(THREADS)
SPLIT_INPUTS = 1024  # from so many on, oneDNN adds up a single row's products in parts, and those of more rows in one go


class Linear(Protocol):
    """A layer of a model."""

    def __call__(self, x: Tensor, *, activation: bool = False) -> Tensor:
        """[rows, in] -> [rows, out], of the kernels' dtype, with GPT-2's GELU after it when `activation`."""


MakeLinear = Callable[[Tensor, Tensor], tuple[Linear, int]]


@dataclass(frozen=True, slots=True)
class Kernels:
    """How a model is kept in memory and computed.

    Attributes:
        name: As in MYNAH_KERNELS, the server's log, `/metrics` and the card.
        device: torch's type of device.
        dtype: Of activations, keys and values.
        weights: What is kept of a matrix, for people.
        is_exact: Whether a row's result is meant to be the same to the bit whatever the other rows are. `exactness` tries whether it is,
            on this processor and for a model's sizes.
        make_linear: (weight [out, in] fp32, bias [out] fp32), on the device, to a layer of `dtype`, and the bytes that it keeps.
        any_threads: Whether a step's result is the same to the bit with any number of threads, so that it may change as the machine
            gets busy. That of a prompt is not.
        lacks: What this machine lacks for them; "" where it can run them.
        is_compiled: Whether attention over the cache is one of our own compiled functions.
        on_request: Whether they are taken only where MYNAH_KERNELS names them.
    """

    name: str
    device: str
    dtype: torch.dtype
    weights: str
    is_exact: bool
    make_linear: MakeLinear
    lacks: Callable[[], str]
    any_threads: bool = False
    on_request: bool = False
    is_compiled: bool = False


def _plain(dtype: torch.dtype) -> MakeLinear:
    """torch's own matrix product: cuBLAS, MPS, Accelerate, MKL or OpenBLAS."""

    def make(weight: Tensor, bias: Tensor) -> tuple[Linear, int]:
        weight, bias = weight.to(dtype, copy=True), bias.to(dtype, copy=True)

        def layer(x: Tensor, *, activation: bool = False) -> Tensor:
            found = linear(x, weight, bias)
            return gelu(found, approximate="tanh") if activation else found

        return layer, weight.nbytes + bias.nbytes

    return make


def _onednn(dtype: torch.dtype) -> MakeLinear:
    """In the order that oneDNN's kernels read: up to twice as fast as torch's own product for few rows."""

    def make(weight: Tensor, bias: Tensor) -> tuple[Linear, int]:
        weight, bias = weight.to(dtype), bias.to(dtype, copy=True)
        packed = compat.onednn_packed(weight)
        run = compat.onednn_linear()

        def layer(x: Tensor, *, activation: bool = False) -> Tensor:
            kind, algorithm = ("gelu", "tanh") if activation else ("none", "")
            return run(x, packed, bias, kind, [], algorithm)

        def never_one_row(x: Tensor, *, activation: bool = False) -> Tensor:
            return layer(pad(x, (0, 0, 0, 1)), activation=activation)[:1] if len(x) == 1 else layer(x, activation=activation)

        return never_one_row if weight.shape[1] >= SPLIT_INPUTS else layer, weight.nbytes + bias.nbytes

    return make


def _int8(weight: Tensor, bias: Tensor) -> tuple[Linear, int]:
    """int8, or float32 where a matrix is so narrow that two digits in FBGEMM's blocks take longer: both are exact."""
    if weight.shape[1] < int8_linear.BLOCK:
        return _onednn(FP32)(weight, bias)
    layer = Int8Linear(weight, bias)
    return layer, layer.nbytes


def _compiled_int8(weight: Tensor, bias: Tensor) -> tuple[Linear, int]:
    """int8, or float32 where a matrix is so narrow that rounding costs more than it saves: both are exact."""
    if weight.shape[1] < int8_linear.BLOCK:
        return _onednn(FP32)(weight, bias)
    layer = CompiledInt8Linear(weight, bias)
    return layer, layer.nbytes


def _half(weight: Tensor, bias: Tensor) -> tuple[Linear, int]:
    """float16, or float32 where a matrix is so narrow that FBGEMM's blocks would take more: both are exact."""
    if 2 * fp16_linear.padded(weight.shape[1]) >= 4 * weight.shape[1]:
        return _onednn(FP32)(weight, bias)
    layer = HalfLinear(weight, bias)
    return layer, layer.nbytes


def _lacks_cuda() -> str:
    return "" if torch.cuda.is_available() else "a GPU that this torch can use"


def _lacks_mps() -> str:
    return "" if torch.backends.mps.is_available() else "macOS with Metal"


def _lacks_instructions() -> str:
    """By the processor's own word, which an emulator gives too; /proc/cpuinfo tells of the machine around it."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return missing_instructions()
    return "" if torch.cpu.get_capabilities().get("avx2") else "AVX2"


def _lacks_compiled() -> str:
    if sys.platform != "linux" or platform.machine().lower() not in ("x86_64", "amd64"):
        return "Linux on an x86-64 processor"
    if importlib.util.find_spec("numba") is None:
        return "the package numba"
    if not team.LIBRARY.exists():
        return "a torch with GNU's OpenMP library, as its wheels have it"
    return _lacks_instructions()


def _lacks_onednn() -> str:
    if not compat.has_onednn():
        return "a torch that is built with oneDNN"
    return _lacks_instructions()


def _lacks_onednn_bf16() -> str:
    if missing := _lacks_onednn():
        return missing
    return "" if compat.has_onednn_bf16() else "AVX-512 (BW, VL, DQ) or AVX-NE-CONVERT; on ARM64, bf16"


def _lacks_fbgemm() -> str:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return "an x86-64 processor"
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        return "AVX2, or a torch that is built with FBGEMM"
    return _lacks_instructions()


BF16, FP32 = torch.bfloat16, torch.float32
TABLE = (  # the first that the machine can run is taken
    Kernels("cuda-bf16", "cuda", BF16, "bfloat16", False, _plain(BF16), _lacks_cuda),
    Kernels("onednn-bf16", "cpu", BF16, "bfloat16", True, _onednn(BF16), _lacks_onednn_bf16),
    Kernels("avx2-int8", "cpu", FP32, "int8", True, _compiled_int8, _lacks_compiled, any_threads=True, is_compiled=True),
    Kernels("fbgemm-int8", "cpu", FP32, "int8", True, _int8, _lacks_fbgemm, any_threads=True),
    Kernels("fbgemm-fp16", "cpu", FP32, "float16", True, _half, _lacks_fbgemm, any_threads=True),
    Kernels("onednn-fp32", "cpu", FP32, "float32", True, _onednn(FP32), _lacks_onednn),
    Kernels("torch-fp32", "cpu", FP32, "float32", False, _plain(FP32), _lacks_instructions),
    Kernels("mps-fp32", "mps", FP32, "float32", False, _plain(FP32), _lacks_mps, on_request=True),
)


def runnable() -> list[Kernels]:
    """Those of the table that this machine can run."""
    return [each for each in TABLE if not each.lacks()]


def record(kernels: Kernels) -> dict[str, str | int]:
    """What computes here, for a person who compares two machines: kernels, weights, processor, threads."""
    processor = torch.cuda.get_device_name() if kernels.device == "cuda" else processor_name()
    return {"kernels": kernels.name, "weights": kernels.weights, "processor": processor, "threads": THREADS}


def describe(kernels: Kernels) -> str:
    """The same in words."""
    return "{kernels} ({weights} weights) on {processor}, {threads} threads".format(**record(kernels))


@functools.cache
def chosen() -> Kernels:
    """The kernels of this process: the table's first that the machine can run, or those that MYNAH_KERNELS names.

    Raises:
        InputError: MYNAH_KERNELS names none of the table, or some that this machine cannot run.
        PlatformError: The machine can run none.
    """
    able = runnable()
    wanted = MYNAH_KERNELS.get()
    if not wanted:
        found = next((each for each in able if not each.on_request), None)
        if found is None:
            raise PlatformError(
                f"this processor can run none of the decoder's kernels: it lacks {_lacks_instructions()}",
                "Use a machine with AVX2, ARM64 or a GPU.",
            )
        return found
    named = next((each for each in TABLE if each.name == wanted), None)
    can = ", ".join(each.name for each in able) or "none"
    if named is None:
        known = ", ".join(each.name for each in TABLE)
        raise InputError(
            f"{MYNAH_KERNELS.name} is {wanted[:40]!r}, and no such kernels are known ({known})", f"This machine can run: {can}."
        )
    if missing := named.lacks():
        raise InputError(f"{MYNAH_KERNELS.name} is {wanted!r}, and this machine lacks {missing}", f"It can run: {can}.")
    return named
