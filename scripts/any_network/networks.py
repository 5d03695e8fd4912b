"""The networks: their weights are real where a package has them, and random with a fixed seed where none has."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io.wavfile
import silero
import torch
import torchvision
from basic_pitch import ICASSP_2022_MODEL_PATH
from soundalike._inputs import examples
from soundalike._onnx import OnnxCandidate
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

ROOT = Path(__file__).parents[2]
SPEECH = ROOT / "tests/data/sample.wav"


@dataclass(frozen=True)
class Network:
    """A module, or an ONNX file, and what it is called with: positional arguments, or arguments by keyword."""

    name: str
    module: Any
    inputs: tuple[Any, ...] | dict[str, Any]

    def run(self) -> np.ndarray:
        """The first output, f64 of the f32 network."""
        if isinstance(self.module, Path):
            return output_of(self.module, self)
        with torch.no_grad():
            out = self.module(**self.inputs) if isinstance(self.inputs, dict) else self.module(*self.inputs)
        while not isinstance(out, Tensor):
            out = out[0]
        return out.double().numpy()

    def export(self, path: Path, exporter: str, module: nn.Module | None = None) -> Path:
        """Writes an ONNX file of the network, or of another `module` with its inputs.

        `exporter`: ``dynamo`` or ``torchscript``, the two of PyTorch.
        """
        by_name = self.inputs if isinstance(self.inputs, dict) else {}
        torch.onnx.export(
            module or self.module,
            () if by_name else self.inputs,
            path,
            kwargs=by_name or None,
            input_names=list(by_name) or None,
            dynamo=exporter == "dynamo",
            verbose=False,
        )
        return path


def output_of(file: Path, net: Network) -> np.ndarray:
    """The first output, f64, of an ONNX file with the inputs of `net`, run as users run it."""
    (_, value), *_ = OnnxCandidate(file).output(examples(net.inputs)[0])
    return value.astype(np.float64)


def speech(start: float, seconds: float) -> Tensor:
    """Samples `[time]` at 16 kHz of the sample recording."""
    return wav(SPEECH)[round(start * silero.SAMPLE_RATE) :][: round(seconds * silero.SAMPLE_RATE)]


def wav(path: Path) -> Tensor:
    """Samples `[time]` of a recording at 16 kHz, of one channel."""
    rate, samples = scipy.io.wavfile.read(path)
    if rate != silero.SAMPLE_RATE or samples.ndim != 1:
        raise SystemExit(f"{path}: expected one channel at 16 kHz")
    full = 2.0 ** (8 * samples.dtype.itemsize - 1) if samples.dtype.kind == "i" else 1.0
    return torch.from_numpy((samples / full).astype(np.float32))


def silero_chunk() -> Network:
    """Silero VAD 6.2.3 on a chunk in the middle of speech, with the state that came before."""
    module = silero.load()
    chunks = silero.chunks(speech(0, 14))
    inputs = {"input": chunks[-1:], "state": silero.state_after(module, chunks[:-1])}
    return Network("silero", module, inputs)


def silero_sequence() -> Network:
    """Silero VAD 6.2.3 on two seconds of speech."""
    state = torch.zeros(1, 1, 128)
    inputs = {"input": silero.chunks(speech(12, 2)), "h": state, "c": state}
    return Network("silero-sequence", silero.load(silero.SileroSequence), inputs)


def basic_pitch() -> Network:
    """Basic Pitch 0.4.0, which has no module of PyTorch, on one window of speech."""
    # The network does not know that these are samples at 16 kHz, not at 22.05 kHz.
    window = speech(12, 2.8)[:43844].reshape(1, -1, 1)
    return Network("basic-pitch", Path(ICASSP_2022_MODEL_PATH).with_suffix(".onnx"), (window,))


def resnet18() -> Network:
    return _random("resnet18", torchvision.models.resnet18, (torch.rand(1, 3, 96, 96),))


def mobilenet_v3() -> Network:
    return _random("mobilenet-v3", torchvision.models.mobilenet_v3_small, (torch.rand(1, 3, 96, 96),))


def whisper() -> Network:
    """A Whisper encoder of four layers on four seconds."""
    config = WhisperConfig(
        d_model=128,
        encoder_layers=4,
        encoder_attention_heads=4,
        encoder_ffn_dim=512,
        max_source_positions=200,
    )
    return _random("whisper", lambda: WhisperEncoder(config), (torch.randn(1, 80, 400),))


def wav2vec2() -> Network:
    """A Wav2Vec2 of four layers on a second of speech."""
    config = Wav2Vec2Config(
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        conv_dim=(64,) * 7,
        num_conv_pos_embeddings=32,
        num_conv_pos_embedding_groups=4,
    )
    return _random("wav2vec2", lambda: Wav2Vec2Model(config), (speech(12.9, 1)[None],))


def pyannote(path: Path, name: str) -> Network:
    """A network of pyannote.audio on two seconds of speech. `path`: a checkpoint, which is a pickle, or a bundle."""
    sys.path.insert(0, str(ROOT / "reference"))
    from capture import load_model

    _, module, _ = load_model(path)
    for part in module.modules():
        # A closure keeps the filters of this module, and would give them, in f32, to each copy in f64.
        if hasattr(part, "baked"):
            part.filters = types.MethodType(lambda filterbank: filterbank.baked, part)
    return Network(name, module, (speech(12, 2)[None, None],))


def _random(name: str, make: Callable[[], nn.Module], inputs: tuple[Tensor, ...]) -> Network:
    """A network with random weights. Norms and biases, which are 0 or 1 in a new module, are random, too."""
    torch.manual_seed(0)
    module = make().eval()
    with torch.no_grad():
        for part in module.modules():
            if hasattr(part, "running_var"):
                part.running_mean.normal_(0, 0.2)
                part.running_var.uniform_(0.5, 1.5)
            bias = getattr(part, "bias", None)
            if isinstance(bias, Tensor):
                bias.normal_(0, 0.2)
            if isinstance(part, (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)):
                part.weight.uniform_(0.5, 1.5)
    return Network(name, module, inputs)


BUILDERS: dict[str, Callable[[], Network]] = {
    "silero": silero_chunk,
    "silero-sequence": silero_sequence,
    "basic-pitch": basic_pitch,
    "resnet18": resnet18,
    "mobilenet-v3": mobilenet_v3,
    "whisper": whisper,
    "wav2vec2": wav2vec2,
}
"""The networks whose weights need no file, by name."""


@functools.cache
def network(name: str) -> Network:
    """The network of this name. `torch.rand` in its inputs has a fixed seed."""
    torch.manual_seed(1)
    return BUILDERS[name]()
