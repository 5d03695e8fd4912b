"""Rounding to fewer bits."""

from __future__ import annotations

import torch
from torch import Tensor

from ._operation import Operation

# f16 and tf32 have as many digits: they differ only in very small and very large values.
_DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16}
# An output may differ from the golden by so many floors before it is rounded.
_SLACK = 6.0


def to_tf32(x: Tensor, nearest: bool = True) -> Tensor:
    """f32 with a significand of 10 bits, rounded to nearest, ties away from zero, or cut off."""
    bits = x.float().contiguous().view(torch.int32) + ((1 << 12) if nearest else 0)
    return (bits & ~((1 << 13) - 1)).view(torch.float32).to(x.dtype)


def to_dtype(x: Tensor, name: str) -> Tensor:
    """``x``, in f32, rounded to f16, bf16 or tf32."""
    return to_tf32(x) if name == "tf32" else x.float().to(_DTYPES[name]).to(x.dtype)


def to_dtype_like(op: Operation, output: Tensor, name: str) -> Tensor:
    """``output`` rounded to f16, bf16 or tf32. Where it lies half-way between two representable values, the candidate's
    own error decides which is taken."""
    slack = _SLACK * op.floor + 2.0**-22 * output.abs()
    near = output + torch.minimum(torch.maximum(op.candidate - output, -slack), slack)
    return to_dtype(near, name)
