"""Traces: ``.npz`` files of named arrays, written and read one array at a time."""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

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

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._npz = np.load(self.path, allow_pickle=False)
        except OSError as error:
            raise Error(f"{self.path}: cannot be read: {error.strerror or error}") from error
        except (EOFError, ValueError, zipfile.BadZipFile) as error:
            raise Error(f"{self.path}: is no trace (.npz), or is truncated: {error}") from error
        if not isinstance(self._npz, np.lib.npyio.NpzFile):
            raise Error(f"{self.path}: is a single array; a trace is an .npz of several")

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            array: np.ndarray = self._npz[name]
        except (EOFError, NotImplementedError, OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise Error(f"{self.path}: `{name}` cannot be read: {error}") from error
        return array

    def __contains__(self, name: object) -> bool:
        # The default reads the array.
        return name in self._npz

    def __iter__(self) -> Iterator[str]:
        return iter(self._npz.files)

    def __len__(self) -> int:
        return len(self._npz.files)
