#!/usr/bin/env python3
"""Compares every engine that runs on any machine with PyTorch, in each dtype it has: reports/engines/.

    engines.py PROGRAM AUDIO WESPEAKER DIRECTORY    scripts/reports.sh calls it

PROGRAM is soundalike with libtorch, AUDIO a recording whose first window is compared, WESPEAKER a checkpoint of a speaker
embedding. Fails where a verdict is not the one that is expected.
"""

import json
import subprocess
import sys
from pathlib import Path

program, audio, wespeaker, directory = sys.argv[1:]
# Engines, with their options and dtypes. Kernels on the CPU are for f32; in 16 bits, candle-cpu is candle-cpu-portable.
ENGINES = [
    ("candle-cpu", [], ["f32"]),
    ("candle-cpu-portable", [], ["f32", "f16", "bf16"]),
    ("candle-metal-ops", [], ["f32", "f16", "bf16"]),
]
# There is a kernel for the LSTM, and an embedding has none.
EXPERIMENTAL = ("candle-metal-ops", ["--experimental-kernels"], ["f32", "f16", "bf16"])
# Of a network, what names it, and the engines.
NETWORKS = {
    "segmentation-3.0": ([], [*ENGINES, EXPERIMENTAL]),
    "wespeaker-resnet34": (["--model", wespeaker, "--masks", "speakers"], ENGINES),
}
# What an engine must be called: as exact as f32 can be, or as its 16 bits.
EXPECTED = {"f32": "exact", "f16": "precision", "bf16": "precision"}
VERDICTS = ["exact", "precision", "structural"]


def compare(arguments, format):
    command = [program, "compare", "--reference", "torch", "--audio", audio, *arguments, "--format", format]
    found = subprocess.run(command, capture_output=True, text=True)
    # 3: a limit of the gate is not kept, which is among what is reported.
    if found.returncode not in (0, 3):
        sys.exit(f"engines.py: {' '.join(command)}: {found.stderr}")
    return found.returncode, found.stdout


def largest(stages, run, figure):
    """The largest figure of any stage, and the stage."""
    found = [(stage[run][figure], stage["name"]) for stage in stages if stage[run] and stage[run].get(figure) is not None]
    if not found:
        return "-"
    value, name = max(found)
    return f"{value:.2f} ({name})" if value < 100 else f"{value:.0f} ({name})"


def agreement(output):
    """Of frames, or the least cosine of an embedding."""
    cosines = [embedding["cosine"] for embedding in output.get("embeddings", [])]
    if cosines:
        return f"cosine 1 - {1 - min(cosines):.1e}"
    return f"{100 * output['frame_agreement']:.2f} % of frames"


def row(network, model, engine, options, dtype):
    arguments = [*model, "--candidate", engine, *options, "--dtype", dtype]
    code, text = compare(arguments, "json")
    report = json.loads(text)
    stages = report["stages"]
    verdict = max((stage["verdict"] for stage in stages if stage["verdict"] in VERDICTS), key=VERDICTS.index)
    file = "-".join([network, engine, *(option.strip("-") for option in options), dtype]) + ".md"
    (Path(directory) / file).write_text(compare(arguments, "markdown")[1])
    if (verdict, code) != (EXPECTED[dtype], 0):
        sys.exit(f"engines.py: {' '.join(arguments)}: {verdict}, exit code {code}, expected {EXPECTED[dtype]} and 0")
    cells = [
        f"[{report['candidate']}]({file})", dtype,
        largest(stages, "teacher_forced", "r"), largest(stages, "free_running", "r"), largest(stages, "teacher_forced", "r_d"),
        agreement(report["output"]), verdict, str(code),
    ]
    return report, "| " + " | ".join(cells) + " |"


def table(network, model, engines):
    rows = [row(network, model, engine, options, dtype) for engine, options, dtypes in engines for dtype in dtypes]
    report = rows[0][0]
    of, (window,) = report["provenance"], report["inputs"][:1]
    lines = [
        f"## {network}", "",
        f"{window['uri']}, {window['start']:g} to {window['start'] + window['duration']:g} s; soundalike {of['soundalike']}, "
        f"{of['cpu']}, {of['threads']} threads.", "",
        "| engine | dtype | R forced | R free | R_d forced | decided alike | verdict | exit code |",
        "|---|---|---:|---:|---:|---|---|---:|",
    ]
    return "\n".join(lines + [line for _, line in rows])


Path(directory).mkdir(parents=True, exist_ok=True)
tables = [table(network, *of) for network, of in NETWORKS.items()]
(Path(directory) / "README.md").write_text("\n\n".join([
    "# Every engine that runs without a GPU",
    "`scripts/reports.sh --engines` wrote this: `compare --reference torch`, with the largest error of any stage and "
    "the stage. R is in units of PyTorch's own f32 error, R_d in units of that of PyTorch rounding to as many bits; *forced* "
    "stages are fed by the reference, *free* ones by the candidate. Expected are `exact` in f32 (R < 4) and `precision` in 16 "
    "bits (R_d < 4), and exit code 0; anything else stops the script.",
    "candle-metal-ops computes on the CPU what a Mac's GPU gets, with the experimental kernels in plain Rust. What a GPU makes "
    "of it is not here: candle-metal and candle-cuda need one (the README's *Status*).",
    *tables,
]) + "\n")
