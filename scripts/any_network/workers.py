"""What runs in a process of its own."""

from __future__ import annotations

import argparse
import logging
import resource
import tempfile
import warnings
from pathlib import Path

import torch
from faults import FAULTS
from inject import judge
from pairs import PAIRS
from results import Compared, Injected, compared, injected


def quiet() -> None:
    """Prepares a process: one thread, and no warnings of exporters."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)


def pair(key: tuple[str, str], options: argparse.Namespace) -> Compared:
    """Compares a pair."""
    with tempfile.TemporaryDirectory() as folder:
        made = PAIRS[key](options, Path(folder))
        return compared(*key, made, lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def faults(numbers: list[int]) -> list[Injected]:
    """Injects faults of one network after another."""
    results = []
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            results.append(injected(FAULTS[number], judge(FAULTS[number], Path(folder))))
    return results
