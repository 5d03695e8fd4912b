#!/usr/bin/env python3
"""Measures what fewer bits cost: reports/precision.md for people, crates/soundalike/src/commands/precision.json for the program.

    scripts/precision.py PIPELINE AUDIO... [--only KIND] [--note TEXT] [--turns DIR] [--soundalike PROGRAM] [-o DIR]

PIPELINE is a directory with a config.yaml and its models. Fewer bits are of two kinds: stored, where weights are converted
and widened again when they are read (`convert --dtype`), and computed, where all arithmetic has as few (`diarize --dtype`).
Every AUDIO is diarized in f32 and with each, on the CPU, and what comes out is scored against f32; the first one once more,
for the time. Both networks are compared with PyTorch on the first AUDIO, in f32 and rounding to as few bits. That needs
libtorch, which is installed into reference/.venv. RTTM that is in DIR already is not made again. With --only, the figures of
the other kind are those of the last run.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from bench_peers import ROOT, cpu

WIDE = "f32"
COMPUTED, STORED = ("f16", "bf16"), ("f16", "bf16", "int8", "int4")
# What `diarize --dtype` and `convert --dtype` print.
PROGRAM = Path(ROOT) / "crates/soundalike/src/commands/precision.json"
NETWORKS = ("segmentation", "embedding")
# Version of the layout of that file.
SCHEMA = 2
# Windows of the first recording on which the networks are compared.
WINDOWS = {"segmentation": 3, "embedding": 1}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", type=Path, metavar="PIPELINE")
    parser.add_argument("audio", type=Path, nargs="+", metavar="AUDIO")
    parser.add_argument("--only", choices=("computed", "stored"))
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


def convert(program, pipeline, dtype, output):
    """The pipeline with its weights in DTYPE, and bytes of the files of its networks."""
    subprocess.run([program, "convert", pipeline, "--dtype", dtype, "-o", output], check=True, stdout=subprocess.DEVNULL)
    return {name: (output / f"{name}.safetensors").stat().st_size for name in NETWORKS}


def turns(program, pipeline, dtype, audio, folder):
    """All RTTM in one file, as `score` reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    for recording in audio:
        rttm = folder / f"{recording.stem}.rttm"
        if not rttm.exists():
            diarize(program, pipeline, dtype, recording, rttm)
    together = folder.with_suffix(".rttm")
    together.write_text("".join((folder / f"{recording.stem}.rttm").read_text() for recording in audio))
    return together


def score(program, reference, hypothesis):
    """Error rate over all recordings, and of each."""
    command = [program, "score", reference, hypothesis, "--format", "json"]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    report = json.loads(found.stdout)["reports"][0]
    rates = {recording["uri"]: recording["figures"]["der"] for recording in report["recordings"]}
    return report["pooled"]["der"], rates


def network(program, pipeline, name, candidate, audio):
    """The largest errors of any stage, and how alike the outputs are."""
    command = [program, "compare", "--reference", "torch", *candidate, "--model", pipeline, "--network", name,
               "--audio", audio, "--windows", str(WINDOWS[name]), "--format", "json"]
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


def sizes(of):
    return " | ".join(f"{of[name] / 1e6:.1f}" for name in NETWORKS)


def markdown(found):
    lines = ["# What fewer bits cost", "",
             "`scripts/precision.py` wrote this. DER is that of the turns against those of f32, no collar, overlap scored. "
             "Networks are compared with PyTorch, each stage fed by the reference: the largest R of any stage (error over that "
             "of PyTorch in f32) and the largest R_d (over that of PyTorch rounding to as few bits; below 4 is rounding and no "
             "bug). Outputs are those of the network feeding itself: frames decided as PyTorch decides them, or the least cosine "
             "of an embedding."]
    if "stored" in found:
        lines += ["", "## Weights in fewer bits", "",
                  "`convert --dtype`: the weights are widened to f32 when they are read, and everything is computed in f32, as fast "
                  "as before. int8 has one scale for each output, int4 one for 32 inputs of an output.", "", *turns_and_networks(found["stored"], stored=True)]
    if "computed" in found:
        lines += ["", "## Arithmetic in fewer bits", "",
                  "`diarize --dtype`: weights and activations. f32 runs on kernels written by hand, 16 bits on none.", "",
                  *turns_and_networks(found["computed"], stored=False)]
    return "\n".join(lines) + "\n"


def turns_and_networks(found, stored):
    """The tables of one kind."""
    lines = [f"{len(found['recordings'])} recordings through the pipeline {found['pipeline']}. {found['machine']}; load average "
             f"{found['load']:.2f}. {found['note']}".rstrip(), ""]
    # What is stored in fewer bits is computed in f32: only its turns and its size are other ones.
    if stored:
        lines += ["| dtype | segmentation (MB) | embedding (MB) | DER | worst recording |", "|---|---:|---:|---:|---:|",
                  f"| f32 | {sizes(found['sizes'])} | - | - |"]
    else:
        lines += [f"| dtype | DER | worst recording | seconds for {found['timed']} | times f32 |", "|---|---:|---:|---:|---:|",
                  f"| f32 | - | - | {found['seconds']:.1f} | 1 |"]
    for cost in found["dtypes"]:
        turns = f"{percent(cost['der'])} | {percent(cost['worst_der'])} ({cost['worst']})"
        if stored:
            lines.append(f"| {cost['dtype']} | {sizes(cost['sizes'])} | {turns} |")
        else:
            lines.append(f"| {cost['dtype']} | {turns} | {cost['seconds']:.1f} | {cost['times_as_long']:.1f} |")
    narrow = "" if stored else " R_d | stages blamed |"
    lines += ["", f"| network | dtype | R |{narrow} frame agreement | 1 - cosine | 1 - correlation |",
              f"|---|---|---:|{'' if stored else '---:|---|'}---:|---:|---:|"]
    for cost in found["dtypes"]:
        for of in cost["networks"]:
            agreement = "-" if of["frame_agreement"] is None else percent(of["frame_agreement"])
            narrow = "" if stored else f" {figure(of['r_d'])} | {', '.join(of['source']) or 'none'} |"
            lines.append(f"| {of['network']} | {cost['dtype']} | {figure(of['r'])} |{narrow} {agreement} | {lack(of['cosine'])} "
                         f"| {lack(of['correlation'])} |")
    rates = " | ".join(cost["dtype"] for cost in found["dtypes"])
    lines += ["", "DER of each recording:", "", f"| recording | {rates} |", "|---|" + "---:|" * len(found["dtypes"])]
    for uri in found["recordings"]:
        row = " | ".join(percent(cost["recordings"].get(uri, 0.0)) for cost in found["dtypes"])
        lines.append(f"| {uri} | {row} |")
    return lines


def measure(program, options, kept, work, kind):
    """The figures of one kind."""
    pipeline, audio = options.pipeline, options.audio
    wide = turns(program, pipeline, WIDE, audio, kept / WIDE)
    found = {
        "pipeline": pipeline.name,
        "note": options.note,
        "machine": f"{cpu()}, {os.cpu_count()} cores",
        "recordings": [recording.stem for recording in audio],
        "dtypes": [],
    }
    if kind == "stored":
        found["sizes"] = convert(program, pipeline, WIDE, work / WIDE)
    else:
        found["timed"] = audio[0].stem
        found["seconds"] = diarize(program, pipeline, WIDE, audio[0], work / "timed.rttm")
    for dtype in STORED if kind == "stored" else COMPUTED:
        cost = {"dtype": dtype}
        if kind == "stored":
            model, arithmetic = work / dtype, WIDE
            cost["sizes"] = convert(program, pipeline, dtype, model)
        else:
            model, arithmetic = pipeline, dtype
        def candidate(name):
            if kind == "stored":
                return ["--candidate-model", model / f"{name}.safetensors"]
            return ["--candidate", "candle-cpu-portable", "--dtype", dtype]
        der, rates = score(program, wide, turns(program, model, arithmetic, audio, kept / f"{kind}-{dtype}"))
        worst = max(rates, key=rates.get)
        if kind == "computed":
            seconds = diarize(program, pipeline, dtype, audio[0], work / "timed.rttm")
            cost |= {"seconds": seconds, "times_as_long": seconds / found["seconds"]}
        found["dtypes"].append(cost | {
            "der": der, "worst": worst, "worst_der": rates[worst], "recordings": rates,
            "networks": [network(program, pipeline, name, candidate(name), audio[0]) for name in NETWORKS],
        })
    return found | {"load": os.getloadavg()[0]}


def main():
    options = arguments()
    program = options.soundalike.resolve() if options.soundalike else build()
    found = json.loads(PROGRAM.read_text()) if options.only else {}
    found["schema"] = SCHEMA
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        for kind in [options.only] if options.only else ["stored", "computed"]:
            found[kind] = measure(program, options, options.turns or work / "turns", work, kind)
    options.output.mkdir(parents=True, exist_ok=True)
    PROGRAM.write_text(json.dumps(found, indent=2) + "\n")
    (options.output / "precision.md").write_text(markdown(found))


if __name__ == "__main__":
    main()
