"""What is used of torch beyond its documented interface, in one place: operators of oneDNN and FBGEMM, and the gradient of softmax.

Read in the source of the version below, which constraints.txt pins: another version may have moved it. `tests/code/test_compat.py` fails
when the pin moves without this module. A torch without the operators computes with other kernels: see `mynah.decoding.kernels`.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WRITTEN_FOR = {"torch": "2.13.0"}
Operator = Callable[..., Tensor]


def has_onednn() -> bool:
    """Whether this torch is built with oneDNN's operators; macOS's wheels are not."""
    return hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


def has_onednn_bf16() -> bool:
    """Whether oneDNN computes with bf16 on this processor; asked only where `has_onednn`."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def onednn_packed(weight: Tensor) -> Tensor:
    """fp32 or bf16 [out, in] in the order that oneDNN's kernels read. Raises RuntimeError for bf16 without `has_onednn_bf16`."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)
    return packed


def onednn_linear() -> Operator:
    """`(x, packed, bias, activation, scalars, algorithm)`: x [rows, in] -> [rows, out], of the weights' dtype."""
    operator: Operator = torch.ops.mkldnn._linear_pointwise
    return operator


def softmax_gradient(d_weights: Tensor, weights: Tensor) -> Tensor:
    """The gradient of softmax's input by that of its result, over the last dimension; [..., n] of one dtype, added up in fp32."""
    gradient: Tensor = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
    return gradient


def fbgemm_int8_packed(digits: Tensor, scale: Tensor) -> Any:  # noqa: ANN401 - a class of TorchScript
    """int8 [out, in] and a scale for each output in the order that FBGEMM's kernels read."""
    engine = torch.backends.quantized.engine
    with warnings.catch_warnings():
        # torch 2.13 deprecates its quantized tensors, which this operator alone still takes.
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
        torch.backends.quantized.engine = "fbgemm"  # "x86" takes oneDNN's packing on processors with VNNI
        try:
            zero = torch.zeros(len(scale), dtype=torch.int32)
            return torch.ops.quantized.linear_prepack(torch._make_per_channel_quantized_tensor(digits, scale, zero, 0), None)
        finally:
            torch.backends.quantized.engine = engine


def fbgemm_int8_linear() -> Operator:
    """`(x, scale, zero_point, packed)`: fp32 x [rows, in], rounded to 8 bits on the way -> fp32 [rows, out]."""
    operator: Operator = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
    return operator


def fbgemm_fp16_packed(weight: Tensor, bias: Tensor) -> Any:  # noqa: ANN401 - a class of TorchScript
    """fp32 [out, in], rounded to float16, in the order that FBGEMM's kernels read, and fp32 [out]."""
    return torch.ops.quantized.linear_prepack_fp16(weight, bias)


def fbgemm_fp16_linear() -> Operator:
    """`(x, packed)`: fp32 x [rows, in] -> fp32 [rows, out]."""
    operator: Operator = torch.ops.quantized.linear_dynamic_fp16
    return operator
