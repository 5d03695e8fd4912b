"""An ONNX file as the reference: computed node by node, in f64 by onnx.reference and in f32 by ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from ._errors import CandidateError, ReferenceError
from ._floors import floors, rms
from ._inputs import Example, examples
from ._onnx import OnnxCandidate
from ._onnx_graph import (
    MOVES,
    PROTOBUF_LIMIT,
    Provenance,
    constants,
    load,
    moved_weights,
    onnx,
    reads,
    set_node_precision,
    set_precision,
)
from ._onnx_session import Session, bind, input_names, one_line
from ._redraw import REDRAWS, larger, moved
from ._trace_file import TraceWriter

# Behind `_onnx_graph`, which says what to install if onnx is missing.
from onnx.reference import ReferenceEvaluator  # isort: skip

# Operators whose output has its channels in axis 1.
_CHANNELS_FIRST = {
    "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "GlobalAveragePool", "GlobalMaxPool",
    "GroupNormalization", "InstanceNormalization", "LRN", "MaxPool",
}  # fmt: skip
# Operators whose output has its features in the last axis, whatever they read.
_RECURRENT = {"GRU", "LSTM", "RNN"}
_FEATURES_LAST = {"Attention", "Einsum", "Gemm", "MatMul"} | _RECURRENT

# What other entries of a trace begin with.
_ENTRIES = ("floor.", "f32/", "input/")

# Both engines round the same inputs: an f32 error of this part of the signal is another computation.
_ANOTHER_COMPUTATION = 0.1
# The part of a node's inputs that rounding may leave where its output cancels.
_CANCELLATION = 1e-4


def capture_onnx(
    path: str | os.PathLike[str], inputs: Any, out: str | os.PathLike[str], *, name: str | None = None
) -> Path:
    """Writes a reference trace of an ONNX file: each stage in f64 by onnx.reference, and the errors of ONNX Runtime in
    f32, free-running and teacher-forced.

    A stage is a float tensor that a node computes; the outputs of nodes that only move values are none. In f64, weights
    and inputs keep their f32 values. `inputs`: see `examples`. For a list, `out` is a folder, and the traces are
    ``0.npz``, ``1.npz``, ... Returns `out`.

    Raises:
        InputError: for inputs that are no arrays.
        ReferenceError: if the file is no ONNX model, the inputs do not fit it, onnx.reference or ONNX Runtime does not
            compute a node, or they compute different things.
    """
    out = Path(out)
    given = examples(inputs)
    try:
        model = load(path)
        onnx.load_external_data_for_model(model, str(Path(path).parent))
        if sum(len(weight.raw_data) for weight in model.graph.initializer) > PROTOBUF_LIMIT:
            raise ReferenceError(f"{path}: has more than 2 GiB of weights, too many for a reference")
        set_precision(model.graph, onnx.TensorProto.FLOAT)
        candidate = OnnxCandidate(model, name=str(path))
        described = _model(path, name)
        if not isinstance(inputs, list):
            _capture_one(candidate, given[0], out, described)
            return out
        out.mkdir(parents=True, exist_ok=True)
        for number, example in enumerate(given):
            _capture_one(candidate, example, out / f"{number}.npz", described)
    except (CandidateError, OSError, onnx.checker.ValidationError) as error:
        raise ReferenceError(one_line(error)) from error
    return out


def golden_nodes(
    path: str | os.PathLike[str], example: Example
) -> Iterator[tuple[onnx.NodeProto, dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """The nodes of a reference in order of execution, each with what it reads, and what it computes, by name, in f64."""
    model = load(path)
    onnx.load_external_data_for_model(model, str(Path(path).parent))
    set_precision(model.graph, onnx.TensorProto.FLOAT)
    candidate = OnnxCandidate(model, name=str(path))
    capture = _Capture(candidate.graph, candidate.name, dict(candidate.free(example)))
    return capture.run(bind(example, candidate.graph.graph, candidate.name))


def _capture_one(candidate: OnnxCandidate, example: Example, out: Path, model: Mapping[str, Any]) -> None:
    free = dict(candidate.free(example))
    capture = _Capture(candidate.graph, candidate.name, free)
    with TraceWriter(out) as trace:
        trace.add("manifest", capture.manifest(model, candidate, example))
        for name, value in example.tensors():
            trace.add(f"input/{name}", value)
        capture.write(bind(example, candidate.graph.graph, candidate.name), trace)


def _model(path: str | os.PathLike[str], name: str | None) -> dict[str, Any]:
    return {
        "name": name or Path(path).stem,
        "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest(),
        "source": None,
    }


class _Capture:
    """One run of a graph without branches, node by node."""

    def __init__(self, model: onnx.ModelProto, origin: str, free: dict[str, np.ndarray]) -> None:
        self._model = model
        self._origin = origin
        self._free = free
        self._weights = constants(model.graph)
        self._fixed = moved_weights(model.graph)
        self._provenance = Provenance(model.graph)
        self._axes = _axes(model.graph, {name: value.shape for name, value in free.items()})
        self._infinite = [name for name, value in free.items() if not np.isfinite(value).all()]
        self._stages = [name for node in model.graph.node for name in node.output if self._is_stage(node, name)]
        if not self._stages:
            raise ReferenceError(f"{origin}: the graph computes no float tensor")
        taken = [name for name in self._stages if name == "manifest" or name.startswith(_ENTRIES)]
        if taken:
            raise ReferenceError(f"{origin}: `{taken[0]}` has the name of another entry of a trace; rename the tensor")

    def _is_stage(self, node: onnx.NodeProto, name: str) -> bool:
        if name not in self._free or name in self._infinite or (node.op_type in MOVES and not self._looks_up(node)):
            return False
        # A single number that no input has a part in is a constant, like the scale of an attention.
        return self._free[name].size > 1 or bool(self._provenance.ancestors(name, ()).names)

    def _looks_up(self, node: onnx.NodeProto) -> bool:
        """Whether a node takes rows of a weight, as an embedding does."""
        return node.op_type.startswith("Gather") and node.input[0] in self._fixed

    def manifest(self, model: Mapping[str, Any], candidate: OnnxCandidate, example: Example) -> np.ndarray:
        """The manifest of the trace, UTF-8 JSON."""
        given = input_names(example, self._model.graph)
        ops = self._provenance.sources
        among = set(self._stages)
        stages = []
        for name in self._stages:
            read = self._provenance.ancestors(name, among - {name}).names
            stages.append(
                {
                    "name": name,
                    "shape": list(self._free[name].shape),
                    **self._axes[name],
                    "inputs": [given.get(other, other) for other in read],
                    "parts": [],
                    "degenerate": False,
                    "op": ops[name].op,
                }
            )
        content = {
            "schema": 1,
            "engine": "onnx.reference",
            "device": "cpu",
            "dtype": {"golden": "f64", "reference": "f32"},
            "model": model,
            "versions": {"python": platform.python_version(), "numpy": np.__version__}
            | candidate.describe()["versions"],
            "cpu": platform.machine(),
            "threads": 1,
            "stages": stages,
            "notes": [
                *candidate.notes,
                *(f"`{name}` has values that are not finite in f32: no stage" for name in self._infinite),
            ],
        }
        return np.frombuffer(json.dumps(content).encode(), np.uint8)

    def write(self, feeds: Mapping[str, np.ndarray], trace: TraceWriter) -> None:
        """Computes node after node, and writes its stages."""
        stages = set(self._stages)
        for node, needed, computed in self.run(feeds):
            if not stages.isdisjoint(computed):
                feeds = self._feeds(needed)
                forced = [self._forced(node, needed, feeds)]
                if node.op_type in _RECURRENT:
                    for draw in range(REDRAWS):
                        again = {name: moved(value, draw) for name, value in feeds.items()}
                        forced.append(self._forced(node, needed, again))
                for name in (name for name in computed if name in stages):
                    self._check(node, computed[name], forced[0][name], needed)
                    self._write_stage(trace, name, computed[name], [outputs[name] for outputs in forced])

    def run(
        self, feeds: Mapping[str, np.ndarray]
    ) -> Iterator[tuple[onnx.NodeProto, dict[str, np.ndarray], dict[str, np.ndarray]]]:
        """Computes node after node in f64: each with what it reads, and what it computes, by name. A tensor is kept until its
        last consumer has run.
        """
        nodes = self._model.graph.node
        golden = {name: _widened(value) for name, value in feeds.items()}
        last_use = {name: place for place, node in enumerate(nodes) for name in [*node.output, *reads(node)]}
        for place, node in enumerate(nodes):
            needed = {name: self._value(name, golden) for name in reads(node)}
            computed = self._golden(node, needed)
            yield node, needed, computed
            golden |= computed
            for name in [*computed, *needed]:
                if last_use[name] == place:
                    golden.pop(name, None)

    def _value(self, name: str, golden: Mapping[str, np.ndarray]) -> np.ndarray:
        return golden[name] if name in golden else _widened(onnx.numpy_helper.to_array(self._weights[name]))

    def _golden(self, node: onnx.NodeProto, needed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of a node in f64."""
        widened = onnx.NodeProto()
        widened.CopyFrom(node)
        set_node_precision(widened, onnx.TensorProto.DOUBLE)
        names = [name for name in node.output if name]
        try:
            with np.errstate(all="ignore"):
                values = ReferenceEvaluator(self._alone(widened, needed)).run(names, dict(needed))
        except Exception as error:  # onnx.reference raises whatever its operators raise
            raise self._failed(node, f"onnx.reference does not compute it in f64: {one_line(error)}") from error
        computed = {name: np.asarray(value) for name, value in zip(names, values, strict=True)}
        for value in computed.values():
            if value.dtype.hasobject or value.dtype in (np.float16, np.float32):
                raise self._failed(node, f"onnx.reference gives {value.dtype}, expected f64")
        return computed

    def _feeds(self, needed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The golden inputs of a node, rounded."""
        return {name: _rounded(value) for name, value in needed.items() if name not in self._weights}

    def _forced(
        self, node: onnx.NodeProto, needed: Mapping[str, np.ndarray], feeds: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The outputs in f32 of a node that reads `needed`, by ONNX Runtime from `feeds`."""
        alone = self._alone(node, feeds)
        # Weights stay weights: ONNX Runtime may pack them, and sum in another order then.
        alone.graph.initializer.extend(self._weights[name] for name in needed if name in self._weights)
        try:
            return dict(Session(alone, self._origin).run(feeds, [name for name in node.output if name]))
        except CandidateError as error:
            raise self._failed(node, str(error)) from error

    def _alone(self, node: onnx.NodeProto, values: Mapping[str, np.ndarray]) -> onnx.ModelProto:
        """A model of one node, whose inputs have the types of `values`."""
        given = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), list(value.shape)
            )
            for name, value in values.items()
        ]
        computed = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", given, computed)
        return onnx.helper.make_model(
            graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version
        )

    def _check(
        self, node: onnx.NodeProto, golden: np.ndarray, forced: np.ndarray, needed: Mapping[str, np.ndarray]
    ) -> None:
        """Whether both engines compute the same. onnx.reference ignores some attributes of recurrent layers."""
        if golden.shape != forced.shape:
            raise self._failed(node, f"has shape {list(golden.shape)} in f64, {list(forced.shape)} in ONNX Runtime")
        if not np.isfinite(golden).all():
            raise self._failed(node, "has values that are not finite in f64, and finite ones in f32; give other inputs")
        error = rms(forced - golden)
        read = max((rms(value) for value in needed.values() if value.dtype == np.float64), default=0.0)
        if error > _ANOTHER_COMPUTATION * rms(golden) and error > _CANCELLATION * read:
            raise self._failed(node, "onnx.reference and ONNX Runtime do not compute the same: there is no reference")

    def _write_stage(self, trace: TraceWriter, name: str, golden: np.ndarray, forced: list[np.ndarray]) -> None:
        """`forced`: outputs of equally good runs. The floors are the largest errors."""
        free = self._free.pop(name)
        axes = self._axes[name]["channel_axis"], self._axes[name]["frame_axis"]
        trace.add(name, golden)
        for running, draws in (("free", [free]), ("forced", forced)):
            if any(values.shape != golden.shape for values in draws):
                raise ReferenceError(f"{self._origin}: `{name}` has another shape in f32 than in f64")
            with np.errstate(all="ignore"):
                found = (floors(values - golden, golden, *axes) for values in draws)
                for part, floor in reduce(larger, found).items():
                    trace.add(f"floor.{running}{part}/{name}", floor)
        if name == self._stages[-1]:
            trace.add(f"f32/{name}", free)

    def _failed(self, node: onnx.NodeProto, what: str) -> ReferenceError:
        domain = f"{node.domain}." if node.domain else ""
        return ReferenceError(f"{self._origin}: node `{node.name or node.output[0]}` ({domain}{node.op_type}): {what}")


def _axes(graph: onnx.GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, dict[str, Any]]:
    """The axes of each tensor, as a manifest has them."""
    channels_first: set[str] = set()
    axes = {}
    for node in graph.node:
        for name in node.output:
            if name not in shapes:
                continue
            shape = shapes[name]
            kept = node.op_type not in MOVES | _FEATURES_LAST and any(
                read in channels_first and len(shapes[read]) == len(shape) for read in node.input
            )
            if len(shape) > 1 and (kept or node.op_type in _CHANNELS_FIRST):
                channels_first.add(name)
            axes[name] = _named_axes(shape, name in channels_first, node)
    return axes


def _named_axes(shape: tuple[int, ...], channels_first: bool, node: onnx.NodeProto) -> dict[str, Any]:
    rank = len(shape)
    channel = max(rank - 1, 0)
    frame = rank - 2 if rank > 2 else None
    names = ["batch", *["_"] * (rank - 3), "frame", "feature"] if rank > 2 else ["batch", "feature"][2 - rank :]
    if channels_first:
        channel = 1
        frame = rank - 1 if rank > 2 else None
        space = {3: ["time"], 4: ["height", "width"], 5: ["depth", "height", "width"]}
        names = ["batch", "channel", *space.get(rank, ["_"] * (rank - 2))]
    elif node.op_type in _RECURRENT:
        # ONNX has a `layout` in which the batch is first.
        by_batch = any(attribute.name == "layout" and attribute.i for attribute in node.attribute)
        if rank == 4:
            frame = 1 if by_batch else 0
            names = ["batch", "frame", "_", "feature"] if by_batch else ["frame", "_", "batch", "feature"]
        else:
            frame = None
            names = ["batch", "_", "feature"] if by_batch else ["_", "batch", "feature"]
    return {"axes": names, "channel_axis": channel, "frame_axis": frame}


def _widened(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float64) if value.dtype.kind == "f" else value


def _rounded(value: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return value.astype(np.float32) if value.dtype.kind == "f" else value
