#!/usr/bin/env python3
"""Looks for false alarms: compares engines that are right with libtorch, on every model and recording given.

    scripts/false_alarms.py PROGRAM --models PATH... --audio WAV... [--windows 2] [-o reports/false-alarms.md]

PROGRAM is soundalike with libtorch (`cargo build --release --features torch`). Models are checkpoints, bundles and pipeline
directories, whose networks are both compared, each network once. Each is compared by each engine and dtype, on each recording, on one thread and on
two; a failed gate is a false alarm, and the exit code is then 1. Instruction sets are those of `self-test`, which runs all
that the machine has.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from bench_peers import cpu

# Engine, dtype and number of threads.
RUNS = [
    ("candle-cpu", "f32", 1), ("candle-cpu", "f32", 2), ("candle-cpu-portable", "f32", 2), ("candle-metal-ops", "f32", 2),
    ("candle-cpu", "f16", 2), ("candle-cpu", "bf16", 2), ("candle-cpu-portable", "f16", 1),
]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path, metavar="PROGRAM")
    parser.add_argument("--models", nargs="+", default=[], metavar="PATH", help="default: the embedded model only")
    parser.add_argument("--audio", nargs="+", required=True, metavar="WAV")
    parser.add_argument("--windows", default="2", help="windows of each recording; embeddings get one of one recording")
    parser.add_argument("-o", "--output", type=Path, default=Path("reports/false-alarms.md"))
    return parser.parse_args()


def networks(models):
    """Options and name of each network."""
    yield [], "segmentation-3.0 (embedded)", False
    for model in models:
        if Path(model).is_dir():
            for network in ("segmentation", "embedding"):
                yield ["--model", model, "--network", network], f"{Path(model).name}, {network}", network == "embedding"
        else:
            yield ["--model", model], Path(model).parent.name, False


def write(output, rows, alarms, stages):
    header = ["network", "engine", "dtype", "threads", "inputs", "stages", "verdicts", "largest R", "outputs checked", "gate"]
    lines = ["# False alarms", "", f"`scripts/false_alarms.py` on {cpu()}: {len(rows)} comparisons of engines that are right, "
             f"{stages} stages in all, {len(alarms)} false alarms. R is R_d in 16 bits. *Outputs checked*: of unobserved batches and "
             "of `diarize`.", ""]
    lines += ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    if alarms:
        lines += ["", *[f"- {alarm}" for alarm in alarms]]
    output.write_text("\n".join(lines) + "\n")


def main():
    options = arguments()
    rows, alarms, stages, seen = [], [], 0, set()
    for model, name, is_embedding in networks(options.models):
        before = frozenset(seen)
        for engine, dtype, threads in RUNS:
            # The other engines and 16 bits take minutes for an embedding.
            if is_embedding and (engine, threads) != ("candle-cpu", 2):
                continue
            audio = options.audio[:2] if is_embedding else options.audio
            if is_embedding and dtype != "f32":
                audio = audio[:1]
            command = [options.program, "compare", *model, "--reference", "torch", "--candidate", engine, "--dtype", dtype,
                       "--windows", "1" if is_embedding else options.windows, "--format", "json", "--audio", *audio]
            start = time.monotonic()
            done = subprocess.run(command, capture_output=True, text=True,
                                  env=os.environ | {"RAYON_NUM_THREADS": str(threads)})
            if done.returncode not in (0, 3):
                sys.exit(f"{name}, {engine}, {dtype}: {done.stderr.strip()}")
            report = json.loads(done.stdout)
            sha256 = report["provenance"]["reference"]["model_sha256"]
            if sha256 in before:
                print(f"{name}: the network of another model", file=sys.stderr)
                break
            seen.add(sha256)
            verdicts = Counter(stage["verdict"] for stage in report["stages"])
            errors = [stage[way] for stage in report["stages"] for way in ("teacher_forced", "free_running") if stage[way]]
            largest = max((error["r_d"] or 0) if dtype != "f32" else (error["r"] or 0) for error in errors)
            checks = sum(path["outputs"] for path in report["production"])
            stages += len(report["stages"]) * len(report["inputs"])
            passed = done.returncode == 0
            if not passed:
                alarms.append(f"{name}, {engine}, {dtype}: " + "; ".join(f["text"] for f in report["gate"]["failures"][:3]))
            rows.append([name, engine, dtype, threads, len(report["inputs"]), len(report["stages"]),
                         ", ".join(f"{n} {v.replace('_', ' ')}" for v, n in verdicts.items()), f"{largest:.2f}", checks,
                         "passed" if passed else "FALSE ALARM"])
            print(*rows[-1], f"{time.monotonic() - start:.0f} s", sep=" | ", file=sys.stderr, flush=True)
    write(options.output, rows, alarms, stages)
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
