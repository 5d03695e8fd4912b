"""A step of the reference in one form, whether a module, a function or a method computes it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


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

    @staticmethod
    def of(
        call: Call, kinds: Mapping[str, Kind], output: Tensor, ignored: Tensor, candidate: Tensor, floor: float
    ) -> Operation:
        """Reads ``call``. Its family is empty where its kind is unknown, or where the step, computed from its operands,
        does not give ``output``."""
        inputs = tuple(_tensors(cast([call.args, dict(call.kwargs)], torch.float64)))
        unknown = Operation("", {}, inputs, output, ignored, candidate, floor)
        kind = _kind(call, kinds)
        if kind is None or len(call.args) > len(kind.arguments):
            return unknown
        try:
            operands = _operands(call, kind)
            known = replace(unknown, family=kind.family, operands=operands, compute=kind.compute)
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
    return next((kind for name, kind in kinds.items() if name[0].isupper() and call.kind.endswith(name)), None)


def _operands(call: Call, kind: Kind) -> dict[str, Any]:
    usual = inspect.signature(kind.compute).parameters.values()
    operands = {p.name: p.default for p in usual if p.default is not inspect.Parameter.empty}
    operands.update(kind.constants)
    for names in kind.attributes if call.module is not None else ():
        name, *others = names.split("|")
        path = next(path for path in (name, *others) if hasattr(call.module, path.split(".")[0]))
        value: Any = call.module
        for part in path.split("."):
            value = getattr(value, part)
        operands[name.replace(".", "_")] = value
    operands.update(zip(kind.arguments, call.args))
    operands.update(call.kwargs)
    result: dict[str, Any] = cast(kind.arrange(operands), torch.float64)
    return result
