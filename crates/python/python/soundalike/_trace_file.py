"""Traces: named arrays in a file or a folder, read one array at a time, and written as ``.npz``."""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from . import _native
from ._errors import Error

# The oldest time that a zip archive can hold: equal arrays give equal bytes.
_TIME = (1980, 1, 1, 0, 0, 0)


class TraceWriter:
    """Writes a trace array by array. The file appears under its name when everything is in it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._aside = ""

    def __enter__(self) -> TraceWriter:
        try:
            handle, self._aside = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        except OSError as error:
            raise Error(f"{self.path}: cannot be written: {error.strerror}") from error
        self._file = os.fdopen(handle, "wb")
        self._zip = zipfile.ZipFile(self._file, "w")
        return self

    def add(self, name: str, array: np.ndarray) -> None:
        """Appends an array, stored, little-endian and in C order."""
        array = np.asarray(array)
        if array.dtype.hasobject:
            raise Error(f"{name}: has elements of type {array.dtype}, expected numbers")
        array = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        entry = zipfile.ZipInfo(f"{name}.npy", _TIME)
        entry.create_system, entry.external_attr = 3, 0o644 << 16
        with self._zip.open(entry, "w", force_zip64=array.nbytes > 1 << 30) as out:
            np.lib.format.write_array(out, array, (1, 0), allow_pickle=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._zip.close()
            self._file.close()
            if kind is None:
                os.chmod(self._aside, 0o644)
                os.replace(self._aside, self.path)
        finally:
            if os.path.exists(self._aside):
                os.unlink(self._aside)


class Trace(Mapping[str, np.ndarray]):
    """The arrays of a trace by name, in the order of the file. Each is read when it is asked for."""

    def __init__(self, path: str | os.PathLike[str], *, u2_as_bf16: bool = False) -> None:
        """`u2_as_bf16`: integers of 16 bits are bf16."""
        self.path = Path(path)
        self.u2_as_bf16 = u2_as_bf16
        if self.path.is_dir() or self.path.suffix == ".safetensors" or u2_as_bf16:
            self._arrays: Mapping[str, np.ndarray] = _Floats(self._native())
            return
        try:
            npz = np.load(self.path, allow_pickle=False)
        except OSError as error:
            raise Error(f"{self.path}: cannot be read: {error.strerror or error}") from error
        except (EOFError, ValueError, zipfile.BadZipFile) as error:
            raise Error(f"{self.path}: is no trace (.npz), or is truncated: {error}") from error
        if not isinstance(npz, np.lib.npyio.NpzFile):
            raise Error(f"{self.path}: is a single array; a trace is an .npz of several")
        self._arrays = npz

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            array: np.ndarray = self._arrays[name]
        except (EOFError, NotImplementedError, OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise Error(f"{self.path}: `{name}` cannot be read: {error}") from error
        return array

    def types(self) -> dict[str, str]:
        """The types of the arrays of floats: ``f16``."""
        return {name: dtype for name, dtype, _ in self._native().list()}

    def _native(self) -> _native.Arrays:
        return _native.Arrays(str(self.path), self.u2_as_bf16)

    def __contains__(self, name: object) -> bool:
        # The default reads the array.
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def is_trace(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a trace, by its name, or a folder."""
    return Path(path).suffix in (".npz", ".safetensors") or Path(path).is_dir()


# numpy has no bfloat16; all others hold it exactly.
_TYPES = {"f16": np.float16, "f64": np.float64}


class _Floats(Mapping[str, np.ndarray]):
    """The arrays of floats of a trace in any format."""

    def __init__(self, file: _native.Arrays) -> None:
        self._file = file
        self._known = {name: (dtype, shape) for name, dtype, shape in self._file.list()}

    def __getitem__(self, name: str) -> np.ndarray:
        dtype, shape = self._known[name]
        values = np.frombuffer(self._file.read(name), "<f8").reshape(shape)
        return values.astype(_TYPES.get(dtype, np.float32))

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
