"""Runs any ``torch.nn.Module`` and shows its stages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations
from torch.overrides import TorchFunctionMode

from ._errors import Error, ModuleError
from ._inputs import Example
from ._origins import Origin, Origins, tensors

# Functions that move values and compute none: they are no stages. `get`: attributes such as `x.T`.
_MOVES = frozenset(
    """
    as_strided atleast_1d atleast_2d atleast_3d bfloat16 broadcast_tensors broadcast_to cat channel_shuffle chunk
    clone column_stack concat concatenate conj contiguous copy cpu cuda detach diag diagonal double dstack expand
    expand_as flatten flip fliplr flipud float gather get getitem half hsplit hstack imag index_copy index_select
    masked_select meshgrid moveaxis movedim narrow pack_padded_sequence pad_packed_sequence permute pixel_shuffle
    pixel_unshuffle ravel real repeat repeat_interleave reshape reshape_as resolve_conj roll rot90 scatter select
    setitem split split_with_sizes squeeze stack swapaxes swapdims t take take_along_dim tensor_split tile to
    transpose tril triu type type_as unbind unflatten unfold unsafe_chunk unsafe_split unsqueeze view view_as
    view_as_complex view_as_real vsplit vstack
    """.split()
)

# The modules of PyTorch are one stage each, whether they have children or not, but for those in these files.
_CONTAINERS = ("torch.nn.modules.container", "torch.nn.modules.transformer")

# Masked scores are minus infinity or the lowest number of the dtype. No network computes values below this bound.
_MASKED = -1e30


@dataclass(frozen=True)
class Step:
    """A stage of one run: a tensor, and the call that computed it."""

    name: str
    value: Tensor
    """A copy of the output."""
    inputs: list[str]
    """The stages and network inputs that it reads; ``?`` for a tensor of unknown origin."""
    kind: str
    """The class of the module (``Conv2d``) or the name of the function (``add``); ``output`` for a returned tensor."""
    module: nn.Module | None
    function: Callable[..., Any] | None
    args: tuple[Any, ...]
    """The arguments, as they were before a step in place. Do not change them, nor keep them."""
    kwargs: Mapping[str, Any]


See = Callable[[Step], "Tensor | None"]


class Runner:
    """Runs a network and shows its stages in order of execution.

    Stages are the outputs of leaf modules and of the functions that Python code calls between them. The returned
    tensors are stages ``output:1``, ..., ``output``, unless the first of them is the value of the last stage.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype | None = None) -> None:
        """`dtype`: of floating point inputs; default: that of the module. With ``torch.float64``, code of the network
        that asks for f32 gets f64.
        """
        constants = [t for t in [*module.parameters(), *module.buffers()] if t.is_floating_point()]
        self.module = module
        self.dtype = dtype or (constants[0].dtype if constants else torch.float32)
        self.device = constants[0].device if constants else torch.device("cpu")
        self._widen = dtype == torch.float64

    @property
    def output_only(self) -> bool:
        """Whether the network shows nothing but its output: TorchScript takes no hooks, compiled code ignores them."""
        parts = list(self.module.modules())
        compiled = (hasattr(part, "_orig_mod") or part._compiled_call_impl is not None for part in parts)
        return any(isinstance(part, torch.jit.ScriptModule) for part in parts) or any(compiled)

    def run(self, example: Example, see: See) -> Any:
        """Calls the network. `see` is called with every stage; a tensor that it returns replaces the stage's output.

        Returns what the network returns.

        Raises:
            ModuleError: if the network fails.
        """
        args = tuple(self._enter(value) for value in example.args)
        kwargs = {name: self._enter(value) for name, value in example.kwargs.items()}
        with self._settings():
            watch = _Watch(self.module, see, self._widen)
            watch.enter_inputs(args, kwargs)
            if self.output_only:
                inputs = Origin.merged(watch.origins[tensor] for tensor in tensors([args, kwargs]))
                result = watch.call(args, kwargs)
                for tensor in tensors(result):
                    watch.origins[tensor] = inputs._replace(computed=True)
            else:
                with watch.hooks(), watch:
                    result = watch.call(args, kwargs)
            watch.show_output(result)
        return result

    def _enter(self, value: Any) -> Any:
        """A copy of an input: the network may write into it. Floating point values are f32 ones in any dtype."""
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))
        if not isinstance(value, Tensor):
            return value
        value = value.detach().to(self.device, copy=True)
        return value.to(torch.float32).to(self.dtype) if value.is_floating_point() else value

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """The global settings of a run."""
        fast, dtype = torch.backends.mha.get_fastpath_enabled(), torch.get_default_dtype()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            # The fast path of nn.TransformerEncoder calls none of the modules in it.
            torch.backends.mha.set_fastpath_enabled(False)
            if self._widen:
                torch.set_default_dtype(torch.float64)
            try:
                yield
            finally:
                torch.backends.mha.set_fastpath_enabled(fast)
                torch.set_default_dtype(dtype)


class _Watch(TorchFunctionMode):
    """Follows one run through the hooks of modules and the functions of PyTorch."""

    def __init__(self, root: nn.Module, see: See, widen: bool) -> None:
        super().__init__()
        self.origins = Origins(root)
        self._root, self._see, self._widen = root, see, widen
        self._paths = {module: path for path, module in root.named_modules()}
        self._counts: Counter[str] = Counter()
        self._last = ""
        self._stack: list[nn.Module] = []
        # The depth in the stack of the leaf that runs, and its arguments. 0: none.
        self._leaf = 0
        self._leaf_args: tuple[Any, ...] = ()
        self._paused = False

    def enter_inputs(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Names the network's inputs as `Example.tensors` does."""
        names = ["input" if place == 0 else f"input:{place}" for place in range(len(args))]
        for name, value in zip([*names, *(f"input:{name}" for name in kwargs)], [*args, *kwargs.values()]):
            if isinstance(value, Tensor):
                self.origins[value] = Origin((name,), exact=not value.is_floating_point())

    def call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        try:
            return self._root(*args, **kwargs)
        except Error:
            raise
        except Exception as error:
            module = self._stack[-1] if self._stack else self._root
            where = f"`{self._paths[module]}` ({type(module).__name__})" if module is not self._root else "the network"
            line = (str(error).strip().splitlines() or [""])[0]
            raise ModuleError(f"{where} fails: {type(error).__name__}: {line}") from error

    @contextmanager
    def hooks(self) -> Iterator[None]:
        with ExitStack() as stack:
            for module in self._paths:
                handle = module.register_forward_pre_hook(self._begin, with_kwargs=True)
                stack.callback(handle.remove)
                handle = module.register_forward_hook(self._end, with_kwargs=True)
                stack.callback(handle.remove)
            yield

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._stack.append(module)
        if not self._leaf and module is not self._root and _is_leaf(module):
            self._leaf = len(self._stack)
            with self._pause():
                self._leaf_args = _kept(args, getattr(module, "inplace", False))

    def _end(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        failed = self._stack[-1]
        if failed is not module:
            raise ModuleError(
                f"`{self._paths[failed]}` ({type(failed).__name__}) fails, and the network handles the error: "
                "its stages cannot be followed"
            )
        self._stack.pop()
        if len(self._stack) + 1 != self._leaf:
            return
        self._leaf = 0
        with self._pause():
            results = list(tensors(output))
            read = Origin.merged(self.origins[tensor] for tensor in tensors([args, kwargs]))
            for result in results:
                if result not in self.origins:
                    self.origins[result] = read._replace(computed=True)
            kept, self._leaf_args = self._leaf_args, ()
            kind = type_before_parametrizations(module).__name__
            self._show(self._paths[module], kind, results, kept, kwargs, module=module)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._paused or torch._C._are_functorch_transforms_active():
            return func(*args, **kwargs)  # the tensors inside vmap have no values to show
        if self._widen:
            func = Tensor.double if func is Tensor.float else func
            args, kwargs = tuple(map(_widened, args)), {name: _widened(value) for name, value in kwargs.items()}
        name = _name(func)
        given = list(tensors([args, kwargs]))
        versions = [_version(tensor) for tensor in given]
        in_place = re.fullmatch(r".*[^_]_", getattr(func, "__name__", "")) or kwargs.get("inplace") is True
        kept = args if self._leaf else _kept(args, bool(in_place))

        result = func(*args, **kwargs)

        results = list(tensors(result))
        written = [tensor for tensor, version in zip(given, versions) if _version(tensor) != version]
        fresh = [tensor for tensor in results if all(tensor is not one for one in given)]
        origin = Origin.merged(self.origins[tensor] for tensor in given)
        if name.endswith("_like") or name.startswith("new_"):
            origin = Origin(exact=True)
        moves = name in _MOVES or (name == "pad" and _pads_with_zeros(*args, **kwargs))
        if not moves:
            origin = origin._replace(computed=True)
        for tensor in fresh:
            self.origins[tensor] = origin
        for tensor in written:
            self.origins.write(tensor, origin)
        if (fresh or written) and not moves and not self._leaf:
            path = self._paths[self._stack[-1]] if self._stack else ""
            with self._pause():
                self._show(f"{path}.{name}" if path else name, name, results, kept, kwargs, function=func)
        return result

    def _show(
        self,
        path: str,
        kind: str,
        results: Sequence[Tensor],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        module: nn.Module | None = None,
        function: Callable[..., Any] | None = None,
    ) -> None:
        """Shows those results that are stages: computed, of floating point, and neither constants nor scalars."""
        stages = {}
        for place, tensor in enumerate(results):
            origin = self.origins[tensor]
            if origin.computed and origin.sources and not origin.exact and tensor.ndim and _has_values(tensor):
                stages[place] = (tensor, origin)
        if not stages:
            return
        name = self._named(path)
        for place, (tensor, origin) in stages.items():
            value = _copied(tensor)
            if function is not None and _is_masked(value):
                continue  # a mask is no rounding: it is judged with the softmax behind it
            self._last = f"{name}:{place}" if place else name
            step = Step(self._last, value, list(origin.sources), kind, module, function, args, kwargs)
            replacement = self._see(step)
            if replacement is not None:
                _overwrite(tensor, replacement)
            self.origins.write(tensor, Origin((self._last,)))

    def show_output(self, result: Any) -> None:
        """Shows the returned tensors, unless the first is the value of the last stage."""
        returned = [tensor for tensor in tensors(result) if _has_values(tensor)]
        if not returned or self.origins[returned[0]][:2] == ((self._last,), False):
            return
        name = self._named("output")
        # The last stage is the output: it is the first of the returned tensors.
        for place, tensor in reversed(list(enumerate(returned))):
            inputs = list(self.origins[tensor].sources)
            place_name = f"{name}:{place}" if place else name
            self._see(Step(place_name, _copied(tensor), inputs, "output", None, None, (tensor,), {}))

    def _named(self, path: str) -> str:
        self._counts[path] += 1
        calls = self._counts[path]
        return path if calls == 1 else f"{path}#{calls - 1}"

    @contextmanager
    def _pause(self) -> Iterator[None]:
        """Our own operations, and those of `see`, are not the network's."""
        paused, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = paused


def _is_leaf(module: nn.Module) -> bool:
    file = type(module).__module__
    if file.startswith(("torch.nn.modules.", "torch.ao.nn.")) and file not in _CONTAINERS:
        return True
    return all(name == "parametrizations" for name, _ in module.named_children())


def _name(func: Any) -> str:
    """The name of a function: ``add`` for ``torch.add``, ``x + y``, ``y.__radd__(x)``, ``x.add_(y)`` and ``x += y``."""
    name: str = getattr(func, "__name__", type(func).__name__).split(".")[0]
    if name.startswith("__r") and name.endswith("__"):
        name = name.removeprefix("__r")
    return name.strip("_")


def _kept(args: tuple[Any, ...], in_place: bool) -> tuple[Any, ...]:
    """The arguments of a step; one in place overwrites the first."""
    if in_place and args and isinstance(args[0], Tensor):
        return (args[0].clone(), *args[1:])
    return args


def _widened(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else torch.complex128 if value is torch.complex64 else value


def _version(tensor: Tensor) -> int:
    """Counts the writes in place. PyTorch does not count them in inference mode."""
    return 0 if tensor.is_inference() else tensor._version


def _pads_with_zeros(input: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> bool:
    return mode == "constant" and not value


def _has_values(tensor: Tensor) -> bool:
    return (tensor.is_floating_point() or tensor.is_quantized) and tensor.numel() > 0


def _copied(tensor: Tensor) -> Tensor:
    return tensor.dequantize() if tensor.is_quantized else tensor.detach().clone()


def _is_masked(value: Tensor) -> bool:
    return bool(value.amin() < _MASKED) and bool(value.amax() < -_MASKED)


def _overwrite(tensor: Tensor, value: Tensor) -> None:
    """Writes `value` in place: the output may be one tensor of several, or an input that was changed in place."""
    if value.shape != tensor.shape:
        raise ValueError(f"a value of shape {tuple(value.shape)} cannot replace an output of {tuple(tensor.shape)}")
    # An expanded axis holds one element.
    for axis, (size, stride) in enumerate(zip(tensor.shape, () if tensor.is_quantized else tensor.stride())):
        if stride == 0 and size > 1:
            tensor, value = tensor.narrow(axis, 0, 1), value.narrow(axis, 0, 1)
    tensor.copy_(value)
