"""A candidate that ONNX Runtime runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ._errors import CandidateError
from ._inputs import Example
from ._onnx_graph import (
    Ancestors,
    Provenance,
    Source,
    branches,
    constants,
    load,
    moved_weights,
    onnx,
    subgraphs,
    take_branches,
    teach,
)
from ._onnx_session import FLOAT_TYPES, Session, bind, onnxruntime


@dataclass
class _Graph:
    """The model with the branches that an example takes, and its sessions."""

    model: onnx.ModelProto
    watched: Session
    """Shows every tensor; or the conditions, while there are branches to take."""
    provenance: Provenance
    taught: dict[tuple[tuple[str, int], ...], tuple[Session, dict[str, str]]] = field(default_factory=dict)


class OnnxCandidate:
    """An ONNX file, run by ONNX Runtime on one CPU thread.

    Each `If` outside a loop is replaced by the branch that the example takes. The tensors in the bodies of loops are
    not shown.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | onnx.ModelProto,
        *,
        optimise: bool = False,
        name: str | None = None,
    ) -> None:
        """`model`: a path, the content of a file, or a loaded model.

        `optimise`: with ONNX Runtime's graph optimisations, as users run it. Only the graph's outputs are shown then,
        and nothing can be forced.

        Raises:
            CandidateError: if the file is no ONNX model, or ONNX Runtime does not load it.
        """
        path = None if isinstance(model, (bytes, onnx.ModelProto)) else Path(model)
        self.name = name or (path.name if path else "ONNX model")
        self.optimise = optimise
        self._origin = str(path) if path else self.name
        self._folder = path.parent.absolute() if path else None
        self._model = load(model)
        self._outputs: dict[bool, Session] = {}
        self._graphs: dict[tuple[bool, ...], _Graph] = {}
        self._graph = self._taking(())

    def describe(self) -> dict[str, Any]:
        """The engine, its versions, and where the file comes from."""
        opset = {entry.domain: entry.version for entry in self._model.opset_import}
        return {
            "engine": "onnxruntime",
            "versions": {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__},
            "device": "cpu",
            "opset": opset.get("", opset.get("ai.onnx")),
            "producer": f"{self._model.producer_name} {self._model.producer_version}".strip(),
        }

    @property
    def notes(self) -> list[str]:
        """What is not shown of the graph that was run last, and how its arithmetic differs from what its types say."""
        loops = [node for node in self._graph.model.graph.node if any(subgraphs(node))]
        notes = [f"the body of `{node.name or node.output[0]}` ({node.op_type}) is not shown" for node in loops]
        if "tensor(float16)" in self._graph.watched.types.values():
            notes.append("ONNX Runtime computes f16 nodes on the CPU in f32, and may not round between them")
        return notes

    def free(self, example: Example) -> Iterator[tuple[str, np.ndarray]]:
        """Every float tensor that a node of the graph computes, under its own name, in order of execution.

        Raises:
            CandidateError: if the example does not fit the graph, or a node fails.
        """
        if self.optimise:
            return iter(self.output(example, optimise=True))
        feeds = self._enter(example)
        return self._graph.watched.run(feeds, self._tensors())

    def forced(self, example: Example, taught: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]] | None:
        """As `free`, while all consumers of a tensor in `taught` read the given value, in the tensor's type.

        Raises:
            CandidateError: if a tensor is not in the graph or has another shape, or a node fails.
        """
        if self.optimise:
            return None
        feeds = self._enter(example)
        shown = self._tensors()
        unknown = [name for name in taught if name not in set(shown)]
        if unknown:
            raise CandidateError(f"{self._origin}: computes no float tensor {', '.join(f'`{x}`' for x in unknown)}")
        session, renamed = self._teaching({name: np.ndim(value) for name, value in taught.items()})
        for name, value in taught.items():
            element_type = FLOAT_TYPES[self._graph.watched.types[name]]
            dtype = onnx.helper.tensor_dtype_to_np_dtype(element_type)
            with np.errstate(over="ignore"):
                feeds[renamed[name]] = np.asarray(value, dtype, order="C")
        return self._checked(session.run(feeds, shown), taught)

    def output(self, example: Example, optimise: bool = True) -> list[tuple[str, np.ndarray]]:
        """The float outputs of the graph as it is in the file, with ONNX Runtime's graph optimisations or without.

        Raises:
            CandidateError: if the example does not fit the graph, or a node fails.
        """
        if optimise not in self._outputs:
            self._outputs[optimise] = Session(self._model, self._origin, optimise=optimise, folder=self._folder)
        session = self._outputs[optimise]
        names = [output.name for output in self._model.graph.output if session.types[output.name] in FLOAT_TYPES]
        return list(session.run(bind(example, self._model.graph, self._origin), names))

    @property
    def graph(self) -> onnx.ModelProto:
        """The model with the branches of the example that was run last."""
        return self._graph.model

    @property
    def aliases(self) -> Mapping[str, str]:
        """What else tensors are called: the path of the module that the exporter wrote, and the operation."""
        return {name: f"{source.scope}/{source.op}" for name, source in self.nodes.items() if source.scope}

    @property
    def nodes(self) -> Mapping[str, Source]:
        """Where each tensor comes from, by name, in the graph that was run last."""
        return self._graph.provenance.sources

    def ancestors(self, tensor: str, stop: set[str]) -> Ancestors:
        """What a tensor is computed from, back to the tensors in `stop` and the graph's inputs.

        In the graph that was run last. The bodies of loops count as one node.
        """
        return self._graph.provenance.ancestors(tensor, stop)

    def _enter(self, example: Example) -> dict[str, np.ndarray]:
        """Takes the branches that an example takes; returns its inputs."""
        feeds = bind(example, self._model.graph, self._origin)
        conditions: tuple[bool, ...] = ()
        self._graph = self._taking(conditions)
        while branching := branches(self._graph.model.graph):
            weights = constants(self._graph.model.graph)
            given = {name: onnx.numpy_helper.to_array(weight) for name, weight in weights.items()}
            values = given | feeds | dict(self._graph.watched.run(feeds, _conditions(self._graph.model)))
            conditions += tuple(bool(values[node.input[0]].reshape(-1)[0]) for node in branching)
            self._graph = self._taking(conditions)
        return feeds

    def _taking(self, conditions: tuple[bool, ...]) -> _Graph:
        """The graph for the values of all conditions so far."""
        if conditions not in self._graphs:
            model = self._model
            if conditions:
                asked = len(branches(self._graph.model.graph))
                model = take_branches(self._graph.model, conditions[-asked:])
            shown = _conditions(model) if branches(model.graph) else _computed(model)
            session = Session(model, self._origin, show=shown, folder=self._folder)
            self._graphs[conditions] = _Graph(model, session, Provenance(model.graph))
        return self._graphs[conditions]

    def _tensors(self) -> list[str]:
        types = self._graph.watched.types
        return [name for name in _computed(self._graph.model) if types[name] in FLOAT_TYPES]

    def _teaching(self, ranks: Mapping[str, int]) -> tuple[Session, dict[str, str]]:
        """The session in which these tensors are given, and the names of the inputs that they are given as."""
        key = tuple(sorted(ranks.items()))
        if key not in self._graph.taught:
            types = self._graph.watched.types
            wanted = {name: (FLOAT_TYPES[types[name]], rank) for name, rank in ranks.items()}
            model, renamed = teach(self._graph.model, wanted)
            session = Session(model, self._origin, show=self._tensors(), folder=self._folder)
            self._graph.taught[key] = session, renamed
        return self._graph.taught[key]

    def _checked(
        self, tensors: Iterator[tuple[str, np.ndarray]], taught: Mapping[str, np.ndarray]
    ) -> Iterator[tuple[str, np.ndarray]]:
        for name, value in tensors:
            if name in taught and np.shape(taught[name]) != value.shape:
                raise CandidateError(
                    f"{self._origin}: `{name}` has shape {list(value.shape)}, "
                    f"the value to force it with {list(np.shape(taught[name]))}"
                )
            yield name, value


def _conditions(model: onnx.ModelProto) -> list[str]:
    """The conditions of `If` nodes that are computed."""
    computed = {name for node in model.graph.node for name in node.output}
    return list(dict.fromkeys(node.input[0] for node in branches(model.graph) if node.input[0] in computed))


def _computed(model: onnx.ModelProto) -> list[str]:
    """The outputs of all nodes but constants."""
    weights = moved_weights(model.graph)
    return [name for node in model.graph.node for name in node.output if name and name not in weights]
