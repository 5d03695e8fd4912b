"""ONNX graphs: what a node reads, which branch is taken, and graphs whose consumers read something else."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ._errors import CandidateError

try:
    import onnx as onnx  # for the other files, too
    import onnx.inliner
    from google.protobuf.message import DecodeError
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto
except ImportError as missing:
    raise CandidateError("ONNX files need the packages onnx and onnxruntime: pip install 'soundalike[onnx]'") from missing

# The longest message that protobuf reads or writes.
PROTOBUF_LIMIT = 2**31 - 1

FLOATS = {TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.BFLOAT16}

# Operators that read the shape of a tensor, and none of its values.
SHAPES = {"Shape", "Size"}

# Operators that arrange values, or repeat or drop some, and compute none.
MOVES = {
    "Cast", "CastLike", "Compress", "Concat", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather",
    "GatherElements", "GatherND", "Identity", "Pad", "Reshape", "ReverseSequence", "Slice", "SpaceToDepth", "Split",
    "Squeeze", "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Where a tensor comes from."""

    op: str
    """Type of its node: `Conv`."""
    node: str
    """Name of its node; may be empty."""
    scope: str
    """Path of the module that the node was exported from (`encoder.layers.0`); empty where the file has none."""


@dataclass(frozen=True)
class Ancestors:
    """What a tensor is computed from."""

    names: list[str]
    """The stops and graph inputs whose values are read, sorted."""
    ops: list[str]
    """The types of the nodes on the way, in order of execution."""


def load(model: str | os.PathLike[str] | bytes | ModelProto) -> ModelProto:
    """Reads a model; local functions become part of its graph. External data stay where they are.

    Raises:
        CandidateError: if the file cannot be read, or is no ONNX model.
    """
    origin = "ONNX model"
    if isinstance(model, ModelProto):
        proto = model
    elif isinstance(model, bytes):
        proto = _parse(model, origin)
    else:
        origin = str(model)
        try:
            size = Path(model).stat().st_size
            if size > PROTOBUF_LIMIT:
                raise CandidateError(
                    f"{origin}: is larger than 2 GiB, the limit of protobuf; "
                    "save it with its weights in a file of their own: onnx.save(..., save_as_external_data=True)"
                )
            proto = _parse(Path(model).read_bytes(), origin)
        except OSError as error:
            raise CandidateError(f"{origin}: cannot be read: {error.strerror}") from error
    if not proto.opset_import or not proto.graph.output:
        raise CandidateError(f"{origin}: is no ONNX model: it has no graph with an output")
    return onnx.inliner.inline_local_functions(proto) if proto.functions else proto


def _parse(content: bytes, origin: str) -> ModelProto:
    try:
        parsed: ModelProto = ModelProto.FromString(content)
    except DecodeError as error:
        raise CandidateError(f"{origin}: is no ONNX model, or is truncated") from error
    return parsed


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The bodies of `If`, `Loop` and `Scan`."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def reads(node: NodeProto) -> list[str]:
    """The tensors that a node reads, those that its bodies read from outside included."""
    names = [name for name in node.input if name]
    for body in subgraphs(node):
        inside = _defined(body)
        outside = [name for inner in body.node for name in reads(inner)] + [output.name for output in body.output]
        names += [name for name in outside if name not in inside]
    return list(dict.fromkeys(names))


def _defined(graph: GraphProto) -> set[str]:
    """The names that a graph gives values to."""
    names = {value.name for value in graph.input} | constants(graph).keys()
    return names.union(*(node.output for node in graph.node))


def constants(graph: GraphProto) -> dict[str, TensorProto]:
    """The weights of a graph by name."""
    return {tensor.name: tensor for tensor in graph.initializer} | {
        tensor.values.name: tensor.values for tensor in graph.sparse_initializer
    }


def inputs(graph: GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs without a default."""
    given = constants(graph)
    return [value for value in graph.input if value.name not in given]


def all_names(graph: GraphProto) -> set[str]:
    """Every name in use, in bodies, too."""
    return _defined(graph) | {value.name for value in graph.output} | _names_of(graph.node)


def _names_of(nodes: Iterable[NodeProto]) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        names.update(node.input, node.output, *(all_names(body) for body in subgraphs(node)))
    return names


def unused(name: str, names: Container[str]) -> str:
    """`name`, with a number behind it where it is among `names`."""
    numbered = (f"{name}#{count}" for count in itertools.count(1))
    return next(candidate for candidate in itertools.chain([name], numbered) if candidate not in names)


def rename_reads(nodes: Iterable[NodeProto], renamed: Mapping[str, str]) -> None:
    """Lets every consumer of a tensor in `renamed` read another one. Bodies that define the name themselves keep it."""
    for node in nodes:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
        for body in subgraphs(node):
            outside = {name: new for name, new in renamed.items() if name not in _defined(body)}
            rename_reads(body.node, outside)
            for output in body.output:
                output.name = outside.get(output.name, output.name)


def branches(graph: GraphProto) -> list[NodeProto]:
    """The `If` nodes outside any body."""
    return [node for node in graph.node if node.op_type == "If" and not node.domain]


def take_branches(model: ModelProto, conditions: Sequence[bool]) -> ModelProto:
    """The model with each of `branches` replaced by the body that its condition chooses."""
    taken = ModelProto()
    taken.CopyFrom(model)
    graph = taken.graph
    chosen = iter(conditions)
    nodes: list[NodeProto] = []
    node_names = {node.name for node in graph.node}
    for place, node in enumerate(graph.node):
        if node.op_type != "If" or node.domain:
            nodes.append(node)
            continue
        which = "then_branch" if next(chosen) else "else_branch"
        body = next(attribute.g for attribute in node.attribute if attribute.name == which)
        # Bodies may use one name for different tensors.
        names = _defined(graph) | _names_of(nodes) | _names_of(graph.node[place + 1 :])
        own = {name: unused(name, names | all_names(body)) for name in _defined(body) & names if name}
        rename_reads(body.node, own)
        for inner in body.node:
            inner.output[:] = [own.get(name, name) for name in inner.output]
            # Names of nodes must differ, too; an empty one may repeat.
            inner.name = inner.name and unused(inner.name, node_names)
            node_names.add(inner.name)
            nodes.append(inner)
        for tensor in body.initializer:
            tensor.name = own.get(tensor.name, tensor.name)
        graph.initializer.extend(body.initializer)
        for inside, outside in zip(body.output, node.output, strict=True):
            nodes.append(onnx.helper.make_node("Identity", [own.get(inside.name, inside.name)], [outside]))
    replaced = GraphProto(node=nodes)
    del graph.node[:]
    graph.node.extend(replaced.node)
    return taken


def teach(model: ModelProto, taught: Mapping[str, tuple[int, int]]) -> tuple[ModelProto, dict[str, str]]:
    """The model with a new graph input for each tensor in `taught`, which all consumers read in place of the tensor.

    The tensors are still computed. `taught` holds their element types and ranks. Returns the model and the names of the
    new inputs.
    """
    rewired = ModelProto()
    rewired.CopyFrom(model)
    graph = rewired.graph
    names = all_names(graph)
    renamed = {name: unused(f"{name}:taught", names) for name in taught}
    rename_reads(graph.node, renamed)
    for name, (element_type, rank) in taught.items():
        graph.input.append(onnx.helper.make_tensor_value_info(renamed[name], element_type, [None] * rank))
    return rewired, renamed


class Provenance:
    """What the tensors of a graph are computed from."""

    def __init__(self, graph: GraphProto) -> None:
        self._inputs = {value.name for value in inputs(graph)}
        self._nodes = list(graph.node)
        self._producer = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
        self.sources: dict[str, Source] = {
            name: Source(self._nodes[place].op_type, self._nodes[place].name, _scope(self._nodes[place]))
            for name, place in self._producer.items()
        }
        """Where each tensor comes from, by name, in order of execution."""

    def ancestors(self, name: str, stop: Container[str]) -> Ancestors:
        """What the values of `name` are computed from, back to the tensors in `stop` and the inputs of the graph."""
        names: set[str] = set()
        places: set[int] = set()
        waiting = [self._producer[name]]
        while waiting:
            place = waiting.pop()
            places.add(place)
            for read in _values_read(self._nodes[place]):
                if read in stop or read in self._inputs:
                    names.add(read)
                elif read in self._producer and self._producer[read] not in places:
                    waiting.append(self._producer[read])
        # Nodes that compute with constants only are no part of the way.
        reached = set(names)
        ops = []
        for place in sorted(places):
            node = self._nodes[place]
            if not reached.isdisjoint(_values_read(node)):
                reached.update(node.output)
                ops.append(node.op_type)
        return Ancestors(sorted(names), ops)


def _values_read(node: NodeProto) -> list[str]:
    """The tensors whose values a node reads: of a tensor's shape, none."""
    return [] if node.op_type in SHAPES and not node.domain else reads(node)


def moved_weights(graph: GraphProto) -> set[str]:
    """The tensors that are constants, or constants in another arrangement."""
    weights = set(constants(graph))
    fixed = SHAPES | {"Constant", "ConstantOfShape"}
    for node in graph.node:
        moved = node.op_type in MOVES and weights.issuperset(reads(node))
        if (moved or node.op_type in fixed) and not node.domain:
            weights.update(node.output)
    return weights


def set_precision(graph: GraphProto, element_type: int) -> None:
    """Turns all floats of a graph into one type: weights, constants, inputs, and what nodes convert to."""
    for tensor in constants(graph).values():
        _set_tensor_precision(tensor, element_type)
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.tensor_type.elem_type in FLOATS:
            value.type.tensor_type.elem_type = element_type
    for node in graph.node:
        set_node_precision(node, element_type)


def set_node_precision(node: NodeProto, element_type: int) -> None:
    """As `set_precision`, for one node and its bodies."""
    for body in subgraphs(node):
        set_precision(body, element_type)
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            _set_tensor_precision(attribute.t, element_type)
        elif attribute.name in {"to", "dtype", "output_datatype"} and attribute.i in FLOATS:
            attribute.i = element_type
        elif node.op_type == "Constant" and attribute.name in {"value_float", "value_floats"}:
            # A number in an attribute is always f32.
            values = np.asarray(onnx.helper.get_attribute_value(attribute), np.float32)
            attribute.CopyFrom(onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(values)))
            _set_tensor_precision(attribute.t, element_type)


def _set_tensor_precision(tensor: TensorProto, element_type: int) -> None:
    if tensor.data_type in FLOATS - {element_type}:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(element_type)
        tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(dtype), tensor.name))


def _scope(node: NodeProto) -> str:
    """The path of the module that a node was exported from, as PyTorch's exporters write it."""
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            # "['', 'encoder', 'encoder.layers.0', 'relu']": modules, outermost first, and the function.
            scopes = re.findall(r"'([^']*)'", entry.value)
            return scopes[-2] if len(scopes) > 1 else ""
    if node.name.startswith("/"):
        # "/encoder/layers.0/fc1/MatMul"
        return ".".join(node.name.split("/")[1:-1])
    return ""
