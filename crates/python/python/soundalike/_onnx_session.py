"""ONNX Runtime on one CPU thread, and the inputs it is given."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ._errors import CandidateError
from ._inputs import Example, as_array
from ._onnx_graph import inputs, onnx

try:
    import onnxruntime as onnxruntime  # for the other files, too
except ImportError as missing:
    raise CandidateError("ONNX files need the package onnxruntime: pip install 'soundalike[onnx]'") from missing

# Names of ONNX Runtime's element types that are compared, with those of ONNX.
FLOAT_TYPES = {
    "tensor(float16)": onnx.TensorProto.FLOAT16,
    "tensor(float)": onnx.TensorProto.FLOAT,
    "tensor(double)": onnx.TensorProto.DOUBLE,
}


class Session:
    """A model in ONNX Runtime: one thread, on the CPU."""

    def __init__(
        self,
        model: onnx.ModelProto,
        origin: str,
        *,
        show: Sequence[str] = (),
        optimise: bool = False,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        """`show` are tensors that become outputs as well; external data lie in `folder`.

        Raises:
            CandidateError: if ONNX Runtime does not load the model.
        """
        self._origin = origin
        shown = onnx.ModelProto()
        shown.CopyFrom(model)
        have = {output.name for output in shown.graph.output}
        # Without a type: ONNX Runtime infers it.
        shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in show if name not in have)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # Errors are exceptions: nothing on stderr.
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if folder is not None:
            # External data are read by ONNX Runtime itself, which keeps to this folder.
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        try:
            content = shown.SerializeToString()
        except Exception as error:  # protobuf has several types for "too large"
            raise CandidateError(
                f"{origin}: is larger than 2 GiB, the limit of protobuf; "
                "save it with its weights in a file of their own: onnx.save(..., save_as_external_data=True)"
            ) from error
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common type
            raise CandidateError(f"{origin}: ONNX Runtime does not load it: {one_line(error)}") from error
        self.types: dict[str, str] = {output.name: output.type for output in self._session.get_outputs()}
        """ONNX Runtime's element type of each output, by name, in the order of the outputs."""

    def run(self, feeds: Mapping[str, np.ndarray], names: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        """The outputs called `names`, one at a time.

        Raises:
            CandidateError: if a node fails.
        """
        try:
            given = {name: onnxruntime.OrtValue.ortvalue_from_numpy(value) for name, value in feeds.items()}
            values = self._session.run_with_ort_values(list(names), given)
        except Exception as error:
            raise CandidateError(f"{self._origin}: ONNX Runtime fails: {one_line(error)}") from error
        # ONNX Runtime's memory for a tensor is freed when the tensor was seen.
        waiting = list(values)[::-1]
        for name in names:
            yield name, np.array(waiting.pop().numpy())


def one_line(error: Exception) -> str:
    """The text of an exception of a library, without its line breaks."""
    return " ".join(str(error).split())


def bind(example: Example, graph: onnx.GraphProto, origin: str) -> dict[str, np.ndarray]:
    """The inputs of a graph: by keyword, the others by position; floats and integers in the graph's type.

    Raises:
        CandidateError: if the example does not fit the graph.
    """
    expected = {value.name: value for value in inputs(graph)}

    def wrong(what: str) -> CandidateError:
        described = ", ".join(_describe(value) for value in expected.values())
        return CandidateError(f"{origin}: {what}; it has the inputs {described or '(none)'}")

    given = dict(example.kwargs)
    unknown = [name for name in given if name not in expected]
    if unknown:
        raise wrong(f"has no input {', '.join(f'`{name}`' for name in unknown)}")
    places = [name for name in expected if name not in given]
    if len(example.args) > len(places):
        raise wrong(f"{len(example.args)} inputs by position, expected {len(places)}")
    given |= zip(places, example.args)
    missing = [name for name in expected if name not in given]
    if missing:
        raise wrong(f"no value for the input {', '.join(f'`{name}`' for name in missing)}")
    bound = {}
    for name, value in expected.items():
        array = _cast(given[name], value)
        if array is None:
            raise wrong(f"the input `{name}` is {as_array(given[name]).dtype}")
        if not _fits(array.shape, value):
            raise wrong(f"the input `{name}` has shape {list(array.shape)}")
        bound[name] = array
    return bound


def input_names(example: Example, graph: onnx.GraphProto) -> dict[str, str]:
    """The name that each input of a graph has in the example, as in `Example.tensors`."""
    by_keyword = {name: f"input:{name}" for name in example.kwargs}
    places = [value.name for value in inputs(graph) if value.name not in by_keyword]
    names = [name for name, _ in example.tensors()]
    return by_keyword | dict(zip(places, names[: len(example.args)]))


def _cast(given: Any, value: onnx.ValueInfoProto) -> np.ndarray | None:
    """`given` in the type of a graph input; None where that would be another value."""
    array = as_array(given)
    if not value.type.tensor_type.elem_type:  # a sequence, or an optional value
        return None
    wanted = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    if array.dtype == wanted or (array.dtype.kind == "f" and np.issubdtype(wanted, np.floating)):
        with np.errstate(over="ignore"):
            return np.asarray(array, wanted, order="C")
    if array.dtype.kind in "iu" and np.issubdtype(wanted, np.integer):
        cast = np.asarray(array, wanted, order="C")
        return cast if np.array_equal(cast, array) else None
    return None


def _fits(shape: tuple[int, ...], value: onnx.ValueInfoProto) -> bool:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return True
    sizes = [size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim]
    return len(sizes) == len(shape) and all(size in (None, given) for size, given in zip(sizes, shape))


def _describe(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    if not tensor.elem_type:
        return f"`{value.name}` (no tensor)"
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if not tensor.HasField("shape"):
        return f"`{value.name}` {dtype}"
    sizes = [str(size.dim_value) if size.HasField("dim_value") else size.dim_param or "?" for size in tensor.shape.dim]
    return f"`{value.name}` {dtype} [{', '.join(sizes)}]"
