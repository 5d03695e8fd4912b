"""The faults: mistakes of ports, made in the module before it is exported, or in the graph of an ONNX file."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
import torch.nn.functional as F
from networks import Network
from onnx import numpy_helper
from torch import Tensor, nn

Inject = Callable[[nn.Module], None]
Edit = Callable[[onnx.ModelProto], None]


@dataclass(frozen=True)
class Fault:
    """One mistake."""

    network: str
    exporter: str
    """Of PyTorch: ``dynamo`` or ``torchscript``; ``file`` where the graph of a file is edited."""
    stages: tuple[str, ...]
    """The stages of the reference that are wrong; of a file, how their names begin."""
    text: str
    causes: tuple[str, ...]
    """The ids of a diagnosis that names it."""
    inject: Callable[[Any], None]
    """Makes the mistake in a module, or in a model of ONNX."""

    def made(self, right: nn.Module) -> nn.Module:
        """A copy of the network with the mistake."""
        wrong = copy.deepcopy(right)
        with torch.no_grad():
            self.inject(wrong)
        return wrong.eval()

    def file(self, net: Network, path: Path) -> Path:
        """Writes an ONNX file with the mistake."""
        if self.exporter != "file":
            return net.export(path, self.exporter, self.made(net.module))
        model = onnx.load(net.module)
        self.inject(model)
        onnx.save(model, path)
        return path


def parameter(path: str, change: Callable[[Tensor], Tensor]) -> Inject:
    """Another value of a parameter or buffer."""

    def inject(module: nn.Module) -> None:
        tensor = functools.reduce(getattr, path.split("."), module)
        tensor.copy_(change(tensor.clone()))

    return inject


def attribute(path: str, value: Any) -> Inject:
    """Another value of an attribute."""

    def inject(module: nn.Module) -> None:
        owner, _, name = path.rpartition(".")
        setattr(module.get_submodule(owner), name, value)

    return inject


def replaced(path: str, other: nn.Module) -> Inject:
    """Another module."""

    def inject(module: nn.Module) -> None:
        owner, _, name = path.rpartition(".")
        setattr(module.get_submodule(owner), name, other)

    return inject


def given(path: str, change: Callable[[Tensor], Tensor]) -> Inject:
    """Another input of a module."""
    return lambda module: module.get_submodule(path).register_forward_pre_hook(
        lambda _, args: (change(args[0]), *args[1:])
    ) and None


def forward(path: str, compute: Callable[..., Tensor]) -> Inject:
    """Another forward pass of a module, which is its first argument."""

    def inject(module: nn.Module) -> None:
        own = module.get_submodule(path)
        own.forward = functools.partial(compute, own)

    return inject


def together(*faults: Inject) -> Inject:
    def inject(module: nn.Module) -> None:
        for fault in faults:
            fault(module)

    return inject


def zero(x: Tensor) -> Tensor:
    return torch.zeros_like(x)


def transposed(x: Tensor) -> Tensor:
    return x.transpose(0, 1)


def flipped(x: Tensor) -> Tensor:
    return x.flip(tuple(range(2, x.ndim)))


def in_f16(x: Tensor) -> Tensor:
    return x.half().float()


def in_bf16(x: Tensor) -> Tensor:
    return x.bfloat16().float()


def in_int8(x: Tensor) -> Tensor:
    """Symmetric, with one scale for the tensor."""
    scale = x.abs().max() / 127
    return (x / scale).round() * scale


def halves_swapped(x: Tensor) -> Tensor:
    return torch.cat(x.chunk(2)[::-1])


def heads_interleaved(x: Tensor) -> Tensor:
    """Of four heads."""
    return x.unflatten(0, (4, -1)).transpose(0, 1).flatten(0, 1)


def index_zero(index: int) -> Callable[[Tensor], Tensor]:
    def change(x: Tensor) -> Tensor:
        x[index] = 0
        return x

    return change


def scaled(factor: float, index: int | None = None) -> Callable[[Tensor], Tensor]:
    def change(x: Tensor) -> Tensor:
        x[slice(None) if index is None else index] *= factor
        return x

    return change


def gates(order: str) -> Callable[[Tensor], Tensor]:
    """The gates ifgo of an LSTM in another order."""
    return lambda x: torch.cat([x.chunk(4)["ifgo".index(gate)] for gate in order])


def padded_at_the_end(path: str) -> Inject:
    """A convolution whose padding stands at the end only, as TensorFlow's `same` has it for a stride of 2."""

    def inject(module: nn.Module) -> None:
        conv = module.get_submodule(path)
        pads = [pad for by in reversed(conv.padding) for pad in (0, 2 * by)]
        conv.padding = tuple(0 for _ in conv.padding)
        conv.register_forward_pre_hook(lambda _, args: (F.pad(args[0], pads),))

    return inject


class UnbiasedNorm(nn.LayerNorm):
    """A layer norm with the unbiased variance."""

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / torch.sqrt(x.var(-1, keepdim=True) + self.eps) * self.weight + self.bias


class EpsOutside(nn.LayerNorm):
    """A layer norm whose eps is added to the deviation."""

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        deviation = torch.sqrt(centred.square().mean(-1, keepdim=True))
        return centred / (deviation + self.eps) * self.weight + self.bias


def norm(path: str, kind: type[nn.LayerNorm]) -> Inject:
    """A layer norm of another kind with the same weights."""

    def inject(module: nn.Module) -> None:
        own = module.get_submodule(path)
        other = kind(own.normalized_shape, own.eps)
        other.load_state_dict(own.state_dict())
        replaced(path, other)(module)

    return inject


def _without_residual(block: nn.Module, x: Tensor) -> Tensor:
    return block.relu(block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x))))))


def _without_last_activation(block: nn.Module, x: Tensor) -> Tensor:
    return x + block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))


def _scale_not_applied(block: nn.Module, x: Tensor) -> Tensor:
    return block._scale(x) + x


def _feed_forward_without_residual(layer: nn.Module, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    attended, _ = layer.self_attn(layer.self_attn_layer_norm(hidden_states), attention_mask=None)
    x = layer.final_layer_norm(hidden_states + attended)
    return layer.fc2(layer.activation_fn(layer.fc1(x)))


def _power(stft: nn.Module, x: Tensor) -> Tensor:
    x = F.pad(x, (0, 64), mode="reflect").unsqueeze(1)
    real, imaginary = F.conv1d(x, stft.forward_basis_buffer, stride=128).split(129, 1)
    return real**2 + imaginary**2


def weight(output: str, place: int, change: Callable[[Tensor], Tensor]) -> Edit:
    """Another value of the weight that the node of `output` reads as its input number `place`."""

    def edit(model: onnx.ModelProto) -> None:
        node = _node(model, output)
        value = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[place])
        other = change(torch.from_numpy(numpy_helper.to_array(value).copy())).contiguous().numpy()
        # Nodes may share a weight.
        node.input[place] = "wrong"
        model.graph.initializer.append(numpy_helper.from_array(other, "wrong"))

    return edit


def node(output: str, op_type: str | None = None, **attributes: Any) -> Edit:
    """Another operator, or other attributes, of the node of `output`."""

    def edit(model: onnx.ModelProto) -> None:
        changed = _node(model, output)
        kept = [] if op_type else [own for own in changed.attribute if own.name not in attributes]
        others = [onnx.helper.make_attribute(name, value) for name, value in attributes.items()]
        other = onnx.NodeProto(attribute=[*kept, *others])
        changed.op_type = op_type or changed.op_type
        del changed.attribute[:]
        changed.attribute.extend(other.attribute)

    return edit


def _node(model: onnx.ModelProto, output: str) -> onnx.NodeProto:
    """The node of the output whose name begins with `output`."""
    return next(node for node in model.graph.node if node.output[0].startswith(output))


def _every(network: str, exporter: str, faults: list[tuple[Any, ...]]) -> list[Fault]:
    return [
        Fault(network, exporter, stage if isinstance(stage, tuple) else (stage,), text, causes, inject)
        for stage, text, causes, inject in faults
    ]


_LAYER = "encoder.layers"
# How the names of outputs of Basic Pitch begin.
_LOUDNESS = "model_1/normalized_log_1/sub;"
_FILTERS = "model_1/re_lu_1/Relu;"
_CONTOURS = "model_1/contours-reduced/BiasAdd;"
_NOTES = "model_1/conv2d_3/BiasAdd;"
_ONSETS = "model_1/conv2d_5/Sigmoid;"
_GELU = nn.GELU(approximate="tanh")

FAULTS: list[Fault] = [
    *_every("resnet18", "torchscript", [
        ("conv1", "weight in f16", ("weight-rounded",), parameter("conv1.weight", in_f16)),
        ("bn1", "eps 1e-3 in place of 1e-5", ("eps",), attribute("bn1.eps", 1e-3)),
        ("maxpool", "mean in place of maximum", ("mean-for-max",), replaced("maxpool", nn.AvgPool2d(3, 2, 1))),
        ("layer1.0.bn2", "bias missing", ("bias-missing",), parameter("layer1.0.bn2.bias", zero)),
        ("layer1.1.add", "residual missing", ("operand-missing",), forward("layer1.1", _without_residual)),
        ("layer2.1.conv1", "weight transposed", ("weight-transposed",),
         parameter("layer2.1.conv1.weight", transposed)),
        ("layer3.0.downsample.1", "variance as deviation", ("deviation-as-variance",),
         parameter("layer3.0.downsample.1.running_var", torch.square)),
        ("layer4.0.conv2", "kernel flipped", ("kernel-flipped",), parameter("layer4.0.conv2.weight", flipped)),
        ("fc", "bias missing", ("bias-missing",), parameter("fc.bias", zero)),
    ]),
    *_every("resnet18", "dynamo", [
        ("layer2.0.conv1", "padding at the end only", ("padding-side",), padded_at_the_end("layer2.0.conv1")),
        ("layer2.1.relu#1", "activation missing", ("activation-missing",),
         forward("layer2.1", _without_last_activation)),
        ("layer3.1.conv2", "output channel 5 is zero", ("one-index",),
         parameter("layer3.1.conv2.weight", index_zero(5))),
        (("layer3.0.relu", "layer3.0.relu#1"), "LeakyReLU(0.01) in place of ReLU", ("leaky-relu",),
         replaced("layer3.0.relu", nn.LeakyReLU(0.01))),
        ("layer4.1.conv1", "weight in int8", ("weight-rounded",), parameter("layer4.1.conv1.weight", in_int8)),
        ("layer4.1.bn1", "running mean missing", ("offset-of-each",),
         parameter("layer4.1.bn1.running_mean", zero)),
    ]),
    *_every("mobilenet-v3", "torchscript", [
        ("features.0.2", "SiLU in place of Hardswish", ("silu",), replaced("features.0.2", nn.SiLU())),
        ("features.1.block.1.mul", "added in place of multiplied", ("summed",),
         forward("features.1.block.1", _scale_not_applied)),
        ("features.2.block.1.0", "depthwise kernel flipped", ("kernel-flipped",),
         parameter("features.2.block.1.0.weight", flipped)),
        ("features.5.block.0.1", "eps 1e-5 in place of 1e-3", ("eps",), attribute("features.5.block.0.1.eps", 1e-5)),
        ("features.9.block.1.1", "without weight and bias", ("affine-missing",),
         together(parameter("features.9.block.1.1.weight", torch.ones_like),
                  parameter("features.9.block.1.1.bias", zero))),
    ]),
    *_every("mobilenet-v3", "dynamo", [
        ("features.4.block.2.scale_activation", "sigmoid in place of Hardsigmoid", ("sigmoid",),
         replaced("features.4.block.2.scale_activation", nn.Sigmoid())),
        ("features.6.block.2.fc1", "bias missing", ("bias-missing",), parameter("features.6.block.2.fc1.bias", zero)),
        ("avgpool", "Hardswish applied twice before", ("activation-before",), given("avgpool", F.hardswish)),
        ("avgpool", "maximum in place of mean", ("max-for-mean",), replaced("avgpool", nn.AdaptiveMaxPool2d(1))),
        ("classifier.3", "weight of output 7 twice as large", ("one-index", "one-element", "gain-of-each"),
         parameter("classifier.3.weight", scaled(2, 7))),
    ]),
    *_every("whisper", "torchscript", [
        ("conv1", "bias missing", ("bias-missing",), parameter("conv1.bias", zero)),
        ("conv2", "padding at the end only", ("padding-side",), padded_at_the_end("conv2")),
        ("add", "positions shifted by one", ("table-shifted",),
         parameter("embed_positions.weight", lambda x: x.roll(1, 0))),
        ("layers.0.self_attn.mul", "scale 1 / 32 in place of 1 / sqrt(32)",
         ("gain", "operand-squared", "attention-scale"),
         attribute("layers.0.self_attn.scaling", 1 / 32)),
        ("layers.0.self_attn.v_proj", "bias missing", ("bias-missing",),
         parameter("layers.0.self_attn.v_proj.bias", zero)),
        (tuple(f"layers.{n}.activation_fn" for n in range(4)), "GELU in its tanh form, in all layers", ("gelu-tanh",),
         together(*(replaced(f"layers.{n}.activation_fn", _GELU) for n in range(4)))),
        ("layers.1.self_attn_layer_norm", "eps 1e-4 in place of 1e-5", ("eps",),
         attribute("layers.1.self_attn_layer_norm.eps", 1e-4)),
        ("layers.1.fc1", "halves swapped", ("swapped-halves",),
         together(parameter("layers.1.fc1.weight", halves_swapped), parameter("layers.1.fc1.bias", halves_swapped))),
        ("layers.2.fc2", "weight in bf16", ("weight-rounded",), parameter("layers.2.fc2.weight", in_bf16)),
        ("layers.3.final_layer_norm", "weight missing", ("weight-missing",),
         parameter("layers.3.final_layer_norm.weight", torch.ones_like)),
        ("layer_norm", "eps 1e-12 in place of 1e-5", ("eps", "eps-missing"), attribute("layer_norm.eps", 1e-12)),
    ]),
    *_every("whisper", "dynamo", [
        ("layers.0.fc1", "weight in f16", ("weight-rounded",), parameter("layers.0.fc1.weight", in_f16)),
        ("layers.1.self_attn.q_proj", "weight transposed", ("weight-transposed",),
         parameter("layers.1.self_attn.q_proj.weight", transposed)),
        ("layers.1.add#1", "residual missing", ("operand-missing",),
         forward("layers.1", _feed_forward_without_residual)),
        ("layers.2.self_attn.k_proj", "heads interleaved", ("transposed-grid",),
         parameter("layers.2.self_attn.k_proj.weight", heads_interleaved)),
        ("layers.3.self_attn.out_proj", "bias added twice", ("bias-twice",),
         parameter("layers.3.self_attn.out_proj.bias", scaled(2))),
        ("layer_norm", "bias missing", ("bias-missing",), parameter("layer_norm.bias", zero)),
    ]),
    *_every("wav2vec2", "torchscript", [
        ("feature_extractor.conv_layers.0.layer_norm", "32 groups in place of 64", ("group-count",),
         attribute("feature_extractor.conv_layers.0.layer_norm.num_groups", 32)),
        ("feature_extractor.conv_layers.2.activation", "ReLU in place of GELU", ("relu",),
         replaced("feature_extractor.conv_layers.2.activation", nn.ReLU())),
        ("encoder.pos_conv_embed.activation", "the other end of the padding is cut off", ("shift",),
         forward("encoder.pos_conv_embed.padding", lambda _, x: x[:, :, 1:])),
        (f"{_LAYER}.0.attention.k_proj", "bias missing", ("bias-missing",),
         parameter(f"{_LAYER}.0.attention.k_proj.bias", zero)),
        (f"{_LAYER}.1.attention.scaled_dot_product_attention", "scale 1 / 32 in place of 1 / sqrt(32)",
         ("attention-scale", "scale-twice"), attribute(f"{_LAYER}.1.attention.scaling", 1 / 32)),
        (f"{_LAYER}.3.final_layer_norm", "unbiased variance", ("unbiased-variance",),
         norm(f"{_LAYER}.3.final_layer_norm", UnbiasedNorm)),
    ]),
    *_every("wav2vec2", "dynamo", [
        ("feature_projection.layer_norm", "eps 1e-3 in place of 1e-5", ("eps",),
         attribute("feature_projection.layer_norm.eps", 1e-3)),
        (f"{_LAYER}.2.feed_forward.intermediate_act_fn", "the quick form of GELU", ("gelu-quick",),
         forward(f"{_LAYER}.2.feed_forward.intermediate_act_fn", lambda _, x: x * torch.sigmoid(1.702 * x))),
        (f"{_LAYER}.2.layer_norm", "eps added outside the root", ("eps-outside",),
         norm(f"{_LAYER}.2.layer_norm", EpsOutside)),
        (f"{_LAYER}.3.attention.out_proj", "weight transposed", ("weight-transposed",),
         parameter(f"{_LAYER}.3.attention.out_proj.weight", transposed)),
    ]),
    *_every("silero", "dynamo", [
        ("stft", "power in place of magnitude", ("squared",), forward("stft", _power)),
        ("encoder.1.reparam_conv", "padding at the end only", ("padding-side",),
         padded_at_the_end("encoder.1.reparam_conv")),
        ("encoder.2.activation", "LeakyReLU(0.01) in place of ReLU", ("leaky-relu",),
         replaced("encoder.2.activation", nn.LeakyReLU(0.01))),
        (("decoder.rnn", "decoder.rnn:1"), "gates read as iofg", ("gate-order",),
         together(*(parameter(f"decoder.rnn.{name}", gates("iofg"))
                    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")))),
        (("decoder.rnn", "decoder.rnn:1"), "hidden bias missing", ("hidden-bias-missing",),
         parameter("decoder.rnn.bias_hh", zero)),
        ("decoder.decoder.2", "bias missing", ("bias-missing", "offset"), parameter("decoder.decoder.2.bias", zero)),
    ]),
    *_every("basic-pitch", "file", [
        (_LOUDNESS, "added in place of subtracted", ("added",), node(_LOUDNESS, "Add")),
        (_FILTERS, "padding at the start only", ("padding-side",), node(_FILTERS, pads=[2, 38, 0, 0])),
        ("Relu__38:0", "LeakyReLU(0.01) in place of ReLU", ("leaky-relu",), node("Relu__38:0", "LeakyRelu")),
        (_CONTOURS, "kernel flipped", ("kernel-flipped",), weight(_CONTOURS, 1, flipped)),
        (_NOTES, "bias missing", ("bias-missing",), weight(_NOTES, 2, zero)),
        (_ONSETS, "tanh in place of sigmoid", ("tanh",), node(_ONSETS, "Tanh")),
    ]),
]
"""All faults."""
