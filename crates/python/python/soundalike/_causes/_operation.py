"""A step of the reference in one form, whether a module, a function or a method computes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ._unknown_module import run


class Call(Protocol):
    """A call of the reference that can be run again. Its tensors are golden (f64)."""

    @property
    def kind(self) -> str:
        """The class of the module (``Conv2d``) or the name of the function (``add``)."""

    @property
    def module(self) -> nn.Module | None: ...

    @property
    def function(self) -> Callable[..., Any] | None: ...

    @property
    def args(self) -> tuple[Any, ...]: ...

    @property
    def kwargs(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Kind:
    """How the steps of one kind are read."""

    family: str
    compute: Callable[..., Any]
    """Computes the step from its operands, by name."""
    arguments: tuple[str, ...] = ("input",)
    """The operands that are arguments, in the order of their positions."""
    attributes: tuple[str, ...] = ()
    """The operands that are attributes of the module. ``a|b``: the first that it has, as operand ``a``."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    arrange: Callable[[dict[str, Any]], dict[str, Any]] = lambda operands: operands
    """Makes the operands of the family out of these."""


@dataclass(frozen=True)
class WeightNorm:
    """What a weight is computed from: ``g v / |v|``."""

    g: Tensor
    v: Tensor
    axis: int | None
    """There is a norm for each of its indices. None: one norm of all."""

    @staticmethod
    def of(module: nn.Module | None) -> WeightNorm | None:
        parts: Any = getattr(getattr(module, "parametrizations", None), "weight", None)
        old: Any = module  # of `torch.nn.utils.weight_norm`
        if parts is not None and type(parts[0]).__name__ == "_WeightNorm":
            g, v, axis = parts.original0, parts.original1, parts[0].dim
        elif hasattr(old, "weight_g") and hasattr(old, "weight_v"):
            g, v = old.weight_g, old.weight_v
            axis = next((axis for axis, length in enumerate(g.shape) if length > 1), -1)
        else:
            return None
        return WeightNorm(cast(g, torch.float64), cast(v, torch.float64), None if axis == -1 else axis % v.ndim)

    def of_v(self, axis: int | None) -> Tensor:
        """The norm of v for each index of an axis, or of all of it."""
        others = [other for other in range(self.v.ndim) if other != axis]
        return self.v.square().sum(others, keepdim=True).sqrt()


@dataclass(frozen=True)
class Operation:
    """A step with its operands by name, its golden output, and the output of the candidate."""

    family: str
    """Empty where the step is of no known kind."""
    operands: Mapping[str, Any]
    inputs: tuple[Tensor, ...]
    """The tensors among the arguments."""
    output: Tensor
    """Golden; 0 where it is not finite."""
    ignored: Tensor
    """Where both sides have the same infinity or NaN."""
    candidate: Tensor
    floor: float
    """Root mean square of the error of the reference's own f32."""
    compute: Callable[..., Any] | None = None
    result: int = 0
    """Which of the tensors that the step returns is the output."""
    multiply_adds: int = 0
    """How many it takes to compute the step."""
    weight_norm: WeightNorm | None = None
    """Of its weight."""
    earlier: Mapping[str, Tensor] = field(default_factory=dict)
    """Golden stages before it."""
    twins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The operands that other modules have in place of its own."""

    @staticmethod
    def of(
        call: Call, kinds: Mapping[str, Kind], output: Tensor, ignored: Tensor, candidate: Tensor, floor: float
    ) -> Operation:
        """Reads ``call``. Its family is empty where its kind is unknown, or where the step, computed from its operands,
        does not give ``output``."""
        inputs = tuple(_tensors(cast([call.args, dict(call.kwargs)], torch.float64)))
        earlier: Mapping[str, Tensor] = getattr(call, "earlier", {})
        unknown = Operation("", {}, inputs, output, ignored, candidate, floor, earlier=earlier)
        kind = _kind(call, kinds)
        if kind is None or len(call.args) > len(kind.arguments):
            return unknown
        try:
            operands = _operands(call, kind)
            norm = WeightNorm.of(call.module)
            known = replace(
                unknown,
                family=kind.family,
                operands=operands,
                compute=kind.compute,
                weight_norm=norm,
                twins={name: kind.arrange(_attributes(kind, twin)) for name, twin in getattr(call, "twins", {}).items()},
            )
            with FlopCounterMode(display=False) as counter:
                results = list(_tensors([kind.compute(**operands)]))
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
            return unknown  # a variant of this kind that is not known
        for at, result in enumerate(results):
            if result.shape != output.shape:
                continue
            if torch.allclose(result.double().masked_fill(ignored, 0), output, 1e-9, floor / 4):
                return replace(known, result=at, multiply_adds=counter.get_total_flops() // 2)
        return unknown

    def __getitem__(self, name: str) -> Any:
        return self.operands[name]

    def has(self, name: str) -> bool:
        """Whether there is such an operand: not None, not False."""
        value = self.operands.get(name)
        return value is not None and value is not False

    def run(self, **changes: Any) -> Tensor:
        """The output of the step with these operands in place of its own."""
        assert self.compute is not None
        result = list(_tensors([self.compute(**{**self.operands, **changes})]))[self.result]
        return result.masked_fill(self.ignored, 0) if result.shape == self.ignored.shape else result

    def rounded(self) -> Operation:
        """The same in f32."""
        return replace(
            self,
            operands=cast(self.operands, torch.float32),
            inputs=cast(self.inputs, torch.float32),
            output=self.output.float(),
            candidate=self.candidate.float(),
        )


def cast(value: Any, dtype: torch.dtype) -> Any:
    """``value`` on the CPU, every floating point tensor as ``dtype``."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype)
    if isinstance(value, Mapping):
        return {name: cast(one, dtype) for name, one in value.items()}
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        return type(value)(cast(one, dtype) for one in value) if type(value) in (list, tuple) else value
    return value


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _tensors(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _tensors(one)


def _kind(call: Call, kinds: Mapping[str, Kind]) -> Kind | None:
    if call.module is None:
        # The function tells `x - y` from `y.__rsub__(x)`.
        names = (getattr(call.function, "__name__", "").strip("_"), call.kind.strip("_"))
        return next((kinds[name] for name in names if name in kinds), None)
    for of in type(call.module).__mro__:
        if of.__name__ in kinds:
            return kinds[of.__name__]
    # `LlamaRMSNorm` is an RMSNorm.
    named = (kind for name, kind in kinds.items() if name[0].isupper() and call.kind.endswith(name))
    return next(named, Kind("module", partial(run, call.module)))


def _operands(call: Call, kind: Kind) -> dict[str, Any]:
    usual = inspect.signature(kind.compute).parameters.values()
    operands = {p.name: p.default for p in usual if p.default is not inspect.Parameter.empty}
    operands.update(kind.constants)
    if call.module is not None:
        operands.update(_attributes(kind, call.module))
    operands.update(zip(kind.arguments, call.args))
    operands.update(call.kwargs)
    result: dict[str, Any] = cast(kind.arrange(operands), torch.float64)
    return result


def _attributes(kind: Kind, module: nn.Module) -> dict[str, Any]:
    operands = {}
    for names in kind.attributes:
        name, *others = names.split("|")
        path = next(path for path in (name, *others) if hasattr(module, path.split(".")[0]))
        value: Any = module
        for part in path.split("."):
            value = getattr(value, part)
        operands[name.replace(".", "_")] = value
    return operands
