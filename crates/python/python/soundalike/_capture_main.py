"""``python -m soundalike capture``: captures a reference from the command line."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._errors import InputError, ReferenceError
from ._inputs import Example

if TYPE_CHECKING:
    from torch import nn


def main(argv: list[str]) -> int:
    """Captures a reference trace; `argv` are the arguments behind ``capture``. Returns the exit code.

    Raises:
        Error: as `capture`, and where the network or the inputs cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog="soundalike capture",
        description="Writes the reference trace of a torch.nn.Module. The network's code is run.",
    )
    parser.add_argument("module", help="a module, or a function that makes one: mypackage.models:model")
    parser.add_argument(
        "--inputs",
        required=True,
        type=Path,
        help="an .npy of the only argument, or an .npz: `input`, `input:1`, ... by position, others by keyword",
    )
    parser.add_argument("-o", "--output", required=True, type=Path, help="the trace, an .npz")
    parser.add_argument("--name", help="the name of the network in reports")
    parser.add_argument("-q", "--quiet", action="store_true", help="report no progress")
    options = parser.parse_args(argv)

    from ._capture import capture

    example = read_example(options.inputs)
    capture(load_module(options.module), example, options.output, name=options.name, progress=not options.quiet)
    return 0


def read_example(path: Path) -> Example:
    """The arguments in an ``.npy`` or ``.npz`` file.

    Raises:
        InputError: if it cannot be read, or holds Python objects.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = {"input": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}; write it with numpy.save or numpy.savez") from error
    by_position: dict[int, np.ndarray] = {}
    kwargs: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        # numpy.savez names arrays without a name `arr_0`, `arr_1`, ...
        place = re.fullmatch(r"(?:input:|arr_)(\d+)", name)
        if name == "input" or place:
            by_position[int(place[1]) if place else 0] = array
        else:
            kwargs[name.removeprefix("input:")] = array
    if sorted(by_position) != list(range(len(by_position))):
        missing = min(set(range(len(by_position))) - set(by_position))
        raise InputError(f"{path}: has no argument {missing}, and a later one")
    return Example(tuple(by_position[place] for place in sorted(by_position)), kwargs)


def load_module(spec: str) -> nn.Module:
    """The module at ``package.module:attribute``; if that is a function or a class, what it returns.

    Raises:
        ReferenceError: if it cannot be imported, or is no module.
    """
    package, _, attribute = spec.partition(":")
    if not attribute:
        raise ReferenceError(f"{spec}: names no module; write package.module:attribute")
    try:
        found: Any = importlib.import_module(package)
        for part in attribute.split("."):
            found = getattr(found, part)
        if isinstance(found, type) or (callable(found) and not hasattr(found, "named_modules")):
            found = found()
    except Exception as error:  # the code raises whatever it likes
        raise ReferenceError(f"{spec}: cannot be imported: {type(error).__name__}: {error}") from error
    if not hasattr(found, "named_modules"):
        kind = type(found).__name__
        raise ReferenceError(f"{spec}: is a {kind}, expected a torch.nn.Module or a function that makes one")
    module: nn.Module = found
    return module
