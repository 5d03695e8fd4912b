"""Silero VAD as a module: the published TorchScript takes no hooks, and fails in f64."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.numpy_helper
import silero_vad
import torch
import torch.nn.functional as F
from torch import Tensor, nn

FILES = Path(silero_vad.__file__).parent / "data"
SAMPLE_RATE = 16000
# Samples of the chunk before that are put before each chunk, and samples of a chunk with them.
CONTEXT, CHUNK = 64, 576


class Stft(nn.Module):
    """Magnitudes `[batch, frequency, frame]` of samples `[batch, time]`."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("forward_basis_buffer", torch.empty(258, 1, 256))

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 64), mode="reflect").unsqueeze(1)
        real, imaginary = F.conv1d(x, self.forward_basis_buffer, stride=128).split(129, 1)
        return torch.sqrt(real**2 + imaginary**2)


class Block(nn.Module):
    """A convolution and its activation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.reparam_conv = nn.Conv1d(inputs, outputs, 3, stride, padding=1)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.reparam_conv(x))


class Decoder(nn.Module):
    """The recurrent cell and the output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTMCell(128, 128)
        self.decoder = nn.Sequential(nn.Dropout(0.1), nn.ReLU(), nn.Conv1d(128, 1, 1), nn.Sigmoid())

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        h, c = self.rnn(x.squeeze(-1), (state[0], state[1]))
        return self.decoder(h.unsqueeze(-1)), torch.stack([h, c])


class SequenceDecoder(nn.Module):
    """The same weights, one chunk after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(128, 128)
        self.decoder = Decoder().decoder

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        output, state = self.rnn(x.squeeze(-1).unsqueeze(1), state)
        return self.decoder(output.squeeze(1).unsqueeze(-1)), state


class Silero(nn.Module):
    """Probability of speech of a chunk `[1, 576]` and the next state `[2, 1, 128]`."""

    decoder_type: type[nn.Module] = Decoder

    def __init__(self) -> None:
        super().__init__()
        self.stft = Stft()
        self.encoder = nn.Sequential(Block(129, 128, 1), Block(128, 64, 2), Block(64, 64, 2), Block(64, 128, 1))
        self.decoder = self.decoder_type()

    def forward(self, input: Tensor, state: Tensor, sr: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`sr`: files for both sample rates take the rate, in Hz; this is the network at 16 kHz."""
        output, state = self.decoder(self.encoder(self.stft(input)), state)
        return output.squeeze(1).mean(1, keepdim=True), state


class SileroSequence(Silero):
    """Probabilities of speech of successive chunks `[chunks, 576]`, and the next state, h and c `[1, 1, 128]` each."""

    decoder_type = SequenceDecoder

    def forward(self, input: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        output, (h, c) = self.decoder(self.encoder(self.stft(input)), (h, c))
        return output.squeeze(-1), h, c


def load(network: type[Silero] = Silero) -> Silero:
    """The network at 16 kHz with the published weights."""
    published = torch.jit.load(str(FILES / "silero_vad.jit"))
    weights = {
        name.removeprefix("_model."): value
        for name, value in published.state_dict().items()
        if name.startswith("_model.")
    }
    module = network()
    if network is SileroSequence:
        layer = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}
        weights = {
            f"{name}_l0" if name.rpartition(".")[2] in layer else name: value for name, value in weights.items()
        }
    module.load_state_dict(weights)
    return module.eval()


def chunks(samples: Tensor) -> Tensor:
    """The chunks `[chunks, 576]` of samples `[time]` at 16 kHz, each behind the last samples of the one before."""
    step = CHUNK - CONTEXT
    padded = F.pad(samples, (CONTEXT, -len(samples) % step))
    return padded.unfold(0, CHUNK, step)


def state_after(module: Silero, before: Tensor) -> Tensor:
    """The state `[2, 1, 128]` after the chunks `before`."""
    state = torch.zeros(2, 1, 128)
    with torch.no_grad():
        for chunk in before:
            _, state = module(chunk[None], state)
    return state


def in_f16(path: Path, out: Path) -> Path:
    """Writes an ONNX file with all weights and tensors in f16."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        _round(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _round(attribute.t)
            elif attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT:
                attribute.i = onnx.TensorProto.FLOAT16
    del model.graph.value_info[:]
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.save(model, out)
    return out


def _round(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == onnx.TensorProto.FLOAT:
        values = onnx.numpy_helper.to_array(tensor).astype("float16")
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
