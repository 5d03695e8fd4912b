#!/usr/bin/env python3
"""Times soundalike against the official pyannote.audio (PyTorch) and ONNX Runtime, on the same weights and audio.

    scripts/bench_peers.py PIPELINE AUDIO [--threads N] [--windows N] [--repetitions N] [--networks-only] [--growth] [-o FILE]

PIPELINE is a directory with a config.yaml, a PyanNet and a WeSpeaker checkpoint; AUDIO a WAV of at least ten seconds. The
peers are installed into reference/.venv (scripts/setup_reference.sh). Nothing is timed before its output was found to
agree. In each repetition every engine runs once, so that all see the same machine; the report, reports/performance.md,
has medians and ratios. --growth adds how time and memory grow with the recording, up to ten hours. A checkpoint is a pickle, which runs code when PyTorch loads it: give it only ones you trust.
"""

import argparse
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / "reference/.venv/bin/python"
RATE, LENGTH, STEP = 16_000, 160_000, 16_000
SPEAKERS = 3
# Windows whose embeddings the peers compute: one after the other, a second each.
EMBEDDED = 8
# Of log-probabilities and embeddings relative to the largest: f32 in another order.
AGREEMENT = 1e-3
# Lengths of recordings, and numbers of embeddings with the hours of conversation that have as many.
GROWTH_MINUTES = [1, 10, 60]
CLUSTERED = {10_000: "2 hours", 25_000: "5 hours", 50_000: "10 hours"}
# What is given back to the system is not there for the next window: 1e5 page faults a second.
TUNED_MALLOC = {
    "MALLOC_TOP_PAD_": str(512 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
}


def in_venv():
    """Goes on in the environment that has the peers."""
    if Path(sys.prefix) != PYTHON.parent.parent:
        subprocess.run([ROOT / "scripts/setup_reference.sh"], check=True)
        os.execv(PYTHON, [PYTHON, *sys.argv])
    sys.path.insert(0, str(ROOT / "reference"))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", type=Path, metavar="PIPELINE")
    parser.add_argument("audio", type=Path, metavar="AUDIO")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--windows", type=int, default=32, help="windows that go through a network together")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--networks-only", action="store_true", help="leave the whole pipeline out, which takes minutes")
    parser.add_argument("--growth", action="store_true", help="AUDIO over and over for an hour, too, and clustering for ten")
    parser.add_argument("--soundalike", type=Path, help="the program (default: built here)")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "reports/performance.md")
    return parser.parse_args()


def onnx_session(module, example, threads):
    """`module` as ONNX Runtime runs it."""
    import onnxruntime
    import torch

    file = io.BytesIO()
    torch.onnx.export(module, (example,), file, input_names=["x"], dynamic_axes={"x": {0: "batch"}}, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


def networks(options):
    """Engine by engine, for each network a function of no arguments whose result is compared and whose time counts."""
    import torch
    from capture import read_audio
    from pyannote.audio import Model

    samples, rate = read_audio(options.audio)
    assert rate == RATE, f"{options.audio} has {rate} samples per second, expected {RATE}"
    samples = torch.from_numpy(samples)
    starts = [i % max(1, (len(samples) - LENGTH) // STEP + 1) * STEP for i in range(options.windows)]
    windows = torch.stack([samples[start:][:LENGTH] for start in starts])[:, None]
    load = lambda part: Model.from_pretrained(options.pipeline / part / "pytorch_model.bin").eval()
    segmentation, embedding = load("segmentation"), load("embedding")
    masks = torch.ones(options.windows, SPEAKERS, 589)
    masks[:, 1, :300] = 0
    masks[:, 2, 300:] = 0

    class Trunk(torch.nn.Module):
        """From the filter bank to the frames that are pooled."""

        def __init__(self):
            super().__init__()
            self.resnet = embedding.resnet

        def forward(self, features):
            return self.resnet.forward_frames(features)

    # One window after the other: PyTorch and ONNX Runtime take as long per window for more, and gigabytes.
    each = lambda function: torch.cat([function(i) for i in range(min(options.windows, EMBEDDED))])
    pooled = lambda frames, i: embedding.resnet.forward_embedding(frames, weights=masks[i : i + 1])[1]
    features = lambda i: embedding.compute_fbank(windows[i : i + 1])
    with torch.inference_mode():
        seg_onnx = onnx_session(segmentation, windows[:2], options.threads)
        trunk_onnx = onnx_session(Trunk().eval(), features(0), options.threads)

    return {
        "segmentation": {
            "pyannote.audio (PyTorch)": lambda: segmentation(windows),
            "ONNX Runtime": lambda: seg_onnx(windows),
        },
        "embedding": {
            "pyannote.audio (a pass for each speaker)": lambda: torch.stack(
                [each(lambda i: embedding(windows[i : i + 1], weights=masks[i : i + 1, s])) for s in range(SPEAKERS)], 1),
            "PyTorch (a pass for all speakers)": lambda: each(lambda i: pooled(embedding.resnet.forward_frames(features(i)), i)),
            "ONNX Runtime": lambda: each(lambda i: pooled(trunk_onnx(features(i)), i)),
        },
    }


def check(engines):
    """Fails where the engines do not say the same."""
    for network, functions in engines.items():
        outputs = {name: function() for name, function in functions.items()}
        first, *others = outputs
        for name in others:
            difference = (outputs[name] - outputs[first]).abs().max() / outputs[first].abs().max()
            assert difference < AGREEMENT, f"{network}: {name} differs from {first} by {difference:.1e}"


def ours(options, windows, *extra):
    """What `soundalike bench` measures, with `windows` that go through a network together."""
    command = [options.soundalike, "bench", "--quiet", "--model", options.pipeline, "--threads", str(options.threads),
               "--windows", str(windows), "--runs", "1", "--format", "json", *extra]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def timed(command, environment=None):
    """Seconds and peak memory (MB) of a process, and what it printed."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
        peak = 0
        # What the system says of a process that has ended includes the one it was forked from, which is this one.
        while process.poll() is None:
            peak = max(peak, peak_memory(process.pid))
            time.sleep(0.01)
        elapsed = time.perf_counter() - started
        assert process.returncode == 0, f"{command} failed"
        output.seek(0)
        return elapsed, peak, output.read().decode()


def peak_memory(process):
    """The most memory (MB) that `process` has had; 0 where it is gone or the system does not say."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0


def pipelines(options, directory):
    """Commands for the whole pipeline, each with its environment and the file where it leaves the turns (or stdout)."""
    theirs = [PYTHON, ROOT / "reference/run_pipeline.py", options.pipeline, options.audio, "-o", directory,
              "--threads", str(options.threads)]
    diarize = [options.soundalike, "diarize", options.audio, "--model", options.pipeline, "--labels", "pyannote", "--quiet",
               "--threads", str(options.threads)]
    rttm = directory / f"{options.audio.stem}.rttm"
    return {
        "soundalike": (diarize, {}, None),
        "pyannote.audio": (theirs, {}, rttm),
        "pyannote.audio, malloc tuned": (theirs, TUNED_MALLOC, rttm),
    }


def growth(options, directory):
    """Tables of what soundalike takes for longer and longer recordings: AUDIO again and again."""
    import wave

    with wave.open(str(options.audio)) as file:
        format, samples = file.getparams(), file.readframes(file.getnframes())
    rows = []
    for minutes in GROWTH_MINUTES:
        audio = directory / "growth.wav"
        length = minutes * 60 * format.framerate * format.sampwidth * format.nchannels
        with wave.open(str(audio), "wb") as file:
            file.setparams(format)
            file.writeframes((samples * (length // len(samples) + 1))[:length])
        whole = ours(options, 1, audio)["pipeline"]
        parts = dict(whole["stages"])
        rows.append([str(minutes), f"{whole['seconds']:.1f}", f"{whole['seconds'] / whole['duration']:.3f}", f"{whole['peak_mb']:.0f}",
                     *(f"{seconds:.2f}" for seconds in parts.values())])
    text = ["## How it grows", "One recording again and again; seconds of each part, and the peak of memory until the turns are there.",
            table(["minutes", "s", "RTF", "peak MB", *parts], rows)]
    example = ["cargo", "build", "--release", "--quiet", "--workspace", "--example", "many_embeddings"]
    subprocess.run(example, cwd=ROOT, check=True)
    rows = []
    for embeddings, hours in CLUSTERED.items():
        program = ROOT / "target/release/examples/many_embeddings"
        seconds, peak, _ = timed([program, str(embeddings)], {"RAYON_NUM_THREADS": str(options.threads)})
        rows.append([str(embeddings), hours, f"{seconds:.1f}", f"{peak:.0f}"])
    return [*text, "Agglomerative clustering alone, of made-up embeddings. Beyond 10,000, the distances of all pairs are not kept.",
            table(["embeddings", "of about", "s", "peak MB"], rows)]


def table(header, rows):
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main():
    options = arguments()
    in_venv()
    import torch

    if options.soundalike is None:
        subprocess.run(["cargo", "build", "--release", "--quiet", "--bin", "soundalike"], cwd=ROOT, check=True)
        options.soundalike = ROOT / "target/release/soundalike"
    torch.set_num_threads(options.threads)
    load = [os.getloadavg()[0]]
    engines = networks(options)
    with torch.inference_mode(), tempfile.TemporaryDirectory() as directory:
        check(engines)
        times = {network: {name: [] for name in ["soundalike", *functions]} for network, functions in engines.items()}
        reports = []
        for _ in range(options.repetitions):
            report = ours(options, options.windows)
            reports.append(report)
            for network, own in zip(engines, report["networks"]):
                times[network]["soundalike"].append(own["ms"])
            for network, functions in engines.items():
                for name, function in functions.items():
                    started = time.perf_counter()
                    function()
                    windows = options.windows if network == "segmentation" else min(options.windows, EMBEDDED)
                    times[network][name].append(1e3 * (time.perf_counter() - started) / windows)
        whole = {}
        if not options.networks_only:
            commands = pipelines(options, Path(directory))
            whole = {name: [] for name in commands}
            turns = {}
            for _ in range(options.repetitions):
                for name, (command, environment, file) in commands.items():
                    elapsed, peak, output = timed(command, environment)
                    turns[name] = file.read_text() if file else output
                    assert turns[name] == turns["soundalike"], f"{name} finds other turns"
                    whole[name].append((elapsed, peak))
        longer = growth(options, Path(directory)) if options.growth else []
    load.append(os.getloadavg()[0])

    text = [
        "# Performance",
        f"`scripts/bench_peers.py` wrote this: {options.repetitions} repetitions, every engine once in each, medians; "
        f"{options.threads} threads, {options.windows} windows of ten seconds. {cpu()}, {os.cpu_count()} cores, "
        f"{reports[0]['machine']['kernels']}, peak "
        f"{statistics.median(r['machine']['peak_gflops'] for r in reports):.0f} GFLOP/s by fused multiply-adds; load average "
        f"{load[0]:.2f} before, {load[1]:.2f} after. Outputs agreed before anything was timed.",
    ]
    for network, engine in times.items():
        medians = {name: statistics.median(values) for name, values in engine.items()}
        ratio = lambda name: f"{medians[name] / medians['soundalike']:.1f}"
        rows = [[name, f"{ms:.1f}", f"{min(engine[name]):.1f} - {max(engine[name]):.1f}", ratio(name)] for name, ms in medians.items()]
        title = network + (f", {SPEAKERS} speakers" if network == "embedding" else "")
        text += [f"## {title.capitalize()}", table([network, "ms per window", "range", "times soundalike"], rows)]
    if whole:
        import wave

        with wave.open(str(options.audio)) as file:
            duration = file.getnframes() / file.getframerate()
        rows = []
        own = statistics.median(elapsed for elapsed, _ in whole["soundalike"])
        for name, runs in whole.items():
            seconds, peak = (statistics.median(values) for values in zip(*runs))
            rows.append([name, f"{seconds:.1f}", f"{seconds / duration:.3f}", f"{peak:.0f}", f"{seconds / own:.1f}"])
        text += [f"## Whole pipeline, {duration:.0f} s of audio, from its start",
                 "The turns are the same, line by line.",
                 table(["pipeline", "s", "RTF", "peak MB", "times soundalike"], rows)]
    last = reports[-1]
    peak = last["machine"]["peak_gflops"]
    text.append("## Where the time goes")
    for network in last["networks"]:
        rows = []
        for stage in [*network["stages"], {"name": "as in diarize", "ms": network["ms"], "gflop": network["gflop"]}]:
            speed = stage["gflop"] and 1e3 * stage["gflop"] / stage["ms"]
            rows.append([f"`{stage['name']}`", f"{stage['ms']:.2f}", f"{speed:.0f}" if speed else "",
                         f"{100 * speed / peak:.0f} %" if speed else ""])
        text += [f"{network['name']}; a convolution by transforms takes fewer multiplications than are counted:",
                 table(["stage", "ms per window", "GFLOP/s", "of peak"], rows)]
    text += longer
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text("\n\n".join(text) + "\n")
    print(f"{options.output} written")


if __name__ == "__main__":
    main()
