"""Provenance: which stages and network inputs a tensor is computed from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

UNKNOWN = "?"


class Origin(NamedTuple):
    """Where a tensor comes from."""

    sources: tuple[str, ...] = ()
    """The stages and network inputs that it is computed from. Empty: a constant."""
    computed: bool = False
    """Whether more than data movement lies between the sources and the tensor."""
    exact: bool = False
    """Whether it is made of integers, booleans and new tensors only, as a mask is. Such values do not round."""

    @staticmethod
    def merged(origins: Iterable[Origin]) -> Origin:
        """The origin of a tensor made from tensors of these origins."""
        origins = list(origins)
        sources = dict.fromkeys(source for origin in origins for source in origin.sources)
        return Origin(tuple(sources), any(o.computed for o in origins), all(o.exact for o in origins))


class Origins:
    """The origins of the tensors of one run. Tensors that the network has freed are forgotten."""

    def __init__(self, module: nn.Module) -> None:
        self._known = WeakTensorKeyDictionary()
        for part in module.modules():
            # Parameters, buffers, and tensors that are plain attributes.
            for tensor in tensors([part._parameters, part._buffers, list(vars(part).values())]):
                self[tensor] = Origin(exact=not _is_real(tensor))

    def __getitem__(self, tensor: Tensor) -> Origin:
        if tensor in self._known:
            origin: Origin = self._known[tensor]
            return origin
        # Masks and indices are often made where PyTorch shows nothing (vmap, numpy); they are the same in every port.
        return Origin((UNKNOWN,)) if _is_real(tensor) else Origin(exact=True)

    def __setitem__(self, tensor: Tensor, origin: Origin) -> None:
        self._known[tensor] = origin

    def __contains__(self, tensor: Tensor) -> bool:
        return tensor in self._known

    def write(self, tensor: Tensor, origin: Origin) -> None:
        """Sets the origin of a tensor that was written in place. The tensor that it is a view of was written, too."""
        self[tensor] = origin
        if tensor._base is not None:
            self[tensor._base] = Origin.merged([self[tensor._base], origin])


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists, mappings and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from tensors(one)
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from tensors(one)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from tensors(getattr(value, field.name))


def _is_real(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex() or tensor.is_quantized
