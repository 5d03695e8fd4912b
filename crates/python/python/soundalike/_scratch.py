"""Temporary files, which are removed when a run ends, also by a signal."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn

# Those that end a process without a word; SIGINT is an exception in Python. Not every system has all.
_ENDING = [found for name in ("SIGTERM", "SIGHUP") if (found := getattr(signal, name, None)) is not None]


class Scratch:
    """A folder that is made when the first file in it is named, and removed at the end."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def __truediv__(self, name: str) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="soundalike-")
        return Path(self._folder.name) / name


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Signals that would end the process at once raise ``SystemExit``, so that temporary files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the business of the main thread
        return
    ours = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)  # as shells do
