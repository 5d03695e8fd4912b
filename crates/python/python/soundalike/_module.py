"""A candidate that is a module of PyTorch."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ._errors import CandidateError, ModuleError
from ._inputs import Example
from ._runner import Runner, Step


class ModuleCandidate:
    """Another implementation of a network, or the network itself: quantised, compiled, in another dtype, on another
    device.

    It is run in evaluation, in its own dtype, on its own device.
    """

    def __init__(self, module: nn.Module, name: str | None = None) -> None:
        self.name = name or type(module).__name__
        self._runner = Runner(module)

    @property
    def notes(self) -> list[str]:
        """What is not shown of the network."""
        return ["compiled code shows no stages, only its output"] if self._runner.output_only else []

    def describe(self) -> dict[str, Any]:
        """The engine, its versions, and the dtype and device of the weights."""
        return {
            "engine": "torch",
            "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
            "device": str(self._runner.device),
            "dtype": str(self._runner.dtype).removeprefix("torch."),
        }

    def free(self, example: Example) -> Iterator[tuple[str, np.ndarray]]:
        """Every stage under its own name, in order of execution: f32, or f16 or f64 where the network computes in them.

        Raises:
            CandidateError: if the network fails.
        """
        return self._run(example, lambda step: None)

    def forced(self, example: Example, taught: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]] | None:
        """As `free`, while the consumers of each stage in `taught` read the given value. None for compiled code.

        Raises:
            CandidateError: if the network fails, or a stage is not in it.
        """
        if self._runner.output_only:
            return None
        unseen = set(taught)

        def teach(step: Step) -> Tensor | None:
            if step.name not in taught:
                return None
            unseen.discard(step.name)
            return torch.from_numpy(np.array(taught[step.name], order="C"))

        result = self._run(example, teach)
        if unseen:
            raise CandidateError(f"{self.name}: has no stage {', '.join(f'`{name}`' for name in sorted(unseen))}")
        return result

    def _run(self, example: Example, see: Callable[[Step], Tensor | None]) -> Iterator[tuple[str, np.ndarray]]:
        shown: list[tuple[str, np.ndarray]] = []

        def keep(step: Step) -> Tensor | None:
            shown.append((step.name, _as_array(step.value)))
            return see(step)

        training = {part: part.training for part in self._runner.module.modules()}
        for part in training:
            part.training = False
        try:
            self._runner.run(example, keep)
        except ModuleError as error:
            raise CandidateError(f"{self.name}: {error}") from error
        finally:
            for part, mode in training.items():
                part.training = mode
        return iter(shown)


def _as_array(value: Tensor) -> np.ndarray:
    value = value.cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
