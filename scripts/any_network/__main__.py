"""Compares networks that nobody here wrote with their ports, injects faults, and writes reports/any-network/.

    scripts/any_network.sh [--audio FOLDER] [--embedding CHECKPOINT] [--soundalike PROGRAM] [--only WORD]...

--audio is a folder of recordings (one channel at 16 kHz), for the decisions of Silero VAD in f16. --embedding is a
checkpoint of pyannote's WeSpeakerResNet34, a pickle: PyTorch runs what is in it. --soundalike is the program that
runs pyannote's networks on candle: target/release/soundalike. --only runs the pairs and faults whose names have WORD
in them, and prints instead of writing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import tables
import workers
from decisions import decisions
from faults import FAULTS
from networks import ROOT
from pairs import PAIRS
from results import Compared

OUT = ROOT / "reports/any-network"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, metavar="FOLDER")
    parser.add_argument("--embedding", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--soundalike", type=Path, default=ROOT / "target/release/soundalike", metavar="PROGRAM")
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    pairs = [key for key in PAIRS if _wanted(" ".join(key), options) and _given(key, options)]
    faults = [n for n, fault in enumerate(FAULTS) if _wanted(f"{fault.network} {fault.text}", options)]
    start = time.monotonic()
    f16 = decisions(options.audio) if options.audio and not options.only else None
    # A process for each: its peak memory is its own, and a network that fails takes no other with it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, initializer=workers.quiet, max_tasks_per_child=1) as pool:
        running: list[Any] = [pool.submit(workers.pair, key, options) for key in pairs]
        running += [pool.submit(workers.faults, faults[n : n + 4]) for n in range(0, len(faults), 4)]
        done = [_shown(future.result()) for future in running]
    runs = [one for one in done if isinstance(one, Compared)]
    found = [one for each in done if isinstance(each, list) for one in each]
    if options.only:
        return 0
    tables.write(OUT, runs, found, f16, time.monotonic() - start)
    return 0 if all(run.as_expected for run in runs) else 1


def _wanted(name: str, options: argparse.Namespace) -> bool:
    return not options.only or any(word in name for word in options.only)


def _given(key: tuple[str, str], options: argparse.Namespace) -> bool:
    """Whether what the pair needs is there."""
    network, candidate = key
    if not candidate.startswith("candle"):
        return True
    return options.soundalike.is_file() and (network == "PyanNet" or options.embedding is not None)


def _shown(result: Any) -> Any:
    for one in result if isinstance(result, list) else [result]:
        print(one, file=sys.stderr, flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
