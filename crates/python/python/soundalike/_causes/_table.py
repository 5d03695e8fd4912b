"""All kinds of steps, all hypotheses and all parameters. A new family is one more module here."""

from __future__ import annotations

from . import _activations, _arithmetic, _attention, _layouts, _norms, _pools, _products, _recurrent, _signatures
from ._hypothesis import Hypothesis, Parameter
from ._operation import Kind

_FAMILIES = (_activations, _norms, _products, _pools, _attention, _recurrent, _arithmetic)
# Without steps of their own.
_OF_OTHERS = (_layouts, _signatures)

KINDS: dict[str, Kind] = {name: kind for family in _FAMILIES for name, kind in family.KINDS.items()}
HYPOTHESES: list[Hypothesis] = [line for family in (*_FAMILIES, *_OF_OTHERS) for line in family.HYPOTHESES]
PARAMETERS: list[Parameter] = [
    *_activations.PARAMETERS,
    *_norms.PARAMETERS,
    *_attention.PARAMETERS,
    *_layouts.PARAMETERS,
    *_signatures.PARAMETERS,
]
