"""Progress on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def reporter(wanted: bool | None) -> Iterator[Callable[[str], None]]:
    """A function that reports what is done now: on a terminal with tqdm in one line that changes, else in lines.

    `wanted`: whether to report at all; None: if stderr is a terminal.
    """
    terminal = sys.stderr.isatty()
    if not (terminal if wanted is None else wanted):
        yield lambda text: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        terminal = False
    if not terminal:
        yield lambda text: print(text, file=sys.stderr, flush=True)
        return
    with tqdm(bar_format="{desc} [{elapsed}]", leave=False) as line:
        yield line.set_description_str
