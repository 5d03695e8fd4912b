"""The pairs that are compared: ports that are right, and two that are something else."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import scrambled
import silero
import torch
from networks import ROOT, SPEECH, network, pyannote

# Where the window of pyannote's networks starts, and how long it is, in seconds: that of `networks.pyannote`.
_WINDOW = ("--start", "12", "--duration", "2")

Make = Callable[[argparse.Namespace, Path], "Pair"]


@dataclass(frozen=True)
class Pair:
    """What is compared."""

    reference: Any
    candidate: Any
    inputs: Any
    expected: str = "passes"
    """``passes``, or the id of what the report is to find."""


def _exported(name: str, exporter: str) -> Make:
    def make(options: argparse.Namespace, folder: Path) -> Pair:
        net = network(name)
        return Pair(net.module, net.export(folder / f"{name}.{exporter}.onnx", exporter), net.inputs)

    return make


def _silero(file: str, expected: str = "passes") -> Make:
    """A published file. Those for both sample rates take the rate as an input."""

    def make(options: argparse.Namespace, folder: Path) -> Pair:
        path = silero.FILES / file
        net = network("silero-sequence" if "sequence" in file else "silero")
        inputs = dict(net.inputs)
        if "sr" in {value.name for value in onnx.load(path).graph.input}:
            inputs["sr"] = torch.tensor(silero.SAMPLE_RATE)
        return Pair(net.module, path, inputs, expected)

    return make


def _silero_f16(options: argparse.Namespace, folder: Path) -> Pair:
    net = network("silero")
    path = silero.in_f16(silero.FILES / "silero_vad_openvino_16k.onnx", folder / "silero.f16.onnx")
    return Pair(net.module, path, net.inputs, "f16")


def _basic_pitch(suffix: str) -> Make:
    def make(options: argparse.Namespace, folder: Path) -> Pair:
        net = network("basic-pitch")
        return Pair(net.module, net.module.with_suffix(suffix), net.inputs)

    return make


def _candle(name: str, change: Callable[[Path, Path], Path] | None) -> Make:
    """A trace that `soundalike trace` wrote of one of pyannote's networks."""

    def make(options: argparse.Namespace, folder: Path) -> Pair:
        model = ROOT / "crates/weights/segmentation-3.0.safetensors" if name == "PyanNet" else options.embedding
        trace = folder / f"{name}.npz"
        given = [] if name == "PyanNet" else ["--model", model]
        command = [options.soundalike, "trace", "--engine", "candle-cpu-portable", *given, "--audio", SPEECH]
        subprocess.run([*command, *_WINDOW, "-q", "-o", trace], check=True)
        net = pyannote(model, name)
        return Pair(net.module, change(trace, folder / f"{name}.changed.npz") if change else trace, net.inputs)

    return make


PAIRS: dict[tuple[str, str], Make] = {
    ("Silero VAD", "silero_vad.onnx"): _silero("silero_vad.onnx"),
    ("Silero VAD", "silero_vad_16k_op15.onnx"): _silero("silero_vad_16k_op15.onnx"),
    ("Silero VAD", "silero_vad_op18_ifless.onnx"): _silero("silero_vad_op18_ifless.onnx"),
    ("Silero VAD", "silero_vad_openvino_16k.onnx"): _silero("silero_vad_openvino_16k.onnx"),
    ("Silero VAD", "silero_vad_16k_sequence.onnx"): _silero("silero_vad_16k_sequence.onnx"),
    ("Silero VAD", "converted to f16"): _silero_f16,
    ("Silero VAD", "silero_vad_half.onnx"): _silero("silero_vad_half.onnx", "other-weights"),
    ("Basic Pitch", "nmp.onnx"): _basic_pitch(".onnx"),
    ("Basic Pitch", "nmp.tflite"): _basic_pitch(".tflite"),
    **{
        (label, f"ONNX, {exporter}"): _exported(name, exporter)
        for label, name in (
            ("Silero VAD", "silero"),
            ("ResNet18", "resnet18"),
            ("MobileNetV3", "mobilenet-v3"),
            ("Whisper encoder", "whisper"),
            ("Wav2Vec2", "wav2vec2"),
        )
        for exporter in ("dynamo", "torchscript")
        if (name, exporter) != ("silero", "torchscript")  # which does not export an LSTMCell
    },
    **{
        (name, f"candle{words}"): _candle(name, change)
        for name in ("PyanNet", "WeSpeaker ResNet34")
        for words, change in (
            ("", None),
            (", other names", scrambled.names),
            (", other names and axes", scrambled.axes),
            (", other names and axes, in f16", scrambled.f16),
        )
    },
}
"""By network and candidate."""

