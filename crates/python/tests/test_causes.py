"""Every mistake is injected, by code that shares nothing with its hypothesis. Other faults must not be misnamed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from soundalike._causes import Cause, explain, shape_words
from soundalike._causes._table import HYPOTHESES, PARAMETERS
from soundalike._inputs import Example
from soundalike._replay import replays
from soundalike._runner import Runner

torch.set_num_threads(1)
Array = np.ndarray


@dataclass
class Step:
    """A call with f32 arguments, made again in f64 for the golden output."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    result: int = 0
    """Which of the returned tensors is the stage."""
    earlier: dict[str, Tensor] = field(default_factory=dict)
    """Golden stages before it."""
    twins: dict[str, nn.Module] = field(default_factory=dict)
    """Other modules of its class, in f64."""

    def __post_init__(self) -> None:
        self.kind = type(self.function).__name__ if isinstance(self.function, nn.Module) else self.function.__name__
        wide = copy.deepcopy(self.function).double() if isinstance(self.function, nn.Module) else self.function
        self.module = wide if isinstance(wide, nn.Module) else None
        with torch.no_grad():
            f32 = self._tensor(self.function(*self.args, **self.kwargs))
            self.args, self.kwargs = widened(self.args), widened(self.kwargs)
            self.golden = self._tensor(wide(*self.args, **self.kwargs)).numpy()
        finite = np.isfinite(self.golden)
        self.floor = rms(f32.numpy()[finite] - self.golden[finite])

    def _tensor(self, result: Any) -> Tensor:
        flat = (
            [result]
            if isinstance(result, Tensor)
            else [y for x in result for y in ([x] if isinstance(x, Tensor) else x)]
        )
        return flat[self.result].detach()

    def explain(self, candidate: Any) -> Cause | None:
        array = candidate.detach().numpy() if isinstance(candidate, Tensor) else np.asarray(candidate)
        assert array.dtype == np.float32
        return explain(self, array, self.golden, self.floor)


def widened(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _as_view(value) if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: widened(one) for name, one in value.items()}
    return type(value)(widened(one) for one in value) if type(value) in (tuple, list) else value


def _as_view(x: Tensor) -> Tensor:
    """In f64, and a view of the same elements: those of a network that runs in f64 are."""
    x = x.detach()
    whole = torch.as_strided(x, (x.untyped_storage().nbytes() // 4,), (1,), 0).double()
    return torch.as_strided(whole, x.shape, x.stride(), x.storage_offset())


def rms(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x)))) if x.size else 0.0


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.from_numpy((scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32))


def filled(module: nn.Module) -> Any:
    """The module with random parameters and statistics: those of a new one hide faults."""
    rng = np.random.default_rng(1)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point():
            values = rng.standard_normal(tensor.shape) * (0.3 if tensor.ndim > 1 else 0.5)
            values = (
                np.abs(values) + 0.5 if name.endswith("var") else values + (1.0 if _is_scale(module, name) else 0.0)
            )
            tensor.data.copy_(torch.from_numpy(values.astype(np.float32)))
    return module.eval()


def _is_scale(module: nn.Module, name: str) -> bool:
    return name == "weight" and "Norm" in type(module).__name__


def a(tensor: Tensor) -> Array:
    return np.asarray(tensor.detach().numpy())


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


Case = tuple[str, Step, Callable[[], Any]]
CASES: list[Case] = []
# Mistakes that are like another one, and must not be taken for it.
NEIGHBOURS: list[Case] = []
# Correct candidates that sum in another order.
CLEAN: list[tuple[str, Step, Callable[[], Any]]] = []


def case(id: str, step: Step, fault: Callable[[], Any]) -> None:
    CASES.append((id, step, fault))


def neighbour(id: str, step: Step, fault: Callable[[], Any]) -> None:
    NEIGHBOURS.append((id, step, fault))


def clean(name: str, step: Step, right: Callable[[], Any]) -> None:
    CLEAN.append((name, step, right))


# Activations

x = random(2, 40, 24, scale=2.5)
X = a(x)
erf = np.vectorize(math.erf)
gelu = (X * 0.5 * (1 + erf(X / math.sqrt(2)))).astype(np.float32)
swapped: dict[str, Array] = {
    "gelu-erf": gelu,
    "gelu-tanh": 0.5 * X * (1 + np.tanh(np.float32(math.sqrt(2 / math.pi)) * (X + np.float32(0.044715) * X**3))),
    "gelu-quick": X / (1 + np.exp(np.float32(-1.702) * X)),
    "silu": X / (1 + np.exp(-X)),
    "mish": X * np.tanh(np.log1p(np.exp(X))),
    "relu": np.maximum(X, 0),
    "relu6": np.minimum(np.maximum(X, 0), 6),
    "leaky-relu": np.where(X > 0, X, np.float32(0.01) * X),
    "elu": np.where(X > 0, X, np.expm1(X)),
    "selu": np.float32(1.0507009873554805) * np.where(X > 0, X, np.float32(1.6732632423543772) * np.expm1(X)),
    "hardswish": X * np.clip(X + 3, 0, 6) / 6,
    "hardsigmoid": np.clip(X / 6 + np.float32(0.5), 0, 1),
    "hardsigmoid-0.2": np.clip(np.float32(0.2) * X + np.float32(0.5), 0, 1),
    "sigmoid": sigmoid(X),
    "tanh": np.tanh(X),
    "hardtanh": np.clip(X, -1, 1),
    "softplus": np.log1p(np.exp(X)),
    "softsign": X / (1 + np.abs(X)),
    "exp": np.exp(X),
}
for form, faulty in swapped.items():
    case(form, Step(nn.GELU() if form != "gelu-erf" else nn.SiLU(), (x,)), lambda f=faulty: f.astype(np.float32))
    case(form, Step(F.silu if form != "silu" else F.gelu, (x,)), lambda f=faulty: f.astype(np.float32))
case("relu", Step(nn.LeakyReLU(0.01), (x,)), lambda: np.maximum(X, 0))
case("leaky-relu", Step(Tensor.relu, (x,)), lambda: np.where(X > 0, X, np.float32(0.01) * X))
case("relu6", Step(nn.ReLU(), (x,)), lambda: np.minimum(np.maximum(X, 0), 6))
case("activation-missing", Step(nn.ReLU(), (x,)), lambda: X)
case("activation-before", Step(nn.Sigmoid(), (x,)), lambda: torch.sigmoid(F.hardswish(x)))
case("activation-missing", Step(torch.tanh, (x,)), lambda: X)
case("activation-twice", Step(nn.Sigmoid(), (x,)), lambda: sigmoid(sigmoid(X)))
case("activation-of-minus", Step(F.elu, (x,)), lambda: np.where(X < 0, -X, np.expm1(-X)))
case("softplus", Step(nn.Softplus(1.0, 2.0), (x,)), lambda: np.log1p(np.exp(X)))
prelu = filled(nn.PReLU(40))
case("prelu-slope", Step(prelu, (x,)), lambda: np.where(X > 0, X, a(prelu.weight)[0] * X))
case("negative-slope", Step(nn.LeakyReLU(0.01), (x,)), lambda: np.where(X > 0, X, np.float32(0.02) * X))
case("negative-slope", Step(F.leaky_relu, (x, 0.1)), lambda: np.where(X > 0, X, np.float32(0.25) * X))
case("elu-alpha", Step(nn.ELU(1.0), (x,)), lambda: np.where(X > 0, X, np.float32(0.7) * np.expm1(X)))
case("softplus-beta", Step(nn.Softplus(1.0), (x,)), lambda: np.log1p(np.exp(2 * X)) / 2)
case("glu-halves", Step(nn.GLU(1), (x,)), lambda: sigmoid(X[:, :20]) * X[:, 20:])
case("glu-silu", Step(F.glu, (x, 2)), lambda: X[..., :12] * X[..., 12:] * sigmoid(X[..., 12:]))
case("glu-gate-missing", Step(F.glu, (x,)), lambda: X[..., :12] * X[..., 12:])
clean("gelu", Step(nn.GELU(), (x,)), lambda: gelu)
clean("silu", Step(F.silu, (x,)), lambda: X * sigmoid(X))

# Norms

small = random(3, 16, 30, scale=0.02)
S = a(small)


def normed(
    X: Array,
    axes: Any,
    eps: float,
    weight: Any = 1,
    bias: Any = 0,
    ddof: int = 0,
    outside: bool = False,
    centre: bool = True,
) -> Array:
    mean = X.astype(np.float64).mean(axes, keepdims=True) if centre else 0
    variance = np.square(X - mean).sum(axes, keepdims=True) / (
        np.prod([X.shape[i] for i in np.atleast_1d(axes)]) - ddof
    )
    y = (X - mean) / (np.sqrt(variance) + eps if outside else np.sqrt(variance + eps))
    return np.asarray(y * weight + bias, dtype=np.float32)


layer = filled(nn.LayerNorm(30))
W, B = a(layer.weight), a(layer.bias)
norm = Step(layer, (small,))
clean("layer norm", norm, lambda: normed(S, -1, 1e-5, W, B))
case("eps", norm, lambda: normed(S, -1, 1e-6, W, B))
case("eps", norm, lambda: normed(S, -1, 1e-3, W, B))
case("eps", norm, lambda: normed(S, -1, 3e-5, W, B))
case("eps-missing", norm, lambda: normed(S, -1, 0, W, B))
case("eps-outside", norm, lambda: normed(S, -1, 1e-5, W, B, outside=True))
case("unbiased-variance", norm, lambda: normed(S, -1, 1e-5, W, B, ddof=1))
case("affine-missing", norm, lambda: normed(S, -1, 1e-5))
case("weight-missing", norm, lambda: normed(S, -1, 1e-5, 1, B))
case("bias-missing", norm, lambda: normed(S, -1, 1e-5, W))
case("weight-plus-one", norm, lambda: normed(S, -1, 1e-5, 1 + W, B))
case("mean-kept", norm, lambda: normed(S, -1, 1e-5, W, B, centre=False))
case("normalised-axes", norm, lambda: normed(S, 1, 1e-5, W, B))
case("deviation", norm, lambda: normed(S, -1, 1e-5, W, B, ddof=1, outside=True))
case("deviation", norm, lambda: normed(S, -1, 1e-6, W, B, ddof=1, outside=True))
case("features-moved", norm, lambda: normed(np.roll(S, 15, -1), -1, 1e-5, W, B))
neighbour("features-moved", norm, lambda: normed(np.roll(S, 7, -1), -1, 1e-5, W, B))
case(
    "eps", Step(F.layer_norm, (small, (30,), layer.weight, layer.bias, 1e-5)), lambda: normed(S, -1, 1e-12 + 1e-4, W, B)
)
root = filled(nn.RMSNorm(30, eps=1e-6))
case("mean-subtracted", Step(root, (small,)), lambda: normed(S, -1, 1e-6, a(root.weight)))
case("eps", Step(root, (small,)), lambda: normed(S, -1, 1e-5, a(root.weight), centre=False))
case("weight-plus-one", Step(root, (small,)), lambda: normed(S, -1, 1e-6, 1 + a(root.weight), centre=False))
clean("rms norm", Step(root, (small,)), lambda: normed(S, -1, 1e-6, a(root.weight), centre=False))
batch = filled(nn.BatchNorm1d(16))


def by_channel(tensor: Tensor) -> Array:
    return a(tensor)[:, None]


BW, BB, M, V = map(by_channel, (batch.weight, batch.bias, batch.running_mean, batch.running_var))


def running(eps: float = 1e-5, m: Any = M, v: Any = V, w: Any = BW, b: Any = BB, outside: bool = False) -> Array:
    return np.asarray(
        (S - m) / (np.sqrt(v) + eps if outside else np.sqrt(v + np.float32(eps))) * w + b, dtype=np.float32
    )


frozen = Step(batch, (small,))
gain = BW / np.sqrt(V + np.float32(1e-5))
clean("folded batch norm", frozen, lambda: S * gain + (BB - M * gain))
case("eps", frozen, lambda: running(1e-3))
case("eps-outside", frozen, lambda: running(outside=True))
case("affine-missing", frozen, lambda: running(w=1, b=0))
case("weight-missing", frozen, lambda: running(w=1))
case("bias-missing", frozen, lambda: running(b=0))
# One of its class has no parameters.
with_plain = Step(batch, (small,), twins={"plain": nn.BatchNorm1d(16, affine=False).double()})
case("bias-missing", with_plain, lambda: running(b=0))
case("batch-statistics", frozen, lambda: normed(S, (0, 2), 1e-5, BW, BB))
case("running-statistics-missing", frozen, lambda: running(m=0, v=np.float32(1)))
case("deviation-as-variance", frozen, lambda: running(v=V * V))
case(
    "batch-statistics",
    Step(F.batch_norm, (small, batch.running_mean, batch.running_var, batch.weight, batch.bias)),
    lambda: normed(S, (0, 2), 1e-5, BW, BB),
)
instance = filled(nn.InstanceNorm1d(16, affine=True))
IW, IB = by_channel(instance.weight), by_channel(instance.bias)
case("unbiased-variance", Step(instance, (small,)), lambda: normed(S, 2, 1e-5, IW, IB, ddof=1))
case("normalised-axes", Step(instance, (small,)), lambda: normed(S, (1, 2), 1e-5, IW, IB))
case("normalised-axes", Step(instance, (small,)), lambda: normed(S, (0, 2), 1e-5, IW, IB))
case("eps", Step(instance, (small,)), lambda: normed(S, 2, 1e-6, IW, IB))
clean("instance norm", Step(instance, (small,)), lambda: normed(S, 2, 1e-5, IW, IB))
group = filled(nn.GroupNorm(4, 16))
GW, GB = by_channel(group.weight), by_channel(group.bias)


def grouped(n: int, **how: Any) -> Array:
    y = normed(S.reshape(3, n, 16 // n, 30), (2, 3), how.pop("eps", 1e-5), **how).reshape(S.shape)
    return np.asarray(y * GW + GB)


def grouped_without(n: int) -> Array:
    return normed(S.reshape(3, n, 16 // n, 30), (2, 3), 1e-5).reshape(S.shape)


groups = Step(group, (small,))
clean("group norm", groups, lambda: grouped(4))
case("group-count", groups, lambda: grouped(8))
case("group-count", groups, lambda: grouped(1))
case("unbiased-variance", groups, lambda: grouped(4, ddof=1))
case("eps", groups, lambda: grouped(4, eps=1e-6))
case("groups-interleaved", groups, lambda: normed(S.reshape(3, 4, 4, 30), (1, 3), 1e-5).reshape(S.shape) * GW + GB)
case("normalised-axes", groups, lambda: normed(S, 1, 1e-5, GW, GB))
case("normalised-axes", groups, lambda: normed(S, (0, 2), 1e-5, GW, GB))
case("features-moved", groups, lambda: np.roll(grouped_without(4), 8, 1) * GW + GB)
neighbour("normalised-axes", groups, lambda: grouped(16))


class GlobalNorm(nn.Module):
    """Of a kind that only its code tells."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.empty(1, 16, 1)), nn.Parameter(torch.empty(1, 16, 1))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2), keepdim=True)
        variance = (x - mean).square().mean(dim=[-1, 1], keepdim=True)
        return (x - mean) / (variance + 1e-8).sqrt() * self.scale + self.shift


custom = filled(GlobalNorm())
CS, CO = a(custom.scale)[0], a(custom.shift)[0]
own_norm = Step(custom, (small,))
clean("a norm of one's own", own_norm, lambda: normed(S, (1, 2), 1e-8, CS, CO))
case("statistics-axes", own_norm, lambda: normed(S, 1, 1e-8, CS, CO))
case("statistics-axes", own_norm, lambda: normed(S, 2, 1e-8, CS, CO))
neighbour("statistics-axes", own_norm, lambda: normed(S, (1, 2), 1e-8, CS, CO, ddof=1))
neighbour("statistics-axes", own_norm, lambda: normed(S, 1, 1e-2, CS, CO))

# Products

wide = random(3, 20, 32)
linear = filled(nn.Linear(32, 32))
dense = Step(linear, (wide,))
LW, LB = a(linear.weight), a(linear.bias)
D = a(wide)
f16 = np.float16


def rounded_to(x: Array, kind: str) -> Array:
    """By numpy: bf16 and tf32 from the bits of an f32, ties to even and away from zero."""
    if kind == "f16":
        return x.astype(f16).astype(np.float32)
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000 if kind == "bf16" else (bits + 0x1000) & 0xFFFFE000
    return np.asarray(bits.astype(np.uint32).view(np.float32))


def int8(w: Array, axis: Any = None) -> Array:
    scale = np.abs(w).max(axis=axis, keepdims=axis is not None) / np.float32(127)
    return np.asarray(np.rint(w / scale) * scale, dtype=np.float32)


clean("linear, features reversed", dense, lambda: D[..., ::-1] @ LW[:, ::-1].T + LB)
clean(
    "linear, bias first", dense, lambda: sum((D[..., i, None] * LW[:, i] for i in range(32)), start=LB + 0 * D[..., :1])
)
case("bias-missing", dense, lambda: D @ LW.T)
case("bias-twice", dense, lambda: D @ LW.T + 2 * LB)
case("bias-subtracted", dense, lambda: D @ LW.T - LB)
case("weight-transposed", dense, lambda: D @ LW + LB)
case("inputs-reversed", dense, lambda: D[..., ::-1] @ LW.T + LB)
case("features-moved", dense, lambda: np.concatenate([D[..., 16:], D[..., :16]], -1) @ LW.T + LB)
case("features-moved", dense, lambda: np.concatenate([D[..., 8:], D[..., :8]], -1) @ LW.T + LB)
case("features-transposed", dense, lambda: D.reshape(3, 20, 4, 8).swapaxes(2, 3).reshape(D.shape) @ LW.T + LB)
case("features-transposed", dense, lambda: D.reshape(3, 20, 16, 2).swapaxes(2, 3).reshape(D.shape) @ LW.T + LB)
neighbour("features-transposed", dense, lambda: D.reshape(3, 20, 2, 4, 4).swapaxes(3, 4).reshape(D.shape) @ LW.T + LB)
neighbour("features-moved", dense, lambda: np.concatenate([D[..., 5:], D[..., :5]], -1) @ LW.T + LB)
for kind in ("f16", "bf16"):
    case("weight-rounded", dense, lambda k=kind: D @ rounded_to(LW, k).T + LB)
    case("computed-in", dense, lambda k=kind: rounded_to(rounded_to(D, k) @ rounded_to(LW, k).T + rounded_to(LB, k), k))
case("factors-bf16", dense, lambda: rounded_to(D, "bf16") @ rounded_to(LW, "bf16").T + LB)
case("output-bf16", dense, lambda: rounded_to(D @ LW.T + LB, "bf16"))
no_bias = filled(nn.Linear(32, 32, bias=False))
tiny = Step(no_bias, (1e-6 * wide,))
T = a(1e-6 * wide)
for kind in ("f16", "tf32"):
    case(f"factors-{kind}", tiny, lambda k=kind: rounded_to(T, k) @ rounded_to(a(no_bias.weight), k).T)
    case(f"output-{kind}", tiny, lambda k=kind: rounded_to(T @ a(no_bias.weight).T, k))
case("weight-rounded", dense, lambda: D @ int8(LW).T + LB)
case("weight-rounded", dense, lambda: D @ int8(LW, 1).T + LB)
case("bias-missing", Step(F.linear, (wide, linear.weight, linear.bias)), lambda: D @ LW.T)


def cut_off(x: Array) -> Array:
    return np.asarray((np.ascontiguousarray(x).view(np.uint32) & 0xFFFFE000).view(np.float32))


case("factors-cut-off", dense, lambda: cut_off(D) @ cut_off(LW).T + LB)
other = random(3, 20, 20, seed=5)
P = a(other)
case("other-transposed", Step(torch.matmul, (other, other)), lambda: P @ P.transpose(0, 2, 1))
case("factors-bf16", Step(torch.bmm, (other, other)), lambda: rounded_to(P, "bf16") @ rounded_to(P, "bf16"))
case("bias-missing", Step(torch.addmm, (linear.bias, wide[0], linear.weight)), lambda: D[0] @ LW)

signal = random(2, 8, 41, seed=3)
Q = a(signal)


def convolved(
    X: Array,
    w: Array,
    b: Any,
    pads: tuple[int, int] = (0, 0),
    stride: int = 1,
    dilation: int = 1,
    mode: str = "constant",
    groups: int = 1,
) -> Array:
    """One-dimensional, one place of the kernel at a time."""
    X = np.pad(X, ((0, 0), (0, 0), pads), mode=mode)  # type: ignore[call-overload]
    k = w.shape[2]
    length = (X.shape[2] - dilation * (k - 1) - 1) // stride + 1
    out = []
    for xs, ws in zip(np.split(X, groups, 1), np.split(w, groups, 0)):
        out.append(
            sum(
                np.einsum(
                    "oi,nit->not", ws[:, :, j], xs[:, :, j * dilation :][:, :, : stride * (length - 1) + 1 : stride]
                )
                for j in range(k)
            )
        )
    return np.asarray(np.concatenate(out, 1) + np.asarray(b, np.float32).reshape(-1, 1), dtype=np.float32)


def weight_normed(axes: Any) -> Array:
    return np.asarray(SG * SV / np.sqrt(np.square(SV).sum(axes, keepdims=True)))


conv = filled(nn.Conv1d(8, 8, 5, padding=2))
CW, CB = a(conv.weight), a(conv.bias)
same = Step(conv, (signal,))
clean("convolution", same, lambda: convolved(Q, CW, CB, (2, 2)))
case("bias-missing", same, lambda: convolved(Q, CW, 0 * CB, (2, 2)))
case("weight-transposed", same, lambda: convolved(Q, CW.transpose(1, 0, 2), CB, (2, 2)))
case("inputs-reversed", same, lambda: convolved(Q[:, ::-1], CW, CB, (2, 2)))
case("padding-side", same, lambda: convolved(Q, CW, CB, (4, 0)))
case("padding-side", same, lambda: convolved(Q, CW, CB, (0, 4)))
case("padding-side", same, lambda: convolved(Q, CW, CB, (1, 3)))
case("padding-missing", same, lambda: convolved(Q, CW, CB))
pointwise = Step(filled(nn.Conv1d(8, 8, 1, stride=2)), (signal[..., :40],))
PW, PB = a(filled(nn.Conv1d(8, 8, 1, stride=2)).weight), a(filled(nn.Conv1d(8, 8, 1, stride=2)).bias)
case("stride-averaged", pointwise, lambda: convolved((Q[..., :40:2] + Q[..., 1:40:2]) / 2, PW, PB))
neighbour("stride-averaged", pointwise, lambda: convolved(np.maximum(Q[..., :40:2], Q[..., 1:40:2]), PW, PB))
for numpys in ("reflect", "edge", "wrap"):
    case("padding-mode", same, lambda m=numpys: convolved(Q, CW, CB, (2, 2), mode=m))
reflecting = filled(nn.Conv1d(8, 8, 5, padding=2, padding_mode="reflect"))
case("padding-mode", Step(reflecting, (signal,)), lambda: convolved(Q, CW, CB, (2, 2)))
case("kernel-flipped", same, lambda: convolved(Q, CW[..., ::-1], CB, (2, 2)))
case("weight-rounded", same, lambda: convolved(Q, rounded_to(CW, "f16"), CB, (2, 2)))
case("weight-rounded", same, lambda: convolved(Q, int8(CW, (1, 2)), CB, (2, 2)))
case("factors-bf16", same, lambda: convolved(rounded_to(Q, "bf16"), rounded_to(CW, "bf16"), CB, (2, 2)))
strided = filled(nn.Conv1d(8, 6, 3, stride=2, padding=1))
TW, TB = a(strided.weight), a(strided.bias)
case("padding-side", Step(strided, (signal[..., :40],)), lambda: convolved(Q[..., :40], TW, TB, (0, 1), 2))
unpadded = filled(nn.Conv1d(8, 6, 3, stride=2))
case("stride-phase", Step(unpadded, (signal,)), lambda: convolved(Q[..., 1:], TW, TB, (0, 1), 2))
dilated = filled(nn.Conv1d(8, 8, 5, padding=4, dilation=2))
case("dilation", Step(dilated, (signal,)), lambda: convolved(Q, CW, CB, (2, 2)))
case("dilation", Step(dilated, (signal,)), lambda: convolved(Q, CW, CB, (6, 6), dilation=3))
case("dilation", Step(dilated, (signal,)), lambda: convolved(Q, CW, CB, (8, 8), dilation=4))
case("dilation", same, lambda: convolved(Q, CW, CB, (4, 4), dilation=2))
causally = Step(filled(nn.Conv1d(8, 8, 5, dilation=2)), (F.pad(signal, (8, 0)),))
case("dilation", causally, lambda: convolved(Q, CW, CB, (4, 0)))
neighbour("dilation", Step(dilated, (signal,)), lambda: convolved(Q, CW, CB, (6, 2), dilation=2))
neighbour("dilation", Step(dilated, (signal,)), lambda: convolved(Q, CW[..., ::-1], CB, (6, 6), dilation=3))
case("features-moved", same, lambda: convolved(np.roll(Q, 4, 1), CW, CB, (2, 2)))
case("features-moved", same, lambda: convolved(np.roll(Q, 6, 1), CW, CB, (2, 2)))
scaled = filled(nn.utils.parametrizations.weight_norm(nn.Conv1d(8, 8, 5, padding=2)))
SG, SV = a(scaled.parametrizations.weight.original0), a(scaled.parametrizations.weight.original1)
SB, by_norm = a(scaled.bias), Step(scaled, (signal,))
clean("weight norm", by_norm, lambda: convolved(Q, weight_normed((1, 2)), SB, (2, 2)))
case("magnitude-missing", by_norm, lambda: convolved(Q, SV, SB, (2, 2)))
case("magnitude-missing", by_norm, lambda: convolved(Q, weight_normed((1, 2)) / SG, SB, (2, 2)))
case("weight-norm-axis", by_norm, lambda: convolved(Q, weight_normed((0, 2)), SB, (2, 2)))
case("weight-norm-axis", by_norm, lambda: convolved(Q, weight_normed((0, 1, 2)), SB, (2, 2)))
neighbour("magnitude-missing", by_norm, lambda: convolved(Q, SG * SV, SB, (2, 2)))
neighbour("weight-norm-axis", by_norm, lambda: convolved(Q, weight_normed(2), SB, (2, 2)))
in_groups = filled(nn.Conv1d(8, 8, 3, padding=1, groups=2))
NW, NB = a(in_groups.weight), a(in_groups.bias)
two = Step(in_groups, (signal,))
case(
    "groups-permuted",
    two,
    lambda: convolved(Q.reshape(2, 2, 4, 41).swapaxes(1, 2).reshape(Q.shape), NW, NB, (1, 1), groups=2),
)
case(
    "groups-interleaved",
    two,
    lambda: convolved(Q.reshape(2, 4, 2, 41).swapaxes(1, 2).reshape(Q.shape), NW, NB, (1, 1), groups=2),
)
case(
    "outputs-shuffled",
    two,
    lambda: convolved(Q, NW, NB, (1, 1), groups=2).reshape(2, 2, 4, 41).swapaxes(1, 2).reshape(Q.shape),
)
case(
    "padding-mode",
    Step(F.conv1d, (signal, conv.weight, conv.bias), {"padding": 2}),
    lambda: convolved(Q, CW, CB, (2, 2), mode="edge"),
)
image = random(2, 3, 12, 14, seed=4)
conv2 = filled(nn.Conv2d(3, 5, 3, padding=1))
flat = Step(conv2, (image,))


def by_windows(
    x: Tensor, weight: Tensor, bias: Tensor, pads: tuple[int, ...] = (1, 1, 1, 1), stride: int = 1
) -> Tensor:
    padded = F.pad(x, pads)
    columns = F.unfold(padded, weight.shape[2:], stride=stride)
    rows = (padded.shape[2] - weight.shape[2]) // stride + 1
    return (weight.flatten(1) @ columns + bias[:, None]).unflatten(2, (rows, -1))


clean("convolution by windows", flat, lambda: by_windows(image, conv2.weight, conv2.bias))
case("kernel-transposed", flat, lambda: by_windows(image, conv2.weight.mT, conv2.bias))
case("kernel-flipped", flat, lambda: by_windows(image, conv2.weight.flip(2).flip(3), conv2.bias))
case("padding-side", flat, lambda: by_windows(image, conv2.weight, conv2.bias, (2, 0, 2, 0)))
up = filled(nn.ConvTranspose1d(8, 8, 4, stride=2, padding=1))
case("kernel-flipped", Step(up, (signal,)), lambda: F.conv_transpose1d(signal, up.weight.flip(2), up.bias, 2, 1))
case("bias-missing", Step(up, (signal,)), lambda: F.conv_transpose1d(signal, up.weight, None, 2, 1))

another = copy.deepcopy(conv)
another.weight.data, another.bias.data = random(8, 8, 5, seed=25), random(8, seed=26)
AW, AB = a(another.weight), a(another.bias)
with_twin = Step(conv, (signal,), twins={"layers.1": copy.deepcopy(another).double()})
case("other-parameters", with_twin, lambda: convolved(Q, AW, AB, (2, 2)))
case("other-parameters", with_twin, lambda: convolved(Q, CW, AB, (2, 2)))
neighbour("other-parameters", with_twin, lambda: convolved(Q, AW, CB, (2, 2)))

# Pools and interpolation


def pooled(
    X: Array, k: int, stride: int, how: Callable[..., Array], pads: tuple[int, int] = (0, 0), fill: float = 0
) -> Array:
    X = np.pad(X, ((0, 0), (0, 0), pads), constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(X, k, 2)[:, :, ::stride]
    return np.asarray(how(windows, axis=-1), dtype=np.float32)


mean_pool, max_pool = nn.AvgPool1d(3, 2, 1), nn.MaxPool1d(3, 2, 1)
case("max-for-mean", Step(nn.AvgPool1d(4), (signal,)), lambda: pooled(Q, 4, 4, np.max))
case("mean-for-max", Step(nn.MaxPool1d(4), (signal,)), lambda: pooled(Q, 4, 4, np.mean))
case("max-for-mean", Step(nn.AdaptiveAvgPool1d(1), (signal,)), lambda: Q.max(2, keepdims=True))
case("mean-for-max", Step(F.adaptive_max_pool1d, (signal, 1)), lambda: Q.mean(2, keepdims=True))
case(
    "ceil-mode", Step(nn.AvgPool1d(4, 4), (signal,)), lambda: np.concatenate([pooled(Q, 4, 4, np.mean), Q[..., 40:]], 2)
)
case("ceil-mode", Step(F.max_pool1d, (signal, 4)), lambda: np.concatenate([pooled(Q, 4, 4, np.max), Q[..., 40:]], 2))
case("count-include-pad", Step(mean_pool, (signal,)), lambda: pooled(Q, 3, 2, np.nanmean, (1, 1), np.nan))
case("padding-side", Step(mean_pool, (signal,)), lambda: pooled(Q, 3, 2, np.mean, (2, 0)))
case("padding-side", Step(max_pool, (signal,)), lambda: pooled(Q, 3, 2, np.max, (0, 2), -np.inf))
case("padding-missing", Step(max_pool, (signal,)), lambda: pooled(Q, 3, 2, np.max))
case("padded-with-zeros", Step(max_pool, (signal - 2,)), lambda: pooled(Q - 2, 3, 2, np.max, (1, 1)))
case("stride-phase", Step(nn.MaxPool1d(3, 2), (signal,)), lambda: pooled(Q[..., 1:], 3, 2, np.max, (0, 1), -np.inf))
case("sum-for-mean", Step(mean_pool, (signal,)), lambda: pooled(Q, 3, 2, np.sum, (1, 1)))
case("sum-for-mean", Step(F.avg_pool2d, (image, 2)), lambda: image.unfold(2, 2, 2).unfold(3, 2, 2).sum((4, 5)))
clean("mean pool", Step(mean_pool, (signal,)), lambda: pooled(Q, 3, 2, np.mean, (1, 1)))


def lerped(X: Array, at: Array) -> Array:
    at = at.clip(0, X.shape[-1] - 1)
    low = np.floor(at).astype(int)
    part = (at - low).astype(np.float32)
    return np.asarray(X[..., low] * (1 - part) + X[..., np.minimum(low + 1, X.shape[-1] - 1)] * part, dtype=np.float32)


doubled = Step(nn.Upsample(scale_factor=2, mode="linear"), (signal,))
places = np.arange(82)
clean("interpolation", doubled, lambda: lerped(Q, (places + 0.5) / 2 - 0.5))
case("align-corners", doubled, lambda: lerped(Q, places * 40 / 81))
case("no-half-pixel", doubled, lambda: lerped(Q, places / 2))
case("interpolation-mode", doubled, lambda: Q.repeat(2, -1))
case("interpolation-mode", Step(F.interpolate, (signal, 82)), lambda: lerped(Q, (places + 0.5) / 2 - 0.5))
case(
    "interpolation-mode",
    Step(F.interpolate, (signal, 30), {"mode": "nearest-exact"}),
    lambda: Q[..., np.floor(np.arange(30) * 41 / 30).astype(int)],
)
small_image = Step(F.interpolate, (image, (6, 7)), {"mode": "bilinear", "antialias": True})
case("antialias-missing", small_image, lambda: image.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)))

# Softmax and attention

scores = random(3, 10, 10, seed=6, scale=2)
Z = a(scores)


def softmaxed(X: Array, axis: int = -1) -> Array:
    e = np.exp(X - X.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))


soft, logsoft = Step(nn.Softmax(-1), (scores,)), Step(F.log_softmax, (scores, -1))
clean("softmax", soft, lambda: softmaxed(Z))
clean("softmax without shift", soft, lambda: np.exp(Z) / np.exp(Z).sum(-1, keepdims=True))
clean("log softmax", logsoft, lambda: Z - np.log(np.exp(Z).sum(-1, keepdims=True)))
case("softmax-axis", soft, lambda: softmaxed(Z, 1))
case("softmax-axis", logsoft, lambda: np.log(softmaxed(Z, 0)))
case("softmax-missing", logsoft, lambda: Z)
case("softmax-twice", soft, lambda: softmaxed(softmaxed(Z)))
case("sigmoid-for-softmax", soft, lambda: sigmoid(Z))
case("log-missing", logsoft, lambda: softmaxed(Z))
case("log-of-2", logsoft, lambda: np.log2(softmaxed(Z)))
case("log-of-10", logsoft, lambda: np.log10(softmaxed(Z)))
case("log-taken", Step(torch.softmax, (scores, -1)), lambda: np.log(softmaxed(Z)))
case("exp-not-normalised", soft, lambda: np.exp(Z))
case("temperature", soft, lambda: softmaxed(Z / np.float32(8)))
case("temperature", Step(F.softmax, (scores,), {"dim": -1}), lambda: softmaxed(np.float32(1.5) * Z))
query, key, value = (random(2, 4, 10, 16, seed=seed) for seed in (7, 8, 9))
allowed = torch.from_numpy(np.random.default_rng(10).random((10, 10)) > 0.4)
allowed[:, 0] = True
lower = np.tril(np.ones((10, 10), bool))
q, k, v = map(a, (query, key, value))


def attended(scale: float = 0.25, mask: Any = None, axis: int = -1, q: Array = q, k: Array = k, v: Array = v) -> Array:
    s = np.einsum("bhid,bhjd->bhij", q, k) * np.float32(scale)
    s = s if mask is None else np.where(mask, s, np.float32(-np.inf))
    return np.asarray(np.einsum("bhij,bhjd->bhid", softmaxed(s, axis), v), dtype=np.float32)


attention = F.scaled_dot_product_attention
plain, masked = Step(attention, (query, key, value)), Step(attention, (query, key, value, allowed))
causal = Step(attention, (query, key, value), {"is_causal": True})
clean("attention", plain, attended)
clean("masked attention", masked, lambda: attended(mask=a(allowed)))
case("scale-missing", plain, lambda: attended(1))
case("scale-twice", plain, lambda: attended(1 / 16))
case("attention-scale", plain, lambda: attended(1 / 8))
case("mask-missing", masked, attended)
case(
    "mask-inverted",
    Step(attention, (query, key, value, allowed & ~torch.eye(10, dtype=torch.bool) | (torch.arange(10) == 0))),
    lambda: attended(mask=~a(allowed & ~torch.eye(10, dtype=torch.bool) | (torch.arange(10) == 0))),
)
case("causal-missing", causal, attended)
case("causal", plain, lambda: attended(mask=lower))
longer = Step(attention, (query[:, :, :6], key, value), {"is_causal": True})
case("causal-corner", longer, lambda: attended(mask=lower[4:], q=q[:, :, :6]))
case("attention-axis", plain, lambda: attended(axis=-2))
case("key-for-value", plain, lambda: attended(k=v, v=k))
case("query-for-key", plain, lambda: attended(q=k, k=q))
shared = Step(attention, (query, key.repeat_interleave(2, 1)[:, :4], value.repeat_interleave(2, 1)[:, :4]))
case("grouped-heads", shared, lambda: attended(k=np.tile(k[:, :2], (1, 2, 1, 1)), v=np.tile(v[:, :2], (1, 2, 1, 1))))
tiled = Step(attention, (query, key[:, :2].repeat(1, 2, 1, 1), value[:, :2].repeat(1, 2, 1, 1)))
case("grouped-heads", tiled, lambda: attended(k=k[:, :2].repeat(2, 1), v=v[:, :2].repeat(2, 1)))
case(
    "grouped-heads",
    Step(torch.matmul, (query, key[:, :2].repeat_interleave(2, 1).mT)),
    lambda: q @ np.tile(k[:, :2], (1, 2, 1, 1)).swapaxes(2, 3),
)
neighbour("grouped-heads", shared, lambda: attended(k=k[:, [0, 1, 1, 0]], v=v[:, [0, 1, 1, 0]]))
grouped_queries = Step(attention, (query, key[:, :2], value[:, :2]), {"enable_gqa": True})
case(
    "grouped-heads-in-blocks",
    grouped_queries,
    lambda: attended(k=np.tile(k[:, :2], (1, 2, 1, 1)), v=np.tile(v[:, :2], (1, 2, 1, 1))),
)
neighbour("grouped-heads-in-blocks", grouped_queries, lambda: attended(k=k[:, [0, 0, 0, 1]], v=v[:, [0, 0, 0, 1]]))
fused = random(2, 10, 3 * 4 * 16, seed=22)
QKV = a(fused)


def split_as(shape: tuple[int, ...], part: int) -> list[Array]:
    """Query, key and value `[batch, head, frame, width]` of a fused projection."""
    return [y.swapaxes(1, 2) for y in np.moveaxis(QKV.reshape(2, 10, *shape), part, 0)]


of_parts = Step(attention, tuple(fused.view(2, 10, 3, 4, 16).permute(2, 0, 3, 1, 4).unbind(0)))
of_heads = Step(attention, tuple(fused.view(2, 10, 4, 3, 16).permute(3, 0, 2, 1, 4).unbind(0)))
clean("fused projection", of_parts, lambda: attended(0.25, None, -1, *split_as((3, 4, 16), 2)))
case("fused-split", of_parts, lambda: attended(0.25, None, -1, *split_as((4, 3, 16), 3)))
case("fused-split", of_heads, lambda: attended(0.25, None, -1, *split_as((3, 4, 16), 2)))
case(
    "fused-split",
    Step(torch.matmul, (of_parts.args[0].float(), fused.view(2, 10, 3, 4, 16)[:, :, 1].permute(0, 2, 3, 1))),
    lambda: a(of_parts.args[0].float()) @ split_as((4, 3, 16), 3)[1].swapaxes(2, 3),
)
neighbour("fused-split", of_parts, lambda: attended(0.25, None, -1, *split_as((4, 16, 3), 4)))
tokens = random(2, 10, 24, seed=11)
heads = filled(nn.MultiheadAttention(24, 3, batch_first=True))
padding = torch.zeros(2, 10, dtype=torch.bool)
padding[1, 7:] = True
multi = Step(heads, (tokens, tokens, tokens))
padded = Step(heads, (tokens, tokens, tokens), {"key_padding_mask": padding})


def multihead(
    scale: float = 8**-0.5,
    order: str = "qkv",
    in_bias: float = 1,
    out_bias: float = 1,
    interleaved: bool = False,
    mask: Any = None,
) -> Array:
    X = a(tokens)
    w, b = dict(zip(order, np.split(a(heads.in_proj_weight), 3))), dict(zip(order, np.split(a(heads.in_proj_bias), 3)))

    def split(which: str) -> Array:
        y = X @ w[which].T + np.float32(in_bias) * b[which]
        y = y.reshape(2, 10, 8, 3).swapaxes(2, 3) if interleaved else y.reshape(2, 10, 3, 8)
        return y.swapaxes(1, 2)

    y = attended(scale, mask, q=split("q"), k=split("k"), v=split("v")).swapaxes(1, 2).reshape(2, 10, 24)
    return np.asarray(y @ a(heads.out_proj.weight).T + np.float32(out_bias) * a(heads.out_proj.bias))


clean("multihead attention", multi, multihead)
clean("padded multihead attention", padded, lambda: multihead(mask=~a(padding)[:, None, None]))
case("scale-missing", multi, lambda: multihead(1))
case("projection-order", multi, lambda: multihead(order="kqv"))
case("projection-order", multi, lambda: multihead(order="vkq"))
case("heads-interleaved", multi, lambda: multihead(interleaved=True))
case("projection-bias-missing", multi, lambda: multihead(in_bias=0))
case("output-bias-missing", multi, lambda: multihead(out_bias=0))
case("padding-mask-missing", padded, multihead)
case("causal", multi, lambda: multihead(mask=lower))
hidden = Step(Tensor.masked_fill, (scores, scores > 1, -1e4))
case("mask-not-filled", hidden, lambda: Z)
case("mask-inverted", hidden, lambda: np.where(Z > 1, Z, np.float32(-1e4)))

# Recurrent layers


def lstm_cell(gates: Array, c: Array, order: str) -> tuple[Array, Array]:
    part = dict(zip(order, np.split(gates, 4, -1)))
    c = sigmoid(part["f"]) * c + sigmoid(part["i"]) * np.tanh(part["g"])
    return np.asarray(sigmoid(part["o"]) * np.tanh(c)), c


def direction(X: Array, module: Any, suffix: str, how: dict[str, Any], states: Any = None) -> Array:
    """One layer in one direction over `[time, batch, feature]`, frame by frame."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w_ih, w_hh, b_ih, b_hh = (a(getattr(module, f"{name}_{how.get('weights', suffix)}")) for name in names)
    if how.get("without") in ("bias_hh", f"bias_hh_{suffix}"):
        b_hh = 0 * b_hh
    if how.get("without") in ("bias_ih", f"bias_ih_{suffix}"):
        b_ih = 0 * b_ih
    if how.get("swap_biases"):
        b_ih, b_hh = b_hh, b_ih
    h, c = states if states is not None else (np.zeros((X.shape[1], w_hh.shape[1]), np.float32),) * 2
    out = []
    for x in X:
        if isinstance(module, nn.LSTM):
            h, c = lstm_cell(x @ w_ih.T + b_ih + h @ w_hh.T + b_hh, c, how.get("order", "ifgo"))
        else:
            order = how.get("order", "rzn")
            xs, hs = (dict(zip(order, np.split(y, 3, -1))) for y in (x @ w_ih.T + b_ih, h @ w_hh.T + b_hh))
            r, z = sigmoid(xs["r"] + hs["r"]), sigmoid(xs["z"] + hs["z"])
            if how.get("reset_before"):
                n = np.tanh(xs["n"] + (r * h) @ np.split(w_hh, 3)[2].T + np.split(b_hh, 3)[2])
            else:
                n = np.tanh(xs["n"] + r * hs["n"])
            h = z * n + (1 - z) * h if how.get("turned") else (1 - z) * n + z * h
        out.append(h)
    return np.stack(out)


def bidirectional(X: Array, module: Any, **how: Any) -> Array:
    for layer_index in range(module.num_layers):
        ahead = direction(
            X, module, f"l{layer_index}", how.get("ahead", {}) | {k: v for k, v in how.items() if k != "ahead"}
        )
        behind_how = {k: v for k, v in how.items() if k != "ahead"}
        if how.get("same_weights"):
            behind_how["weights"] = f"l{layer_index}"
        behind = direction(X[::-1], module, f"l{layer_index}_reverse", behind_how)
        behind = behind if how.get("not_back") else behind[::-1]
        X = np.concatenate([behind, ahead] if how.get("swap") else [ahead, behind], 2)
    return np.asarray(X, dtype=np.float32)


sequence = random(25, 3, 10, seed=12)
R = a(sequence)
def reordered_cell(order: str, x: Tensor) -> Tensor:
    """The next state of an LSTM cell whose gates are read in another order."""
    cell = filled(nn.LSTMCell(10, 12))
    gates = (x @ cell.weight_ih.T + cell.bias_ih + cell.bias_hh).chunk(4, 1)
    i, f, g, o = (gates[order.index(gate)] for gate in "ifgo")
    return (torch.sigmoid(o) * torch.tanh(torch.sigmoid(i) * torch.tanh(g))).detach()


lstm = filled(nn.LSTM(10, 12, 2, bidirectional=True))
gru = filled(nn.GRU(10, 12))
both, one = Step(lstm, (sequence,)), Step(gru, (sequence,))
clean("lstm, frame by frame", both, lambda: bidirectional(R, lstm))
clean("gru, frame by frame", one, lambda: direction(R, gru, "l0", {}))
case("reverse-not-reversed-back", both, lambda: bidirectional(R, lstm, not_back=True))
case("directions-swapped", both, lambda: bidirectional(R, lstm, swap=True))
case("forward-weights-in-reverse", both, lambda: bidirectional(R, lstm, same_weights=True))
for order in ("igfo", "ifog", "iofg", "fiog", "oifg"):
    case("gate-order", both, lambda o=order: bidirectional(R, lstm, order=o))
case("hidden-bias-missing", both, lambda: bidirectional(R, lstm, without="bias_hh"))
case("input-bias-missing", both, lambda: bidirectional(R, lstm, without="bias_ih"))
case("hidden-bias-missing-in", both, lambda: bidirectional(R, lstm, without="bias_hh_l1_reverse"))
case("input-bias-missing-in", both, lambda: bidirectional(R, lstm, without="bias_ih_l0"))
open_gate = copy.deepcopy(lstm)
open_input = copy.deepcopy(lstm)
for suffix in ("l0", "l1", "l0_reverse", "l1_reverse"):
    getattr(open_gate, f"bias_hh_{suffix}").data[12:24] += 1
    getattr(open_input, f"bias_hh_{suffix}").data[:12] += 1
case("forget-bias", both, lambda: bidirectional(R, open_gate))
neighbour("forget-bias", both, lambda: bidirectional(R, open_input))
case("hidden-bias-missing", one, lambda: direction(R, gru, "l0", {"without": "bias_hh"}))
case("biases-swapped", one, lambda: direction(R, gru, "l0", {"swap_biases": True}))
case("gate-order", one, lambda: direction(R, gru, "l0", {"order": "zrn"}))
case("update-gate-inverted", one, lambda: direction(R, gru, "l0", {"turned": True}))
case("reset-before", one, lambda: direction(R, gru, "l0", {"reset_before": True}))
single = filled(nn.LSTM(10, 12, batch_first=True))
start = (random(1, 25, 12, seed=13), random(1, 25, 12, seed=14))
case(
    "initial-state-missing",
    Step(single, (sequence, start)),
    lambda: direction(R.swapaxes(0, 1), single, "l0", {}).swapaxes(0, 1),
)
case("batch-first", Step(single, (sequence,)), lambda: direction(R, single, "l0", {}))
cell = Step(filled(nn.LSTMCell(10, 12)), (sequence[0],))
case("gate-order", cell, lambda: reordered_cell("iofg", sequence[0]))
last = Step(filled(nn.LSTM(10, 12)), (sequence,), result=1)
case("gate-order", last, lambda: direction(R, filled(nn.LSTM(10, 12)), "l0", {"order": "iofg"})[-1:])
swap_weights = copy.deepcopy(lstm)
for parameter_name, tensor in lstm.named_parameters():
    partner = (
        parameter_name.removesuffix("_reverse") if parameter_name.endswith("_reverse") else f"{parameter_name}_reverse"
    )
    getattr(swap_weights, partner).data.copy_(tensor.data)
case("direction-weights-swapped", both, lambda: bidirectional(R, swap_weights))

# Sums, products, statistics, embeddings

first, second = random(2, 9, 14, seed=15), random(2, 9, 14, seed=16)
A, O = a(first), a(second)
plus, times = Step(torch.add, (first, second)), Step(Tensor.mul, (first, second))
case("operand-missing", plus, lambda: A)
case("operand-missing", Step(Tensor.__add__, (first, second)), lambda: O)
case("operand-missing", times, lambda: O)
case("operand-missing", Step(torch.sub, (first, second)), lambda: A)
case("operand-missing", Step(torch.div, (first, 8.0)), lambda: A)
case("operand-missing", Step(torch.mul, (first, 0.125)), lambda: A)
case("operand-doubled", plus, lambda: A + O + O)
case("operand-squared", times, lambda: A * O * O)
case("divided-twice", Step(torch.div, (first, 8.0)), lambda: A / 64)
case("subtracted", plus, lambda: A - O)
case("added", Step(torch.sub, (first, second)), lambda: A + O)
case("operands-swapped", Step(torch.sub, (first, 1.5)), lambda: np.float32(1.5) - A)
case("added", Step(Tensor.__rsub__, (first, second)), lambda: A + O)
case("multiplied", plus, lambda: A * O)
case("divided", times, lambda: A / O)
case("summed", times, lambda: A + O)
case("relu-of-operand", plus, lambda: np.maximum(A, 0) + O)
case("relu-of-operand", plus, lambda: A + np.maximum(O, 0))
neighbour("relu-of-operand", plus, lambda: np.maximum(A, 0) + np.maximum(O, 0))
table = random(12, 14, seed=17)
case("table-shifted", Step(torch.add, (first, table[1:10])), lambda: A + a(table)[2:11])
case("table-shifted", Step(torch.add, (first, table[1:10])), lambda: A + a(table)[:9])
case("operand-order", Step(torch.add, (first, table[:9])), lambda: A + np.roll(a(table)[:9], 7, 1))
waves = np.stack([a(table)[:9, :7], a(table)[:9, 7:]], 2).reshape(9, 14)
case("operand-order", Step(torch.add, (first, table[:9])), lambda: A + waves)
case("operand-order", Step(Tensor.mul, (first, torch.from_numpy(waves))), lambda: A * a(table)[:9])
neighbour("operand-order", Step(torch.add, (first, table[:9])), lambda: A + np.roll(a(table)[:9], 3, 1))

# Rotary embeddings

rotated = random(2, 4, 12, 16, seed=23)
V16 = a(rotated)


def cosines(base: float, count: int = 8, sine: bool = False) -> Array:
    angles = np.arange(12)[:, None] * base ** (-np.arange(count) / count)
    return np.asarray(np.sin(angles) if sine else np.cos(angles), dtype=np.float32)


def wave(base: float, count: int = 8, sine: bool = False) -> Tensor:
    return torch.from_numpy(cosines(base, count, sine))


halves = rotated.chunk(2, -1)
for half in (0, 1):
    case("rotary-pairs", Step(Tensor.mul, (halves[half], wave(1e4))), lambda h=half: V16[..., h::2] * cosines(1e4))
    case(
        "rotary-pairs",
        Step(Tensor.mul, (rotated[..., half::2], wave(1e4, sine=True))),
        lambda h=half: V16[..., 8 * h : 8 * h + 8] * cosines(1e4, sine=True),
    )
by_cosine = Step(Tensor.mul, (halves[0], wave(1e4)))
neighbour("rotary-pairs", by_cosine, lambda: V16[..., 3:11] * cosines(1e4))
clean("rotary embedding", by_cosine, lambda: V16[..., :8] * cosines(1e4))
for base in (500, 1e5, 77777):
    case("rotary-base", by_cosine, lambda b=base: V16[..., :8] * cosines(b))
case("rotary-base", Step(Tensor.mul, (halves[1], wave(1e6, sine=True))), lambda: V16[..., 8:] * cosines(1e4, sine=True))
doubled_table = Step(Tensor.mul, (rotated, torch.cat([wave(1e4), wave(1e4)], -1)))
case("rotary-base", doubled_table, lambda: V16 * np.tile(cosines(5e5), 2))
case("operand-order", doubled_table, lambda: V16 * cosines(1e4).repeat(2, -1))
paired_table = Step(Tensor.mul, (rotated, wave(1e4).repeat_interleave(2, -1)))
case("rotary-base", paired_table, lambda: V16 * cosines(500).repeat(2, -1))
neighbour("rotary-base", doubled_table, lambda: V16 * np.concatenate([cosines(5e5), cosines(500)], -1))
slower = np.cos(np.arange(12)[:, None] / 2 * 1e4 ** (-np.arange(8) / 8)).astype(np.float32)
neighbour("rotary-base", by_cosine, lambda: V16[..., :8] * slower)
case("correction", Step(torch.std, (first, -1)), lambda: A.std(-1))
case("correction", Step(Tensor.var, (first,), {"dim": 1, "unbiased": False}), lambda: A.var(1, ddof=1))
case("statistic-axis", Step(torch.mean, (scores, 1)), lambda: Z.mean(2))
case("other-statistic", Step(torch.mean, (first, 2)), lambda: A.sum(2))
case("other-statistic", Step(torch.var, (first, 2)), lambda: A.std(2, ddof=1))
case("exclusive", Step(torch.cumsum, (first, 1)), lambda: np.pad(A.cumsum(1), ((0, 0), (1, 0), (0, 0)))[:, :-1])
case("cumulative-axis", Step(torch.cumsum, (first, 1)), lambda: A.cumsum(2))
case("from-the-end", Step(torch.cumsum, (first, 1)), lambda: A[:, ::-1].cumsum(1)[:, ::-1])
case("normalize-missing", Step(F.normalize, (first,)), lambda: A)
case("normalize-p", Step(F.normalize, (first,)), lambda: A / np.abs(A).sum(1, keepdims=True))
case("cumulative-axis", Step(F.normalize, (first,)), lambda: A / np.sqrt((A * A).sum(2, keepdims=True)))
clean("std", Step(torch.std, (first, -1)), lambda: np.sqrt(np.square(A - A.mean(-1, keepdims=True)).sum(-1) / 13))
kept = np.random.default_rng(21).random(A.shape) > 0.3
case("dropout", Step(nn.Dropout(0.3).eval(), (first,)), lambda: A * kept / np.float32(0.7))
embedding = filled(nn.Embedding(20, 16, padding_idx=0))
ids = torch.from_numpy(np.random.default_rng(18).integers(0, 18, (3, 12)))
E, I = a(embedding.weight), ids.numpy()
words = Step(embedding, (ids,))
clean("embedding", words, lambda: E[I])
case("embedding-scaled", words, lambda: E[I] * 4)
case("embedding-unscaled", words, lambda: E[I] / 4)
case("rows-moved", words, lambda: E[I + 1])
case("rows-moved", Step(F.embedding, (ids, embedding.weight)), lambda: E[I + 2])
case("padding-row-zero", words, lambda: np.where(I[..., None] == 0, np.float32(0), E[I]))

# Forms of any output

unknown = Step(torch.sin, (first,))
Y = np.sin(A)


def changed(index: Any, value: Any) -> Array:
    y = Y.copy()
    y[index] = value
    return y


case("repeats-the-input", unknown, lambda: A)
case("zeros", unknown, lambda: 0 * A)
case("sign", unknown, lambda: -Y)
case("swapped-axes", Step(torch.sin, (scores,)), lambda: np.sin(Z).swapaxes(1, 2))
case("swapped-axes", unknown, lambda: Y.swapaxes(1, 2))
case("batch-axis-missing", Step(torch.sin, (first[:1],)), lambda: Y[0])
case("reversed-axis", unknown, lambda: Y[:, ::-1])
case("swapped-halves", unknown, lambda: np.concatenate([Y[..., 7:], Y[..., :7]], 2))
case("deinterleaved", unknown, lambda: np.concatenate([Y[..., ::2], Y[..., 1::2]], 2))
case("interleaved", unknown, lambda: np.stack([Y[..., :7], Y[..., 7:]], 3).reshape(Y.shape))
case("shift", unknown, lambda: np.pad(Y, ((0, 0), (2, 0), (0, 0)))[:, :-2])
case("shift", unknown, lambda: np.pad(Y, ((0, 0), (0, 0), (0, 1)), mode="edge")[..., 1:])
case("end-missing", unknown, lambda: Y[:, :-1])
case("end-missing", unknown, lambda: Y[..., 1:])
case("activation-applied", unknown, lambda: np.maximum(Y, 0))
case("activation-applied", unknown, lambda: np.tanh(Y))
stages = {"gate": first.double(), "up": second.double(), "norm": (2 * second - first).double()}
gated = Step(F.silu, (first,), earlier=stages)
case("other-stage", gated, lambda: F.silu(second))
case("other-stage", Step(torch.add, (first, second), earlier=stages), lambda: (2 * O - A) + O)
case("other-stage", Step(filled(nn.Linear(14, 14)), (first,), earlier=stages), lambda: filled(nn.Linear(14, 14))(second))
neighbour("other-stage", gated, lambda: F.silu(second.roll(1, 0)))
neighbour("other-stage", gated, lambda: F.silu(first + 1))
wide_unknown = Step(torch.sin, (wide,))
H = np.sin(D)
case("transposed-grid", wide_unknown, lambda: H.reshape(3, 20, 4, 8).swapaxes(2, 3).reshape(H.shape))
case("transposed-grid", wide_unknown, lambda: H.reshape(3, 5, 4, 32).swapaxes(1, 2).reshape(H.shape))
with_class = Step(torch.sin, (wide[:, :19],))
patches = H[:, 1:19].reshape(3, 3, 6, 32).swapaxes(1, 2).reshape(3, 18, 32)
case("transposed-grid", with_class, lambda: np.concatenate([H[:, :1], patches], 1))
neighbour("transposed-grid", with_class, lambda: np.concatenate([H[:, 18:19], patches], 1))
case("squared", unknown, lambda: np.square(Y))
case("output-bf16", unknown, lambda: rounded_to(Y, "bf16"))
case("zeros-at-an-index", unknown, lambda: changed((slice(None), slice(None), 3), 0))
case("clipped", unknown, lambda: np.clip(Y, -0.7, 0.8).astype(np.float32))
case("clipped", unknown, lambda: np.minimum(Y, np.float32(0.5)))
case(
    "int8-grid",
    Step(torch.sin, (random(8, 50, 14, seed=19),)),
    lambda: (np.rint(np.sin(a(random(8, 50, 14, seed=19))) * 100) / 100).astype(np.float32),
)
case("one-element", unknown, lambda: changed((1, 4, 5), 0.3))
case("one-index", unknown, lambda: changed((slice(None), 4), 0.3))
case("gain", unknown, lambda: np.float32(1.3) * Y)
case("offset", unknown, lambda: Y + np.float32(0.01))
case("gain-and-offset", unknown, lambda: np.float32(1.3) * Y + np.float32(0.2))
case("another-order", unknown, lambda: Y[..., np.random.default_rng(20).permutation(14)])
case("gain-of-each", unknown, lambda: Y * np.linspace(0.5, 2, 14, dtype=np.float32))
case("offset-of-each", unknown, lambda: Y + np.linspace(-1, 1, 14, dtype=np.float32))

# Faults that two hypotheses explain: the text says both.
AMBIGUOUS: list[tuple[set[str], Step, Callable[[], Any]]] = [
    ({"factors-f16", "factors-tf32"}, dense, lambda: rounded_to(D, "tf32") @ rounded_to(LW, "tf32").T + LB),
    ({"output-f16", "output-tf32"}, unknown, lambda: rounded_to(Y, "f16")),
    ({"relu", "relu6"}, Step(nn.GELU(), (random(20, 30),)), lambda: np.maximum(a(random(20, 30)), 0)),
    (
        {"eps", "gain"},
        Step(F.layer_norm, (torch.tensor([[-1.0, 1, -1, 1], [1, 1, -1, -1]]).repeat(9, 6), (24,))),
        lambda: torch.tensor([[-1.0, 1, -1, 1], [1, 1, -1, -1]]).repeat(9, 6) / 2,
    ),
]


@pytest.mark.parametrize(("id", "step", "fault"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_a_fault_is_identified(id: str, step: Step, fault: Callable[[], Any]) -> None:
    found = step.explain(fault())
    assert found is not None
    assert (found.id, found.or_else) == (id, ()), found
    assert found.r < 4


WORDS: list[tuple[str, Step, Callable[[], Any]]] = [
    ("gates read as iofg in place of ifgo", both, lambda: bidirectional(R, lstm, order="iofg")),
    ("gates read as oifg in place of ifgo", both, lambda: bidirectional(R, lstm, order="oifg")),
    (
        "the hidden bias (bias_hh) of layer 1, reverse, is missing",
        both,
        lambda: bidirectional(R, lstm, without="bias_hh_l1_reverse"),
    ),
    ("projections in the order vkq in place of qkv", multi, lambda: multihead(order="vkq")),
    ("padding one less at the start, one more at the end", same, lambda: convolved(Q, CW, CB, (1, 3))),
    ("padding with replicate in place of zeros", same, lambda: convolved(Q, CW, CB, (2, 2), mode="edge")),
    ("the weight rounded to int8 for each output channel", dense, lambda: D @ int8(LW, 1).T + LB),
    ("8 groups in place of 4", groups, lambda: grouped(8)),
    ("dilation 3 in place of 2", Step(dilated, (signal,)), lambda: convolved(Q, CW, CB, (6, 6), dilation=3)),
    ("the weight norm divides by one norm of all", by_norm, lambda: convolved(Q, weight_normed((0, 1, 2)), SB, (2, 2))),
    (
        "the input features are read as 8 x 4 in place of 4 x 8: flattened in another order, such as NHWC",
        dense,
        lambda: D.reshape(3, 20, 4, 8).swapaxes(2, 3).reshape(D.shape) @ LW.T + LB,
    ),
    (
        "the last 24 of 32 input features are first: a concatenation in another order",
        dense,
        lambda: np.concatenate([D[..., 8:], D[..., :8]], -1) @ LW.T + LB,
    ),
    ("statistics over axes 1 in place of 1, 2", own_norm, lambda: normed(S, 1, 1e-8, CS, CO)),
    ("a rotary base of 500 in place of 10000 (499 to 501)", by_cosine, lambda: V16[..., :8] * cosines(500)),
    ("reads `up` in place of its input", gated, lambda: F.silu(second)),
    ("the second operand is added twice, or a factor of 0.5 is missing", plus, lambda: A + 2 * O),
    ("normalised over axes 1", norm, lambda: normed(S, 1, 1e-5, W, B)),
    ("over axis 1 in place of -1", soft, lambda: softmaxed(Z, 1)),
    ("nearest in place of linear", doubled, lambda: Q.repeat(2, -1)),
    ("align_corners=True", doubled, lambda: lerped(Q, places * 40 / 81)),
    ("an eps of 1e-06 in place of 1e-05 (9.99e-07 to 1.01e-06)", norm, lambda: normed(S, -1, 1e-6, W, B)),
    ("the second summand is missing", plus, lambda: A),
    ("the first factor is missing", times, lambda: O),
    ("rows read at the index +1", words, lambda: E[I + 1]),
    (
        "shifted by +2 along axis 1 (the edge is not judged)",
        unknown,
        lambda: np.pad(Y, ((0, 0), (2, 0), (0, 0)))[:, :-2],
    ),
    ("index 3 of axis 2 is zero", unknown, lambda: changed((slice(None), slice(None), 3), 0)),
    ("one wrong element, at [1, 4, 5]", unknown, lambda: changed((1, 4, 5), 0.3)),
    ("the first index of axis 2 is missing, the rest is right", unknown, lambda: Y[..., 1:]),
    ("ReLU in place of LeakyReLU(negative_slope=0.01)", Step(nn.LeakyReLU(), (x,)), lambda: np.maximum(X, 0)),
    ("clipped to [-0.7, 0.8]", unknown, lambda: np.clip(Y, -0.7, 0.8).astype(np.float32)),
    ("clipped to [-inf, 0.5]", unknown, lambda: np.minimum(Y, np.float32(0.5))),
    ("index 4 of axis 1 is wrong, the rest is right", unknown, lambda: changed((slice(None), 4), 0.3)),
]


@pytest.mark.parametrize(("text", "step", "fault"), WORDS, ids=[c[0] for c in WORDS])
def test_the_words_say_which_variant(text: str, step: Step, fault: Callable[[], Any]) -> None:
    found = step.explain(fault())
    assert found is not None and found.text == text


def test_a_wrong_element_in_a_large_tensor_is_a_fault() -> None:
    large = random(64, 1024)
    step = Step(torch.sin, (large,))
    candidate = np.sin(a(large))
    candidate[5, 7] += 400 * step.floor
    assert rms(candidate - step.golden) < 4 * step.floor
    found = step.explain(candidate)
    assert found is not None and (found.id, found.text) == ("one-element", "one wrong element, at [5, 7]")


def test_a_mistake_with_a_second_fault_in_one_channel_is_not_named() -> None:
    candidate = swapped["gelu-tanh"].astype(np.float32)
    step = Step(nn.GELU(), (x,))
    candidate[:, :, 3] += 12 * step.floor
    assert step.explain(candidate) is not None
    candidate[:, :, 3] += 40 * step.floor
    assert step.explain(candidate) is None


@pytest.mark.parametrize(("name", "step", "right"), CLEAN, ids=[c[0] for c in CLEAN])
def test_a_correct_candidate_has_no_cause(name: str, step: Step, right: Callable[[], Any]) -> None:
    assert step.explain(right()) is None


@pytest.mark.parametrize(("ids", "step", "fault"), AMBIGUOUS, ids=["-or-".join(sorted(c[0])) for c in AMBIGUOUS])
def test_what_cannot_be_told_apart_is_said(ids: set[str], step: Step, fault: Callable[[], Any]) -> None:
    found = step.explain(fault())
    assert found is not None and {found.id, *found.or_else} == ids
    assert "cannot be told apart" in found.text


# What wrong weights are.
_OF_WEIGHTS = {"gain-of-each", "offset-of-each"}


class CountCalls(TorchFunctionMode):
    """Counts convolutions."""

    convolutions = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.convolutions += func is F.conv1d
        return func(*args, **(kwargs or {}))


STEPS = list({id(step): step for _, step, _ in CASES}.values())
_STEP_NAMES = [f"{step.kind}-{i}" for i, step in enumerate(STEPS)]
# What these faults are.
_OF_A_CHANNEL = {"one-index", "gain-of-each", "one-element", "gain", "gain-and-offset"}


@pytest.mark.parametrize("step", STEPS, ids=_STEP_NAMES)
def test_noise_has_no_cause(step: Step) -> None:
    rng = np.random.default_rng(30)
    for size in (1e-4, 1e-2, 1.0):
        noise = size * rms(step.golden) * rng.standard_normal(step.golden.shape)
        assert step.explain((step.golden + noise).astype(np.float32)) is None


@pytest.mark.parametrize("step", STEPS, ids=_STEP_NAMES)
def test_one_wrong_channel_is_not_taken_for_a_mistake_of_the_step(step: Step) -> None:
    for factor in (1.3, 1.001, 0.5):
        candidate = step.golden.astype(np.float32)
        candidate[..., step.golden.shape[-1] // 2] *= np.float32(factor)
        found = step.explain(candidate)
        assert found is None or found.id in _OF_A_CHANNEL, found


@pytest.mark.parametrize("step", STEPS, ids=_STEP_NAMES)
def test_random_gains_are_not_taken_for_a_mistake_of_the_step(step: Step) -> None:
    gains = 1 + 0.2 * np.random.default_rng(31).standard_normal(step.golden.shape[-1])
    found = step.explain((step.golden * gains).astype(np.float32))
    assert found is None or found.id in _OF_A_CHANNEL, found


@pytest.mark.parametrize("step", [step for step in STEPS if step.module is not None], ids=lambda step: step.kind)
def test_wrong_weights_are_not_taken_for_a_mistake_of_the_step(step: Step) -> None:
    assert step.module is not None
    for name, _ in step.module.named_parameters():
        wrong = copy.deepcopy(step.module)
        parameter = dict(wrong.named_parameters())[name]
        noise = torch.from_numpy(np.random.default_rng(32).standard_normal(parameter.shape))
        parameter.data += 0.05 * noise
        with torch.no_grad():
            found = step.explain(step._tensor(wrong(*step.args, **step.kwargs)).float())
        assert found is None or found.id in _OF_WEIGHTS, found


def test_every_hypothesis_has_a_fault() -> None:
    tested = {id for id, _, _ in CASES}
    assert {line.id for line in [*HYPOTHESES, *PARAMETERS]} == tested


def test_an_estimate_has_an_interval_around_the_true_value() -> None:
    found = Step(nn.LeakyReLU(0.01), (x,)).explain(np.where(X > 0, X, np.float32(0.02) * X))
    assert found is not None and found.estimate is not None
    assert (
        found.estimate.value == 0.02
        and found.estimate.low < 0.02 < found.estimate.high
        and found.estimate.right == 0.01
    )
    assert found.text.startswith("a negative slope of 0.02 in place of 0.01 (0.01")


def test_values_that_are_not_finite_are_counted() -> None:
    found = unknown.explain(changed((0, 2, 5), np.nan))
    assert found is not None and (found.id, found.text) == ("not-finite", "an output with 1 of 252 values NaN, first at [0, 2, 5]")


def test_equal_infinities_are_right_and_a_finite_number_in_their_place_is_not() -> None:
    step = Step(Tensor.masked_fill, (scores, scores > 1, -math.inf))
    right = np.where(Z > 1, np.float32(-np.inf), Z)
    assert step.explain(right) is None
    found = step.explain(np.maximum(right, np.float32(-1e9)))
    assert found is not None and found.id == "finite" and found.text.startswith("-1e+09 in place of -inf, first at [")


def test_a_stage_before_it_may_be_repeated() -> None:
    before = {"encoder.fc1": second.double().numpy(), "encoder.fc2": first.double().numpy()}
    found = explain(unknown, O, unknown.golden, unknown.floor, before)
    assert found is not None and found.text == "repeats `encoder.fc1`, a stage before it"
    found = explain(unknown, A, unknown.golden, unknown.floor, before)
    assert found is not None and (found.id, found.or_else) == ("repeats-the-input", ())


@pytest.mark.parametrize(("id", "step", "fault"), NEIGHBOURS, ids=[f"{c[0]}-{i}" for i, c in enumerate(NEIGHBOURS)])
def test_a_neighbour_is_not_taken_for_a_mistake(id: str, step: Step, fault: Callable[[], Any]) -> None:
    found = step.explain(fault())
    assert found is None or id not in (found.id, *found.or_else), found


def test_the_cheap_form_of_an_activation_is_said_before_others() -> None:
    step = Step(torch.tanh, (random(30, 20).abs() / 9,))
    found = step.explain(step.args[0].float())
    assert found is not None and found.text.startswith("clipped to -1..1 (Hardtanh) in place of tanh; or ")
    assert {"activation-missing", "relu"} < set(found.or_else)


def test_a_step_of_a_runner_is_explained() -> None:
    network = nn.Sequential(filled(nn.Linear(24, 24)), nn.GELU(), filled(nn.LayerNorm(24))).double()
    steps: list[Any] = []
    Runner(network, torch.float64).run(Example((x,)), steps.append)
    step = next(step for step in steps if step.kind == "GELU")
    candidate = F.gelu(step.args[0].float(), approximate="tanh").numpy()
    found = explain(step, candidate, step.value.numpy(), 1e-8)
    assert found is not None and found.text == "the tanh form of GELU in place of erf"


class Gated(nn.Module):
    """A fused projection with rotated halves, and a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.gate, self.up = nn.Linear(16, 48), nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(1, 12, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        turned = q.chunk(2, -1)[1] * wave(1e4, 4)
        gate, up = self.gate(x), self.up(x)
        return F.silu(gate) * up + turned.mean()


def test_a_network_s_stages_are_read_as_views_and_from_other_stages() -> None:
    network, x = filled(Gated()), random(1, 12, 16, seed=24)
    y = network.qkv(x).detach()
    by_head = a(y).reshape(1, 12, 2, 3, 8)[:, :, :, 0].swapaxes(1, 2)[..., 4:] * cosines(1e4, 4)
    paired = a(y).reshape(1, 12, 3, 2, 8)[:, :, 0].swapaxes(1, 2)[..., 1::2] * cosines(1e4, 4)
    swapped_weights = copy.deepcopy(network)
    swapped_weights.gate = network.up
    other_bias = F.linear(x, network.gate.weight, network.up.bias)
    faults = {
        ("gate", "other-parameters"): a(swapped_weights.gate(x)),
        ("gate", "other-parameters", "bias"): a(other_bias),
        ("mul", "fused-split"): by_head,
        ("mul", "rotary-pairs"): paired,
        ("silu", "other-stage"): a(F.silu(network.up(x))),
    }
    for (stage, id, *_), candidate in faults.items():
        (step,) = replays(network, Example((x,)), stage, ())[0]
        found = explain(step, candidate, step.value.numpy(), 1e-8)
        assert found is not None and (found.id, found.or_else) == (id, ()), found
    assert found.text == "reads `up` in place of its input"


def test_a_heavy_step_is_replayed_only_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = (same.golden + np.random.default_rng(33).standard_normal(same.golden.shape)).astype(np.float32)
    with CountCalls() as calls:
        same.explain(noise)
    assert calls.convolutions > 20
    monkeypatch.setattr("soundalike._causes._explain._BUDGET", 8 * 2 * 41 * 8 * 8 * 5)
    with CountCalls() as calls:
        same.explain(noise)
    assert calls.convolutions == 8 + 1


@pytest.mark.parametrize(
    ("found", "expected", "axes", "words"),
    [
        ([1, 55, 7], [1, 56, 7], ["batch", "frame", "feature"], "one frame short"),
        ([1, 58, 7], [1, 56, 7], ["batch", "frame", "feature"], "2 frames too many"),
        ([1, 56, 6], [1, 56, 7], None, "axis 2 is one short"),
        ([1, 7, 56], [1, 56, 7], None, "axes 1 and 2 swapped"),
        ([7, 1, 56], [1, 56, 7], None, "axes in another order"),
        ([56, 7], [1, 56, 7], None, "batch axis missing"),
        ([1, 56], [1, 56, 7], ["batch", "frame", "feature"], "feature axis, of length 7, missing"),
        ([1, 56, 7, 1], [1, 56, 7], None, "one more axis, at 3"),
        ([8, 49], [1, 56, 7], None, "as many elements in other axes"),
    ],
)
def test_shapes_in_words(found: list[int], expected: list[int], axes: list[str] | None, words: str) -> None:
    assert shape_words(expected, found, axes) == f"{found}, expected {expected}: {words}"
