"""Causes of a difference: known mistakes of ports, replayed on the reference's stage, and the shape of an error.

To add a hypothesis, add one line to the table at the end of a family's file: its id, its words, the families of steps
that it is about, and how the step is computed with the mistake.
"""

from ._explain import Cause, Estimate, Folded, explain
from ._operation import Call
from ._shapes import shape_words

__all__ = ["Call", "Cause", "Estimate", "Folded", "explain", "shape_words"]
