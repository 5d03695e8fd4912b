#!/usr/bin/env python3
"""Measures what 16 bits cost: reports/precision.md for people, crates/soundalike/src/commands/precision.json for `diarize --dtype`.

    scripts/precision.py PIPELINE AUDIO... [--note TEXT] [--turns DIR] [--soundalike PROGRAM] [-o DIR]

PIPELINE is a directory with a config.yaml and its models. Every AUDIO is diarized in f32, f16 and bf16, on the CPU, and
what comes out is scored against f32; the first one once more in each, for the time. Both networks are compared with
PyTorch on the first AUDIO, in f32 and rounding to as few bits. That needs libtorch, which is installed into reference/.venv.
RTTM that is in DIR/DTYPE already is not made again.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from bench_peers import ROOT, cpu

WIDE, NARROW = "f32", ("f16", "bf16")
# What `diarize --dtype` prints.
PROGRAM = Path(ROOT) / "crates/soundalike/src/commands/precision.json"
NETWORKS = ("segmentation", "embedding")
# Windows of the first recording on which the networks are compared.
WINDOWS = {"segmentation": 3, "embedding": 1}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", type=Path, metavar="PIPELINE")
    parser.add_argument("audio", type=Path, nargs="+", metavar="AUDIO")
    parser.add_argument("--note", default="", help="what there is to know of the models")
    parser.add_argument("--turns", type=Path, metavar="DIR", help="where RTTM is kept")
    parser.add_argument("--soundalike", type=Path, metavar="PROGRAM", help="with libtorch (default: built here)")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", default=ROOT / "reports")
    return parser.parse_args()


def build():
    """The program with libtorch."""
    subprocess.run(
        ["sh", "-euc", 'eval "$(scripts/setup_libtorch.sh)"; exec cargo build --quiet --release --workspace --features soundalike/torch'],
        cwd=ROOT, check=True)
    return ROOT / "target/release/soundalike"


def diarize(program, pipeline, dtype, audio, output):
    """Seconds that it took."""
    started = time.monotonic()
    command = [program, "diarize", "--quiet", "--device", "cpu", "--labels", "pyannote", "--dtype", dtype]
    subprocess.run([*command, "--model", pipeline, audio, "-o", output], check=True)
    return time.monotonic() - started


def turns(program, pipeline, dtype, audio, directory):
    """All RTTM in one file, as `score` reads it."""
    folder = directory / dtype
    folder.mkdir(parents=True, exist_ok=True)
    for recording in audio:
        rttm = folder / f"{recording.stem}.rttm"
        if not rttm.exists():
            diarize(program, pipeline, dtype, recording, rttm)
    together = directory / f"{dtype}.rttm"
    together.write_text("".join((folder / f"{recording.stem}.rttm").read_text() for recording in audio))
    return together


def score(program, reference, hypothesis):
    """Error rate over all recordings, and of each."""
    command = [program, "score", reference, hypothesis, "--format", "json"]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    report = json.loads(found.stdout)["reports"][0]
    rates = {recording["uri"]: recording["figures"]["der"] for recording in report["recordings"]}
    return report["pooled"]["der"], rates


def network(program, pipeline, name, dtype, audio):
    """The largest errors of any stage, and how alike the outputs are."""
    command = [program, "compare", "--reference", "torch", "--candidate", "candle-cpu-portable",
               "--model", pipeline, "--network", name, "--dtype", dtype, "--audio", audio, "--windows", str(WINDOWS[name]),
               "--format", "json"]
    found = subprocess.run(command, capture_output=True, text=True)
    # 3: a limit of the gate is not kept, which is among what is reported.
    if found.returncode not in (0, 3):
        raise SystemExit(found.stderr)
    report = json.loads(found.stdout)
    forced = [stage["teacher_forced"] for stage in report["stages"] if stage["teacher_forced"]]
    narrow = [stage["r_d"] for stage in forced if "r_d" in stage]
    output = report["output"]
    cosines = [embedding["cosine"] for embedding in output.get("embeddings", [])]
    return {
        "network": name,
        "r": max(stage["r"] for stage in forced),
        "r_d": max(narrow) if narrow else None,
        "source": report["source"],
        "frame_agreement": output.get("frame_agreement"),
        "cosine": min(cosines) if cosines else None,
        "correlation": output["correlation"],
    }


def percent(share):
    return f"{100 * share:.2f} %"


def figure(number):
    if number is None:
        return "-"
    return f"{number:.1e}" if number >= 1e4 else f"{number:.3g}"


def lack(number):
    return "-" if number is None else f"{1 - number:.1e}"


def markdown(found):
    lines = [
        "# What 16 bits cost", "",
        f"`scripts/precision.py` wrote this: {len(found['recordings'])} recordings through the "
        f"pipeline {found['pipeline']}. {found['machine']}; load average {found['load']:.2f}. {found['note']}".rstrip(), "",
        "## Turns and time", "",
        "DER of the turns against those of f32, no collar, overlap scored, with the worst recording; seconds for "
        f"{found['timed']} on the CPU. f32 runs on kernels written by hand, 16 bits on none.", "",
        "| dtype | DER | worst recording | seconds | times f32 |", "|---|---:|---:|---:|---:|",
        f"| f32 | - | - | {found['seconds']:.1f} | 1 |"]
    for cost in found["dtypes"]:
        lines.append(f"| {cost['dtype']} | {percent(cost['der'])} | {percent(cost['worst_der'])} ({cost['worst']}) "
                     f"| {cost['seconds']:.1f} | {cost['times_as_long']:.1f} |")
    lines += ["", "## Networks", "",
              "Against PyTorch, each stage fed by the reference: the largest R of any stage (error over that of PyTorch in f32) "
              "and the largest R_d (over that of PyTorch rounding to as few bits; below 4 is rounding and no bug). Outputs of "
              "the network feeding itself: frames decided as PyTorch decides them, or the least cosine of an embedding.", "",
              "| network | dtype | R | R_d | stages blamed | frame agreement | 1 - cosine | 1 - correlation |",
              "|---|---|---:|---:|---|---:|---:|---:|"]
    for cost in found["dtypes"]:
        for of in cost["networks"]:
            agreement = "-" if of["frame_agreement"] is None else percent(of["frame_agreement"])
            lines.append(f"| {of['network']} | {cost['dtype']} | {figure(of['r'])} | {figure(of['r_d'])} "
                         f"| {', '.join(of['source']) or 'none'} | {agreement} | {lack(of['cosine'])} | {lack(of['correlation'])} |")
    rates = " | ".join(cost["dtype"] for cost in found["dtypes"])
    lines += ["", "## DER of each recording", "", f"| recording | {rates} |", "|---|" + "---:|" * len(found["dtypes"])]
    for uri in found["recordings"]:
        row = " | ".join(percent(cost["recordings"].get(uri, 0.0)) for cost in found["dtypes"])
        lines.append(f"| {uri} | {row} |")
    return "\n".join(lines) + "\n"


def main():
    options = arguments()
    program = options.soundalike.resolve() if options.soundalike else build()
    pipeline, audio = options.pipeline, options.audio
    with tempfile.TemporaryDirectory() as work:
        kept = options.turns or Path(work)
        wide = turns(program, pipeline, WIDE, audio, kept)
        dtypes = []
        for dtype in NARROW:
            der, rates = score(program, wide, turns(program, pipeline, dtype, audio, kept))
            worst = max(rates, key=rates.get)
            dtypes.append({
                "dtype": dtype, "der": der, "worst": worst, "worst_der": rates[worst], "recordings": rates,
                "networks": [network(program, pipeline, name, dtype, audio[0]) for name in NETWORKS],
            })
        spent = {dtype: diarize(program, pipeline, dtype, audio[0], Path(work) / "timed.rttm") for dtype in (WIDE, *NARROW)}
    for cost in dtypes:
        cost["seconds"] = spent[cost["dtype"]]
        cost["times_as_long"] = spent[cost["dtype"]] / spent[WIDE]
    found = {
        "schema": 1,
        "pipeline": pipeline.name,
        "note": options.note,
        "machine": f"{cpu()}, {os.cpu_count()} cores",
        "load": os.getloadavg()[0],
        "recordings": [recording.stem for recording in audio],
        "timed": audio[0].stem,
        "seconds": spent[WIDE],
        "dtypes": dtypes,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    PROGRAM.write_text(json.dumps(found, indent=2) + "\n")
    (options.output / "precision.md").write_text(markdown(found))


if __name__ == "__main__":
    main()
