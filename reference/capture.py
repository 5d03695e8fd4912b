#!/usr/bin/env python3
"""Run the official pyannote.audio and write down every activation, in f64, with PyTorch's own f32 error beside it.

    capture.py MODEL AUDIO -o OUT.npz          one window
    capture.py MODEL AUDIO --suite DIR         speech, silence, padded, offset, clipped, scaled
    capture.py MODEL AUDIO --masks MASKS.npz -o OUT.npz    embeddings of the speakers of one window

README.md beside this file describes what is in the file and why.
"""

import argparse
import hashlib
import json
import logging
import math
import os
import platform
import sys
import tempfile
import warnings
import zipfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Callable, Optional

os.environ["PYANNOTE_METRICS_ENABLED"] = "0"  # the package reports its use unless told not to
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)  # torch on the missing triton, lightning on old checkpoints

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
except ImportError as error:
    sys.exit(f"error: {error}; run scripts/setup_reference.sh, then reference/.venv/bin/python reference/capture.py")

SCHEMA = 1
BUNDLE_FORMAT = 1

# "Golden variance per channel at a norm below 1e-4 of its eps": there the norm divides by sqrt(eps) alone and
# what it normalises is rounding noise.
DEGENERATE = 1e-4

# How often a recurrent stage is run again for its floor.
REDRAWS = 3

# Farther than this from `model(waveform)` in f64, the stages do not follow the package's forward(). They are not always
# bit-equal: the linear algebra library rounds by how a matrix lies in memory, so that two nn.LSTM with equal weights
# differ by 2e-16, and silence, whose norms divide by sqrt(eps) alone, makes 3e-13 of it. The f32 floors are 1e7 times
# larger. In f32, seen so far, the outputs are bit-equal; where they are not, the manifest says by how much.
FOLLOWS = 1e-10

# The suite's 10 s are the window of segmentation-3.0; 1.3 s of speech are enough for a turn and leave 87 % zeros.
SUITE_WINDOW = 10.0
SUITE_PADDED = 1.3
SUITE_OFFSET = 0.5
SUITE_SCALE = 1e-3
SUITE_GAIN = 20.0  # 27 % of the project's sample from 5 s to 15 s are then at -1 or 1


class Refused(Exception):
    """Something about the input is wrong; the text is the whole message."""


# --- stages ---------------------------------------------------------------------------------------------------------


@dataclass
class Stage:
    """One step of a network: a name, what it reads, and the package's own module that does it.

    `run` is called with the outputs of `inputs` in that order. `elementary` computes the same from elementary torch
    operations in the dtype it is given; it serves the floor of degenerate stages and nothing else. None: `run` is
    exact or elementary already.
    """

    name: str
    inputs: list
    axes: list
    run: Callable
    elementary: Optional[Callable] = None
    eps: Optional[float] = None  # of a norm
    parts: list = field(default_factory=list)  # inner stages whose concatenation this one is
    recurrent: bool = False

    @property
    def channel_axis(self):
        return self.axis("channel", "feature") if self.axis("channel", "feature") is not None else self.axis("mask")

    @property
    def frame_axis(self):
        """Time; where none is left, the masks that were pooled by."""
        if "batch" not in self.axes:
            return None
        return self.axis("time", "frame") if self.axis("time", "frame") is not None else self.axis("mask")

    def axis(self, *names):
        return next((i for i, a in enumerate(self.axes) if a in names), None)


class Stages(list):
    """Stages under construction: each reads the one before unless it says otherwise."""

    def then(self, name, run, axes, reads=None, **more):
        reads = [self[-1].name if self else "waveform"] if reads is None else reads
        self.append(Stage(name, reads, axes, run, **more))


CHANNELS_FIRST = ["batch", "channel", "time"]
FEATURES_LAST = ["batch", "frame", "feature"]
IMAGE = ["batch", "channel", "band", "time"]


def pyannet(model, masked=False):
    """The stages of a PyanNet in the order of `PyanNet.forward` and `SincNet.forward`."""
    stages = Stages()
    then = stages.then
    net = model.sincnet
    norm = net.wav_norm1d
    then("sincnet.wav_norm1d", norm, CHANNELS_FIRST, elementary=partial(elementary_norm, norm), eps=norm.eps)
    then("sincnet.conv1d.0.filters", net.conv1d[0].filters, ["channel", "_", "time"], [])
    for c, (conv1d, pool1d, norm1d) in enumerate(zip(net.conv1d, net.pool1d, net.norm1d)):
        conv = f"sincnet.conv1d.{c}"
        if c == 0:
            then(conv, partial(encode, conv1d), CHANNELS_FIRST, ["sincnet.wav_norm1d", f"{conv}.filters"],
                 elementary=lambda x, filters, e=conv1d: elementary_conv(x, filters, None, e.stride))
            then(f"{conv}.abs", torch.abs, CHANNELS_FIRST)
        else:
            then(conv, conv1d, CHANNELS_FIRST,
                 elementary=lambda x, m=conv1d: elementary_conv(x, m.weight, m.bias, m.stride[0]))
        then(f"sincnet.pool1d.{c}", pool1d, CHANNELS_FIRST)
        then(f"sincnet.norm1d.{c}", norm1d, CHANNELS_FIRST,
             elementary=partial(elementary_norm, norm1d), eps=norm1d.eps)
        then(f"sincnet.norm1d.{c}.leaky_relu", F.leaky_relu, CHANNELS_FIRST)

    for n, layer in enumerate(lstm_layers(model.lstm)):
        reads = [f"lstm.{n - 1}" if n else stages[-1].name]
        # the transpose before the LSTM belongs to lstm.0
        enter = (lambda x: x.transpose(1, 2)) if n == 0 else (lambda x: x)
        size = layer.hidden_size
        directions = ["forward", "reverse"] if layer.bidirectional else ["forward"]
        whole = remember_last(lambda x, layer=layer, enter=enter: layer(enter(x))[0])
        other = remember_last(lambda x, layer=layer, enter=enter: elementary_lstm(layer, enter(x)))
        for d, direction in enumerate(directions):
            half = slice(d * size, (d + 1) * size)
            then(f"lstm.{n}.{direction}", lambda x, f=whole, h=half: f(x)[..., h], FEATURES_LAST, reads,
                 elementary=lambda x, f=other, h=half: f(x)[..., h], recurrent=True)
        then(f"lstm.{n}", whole, FEATURES_LAST, reads, elementary=other,
             parts=[f"lstm.{n}.{d}" for d in directions], recurrent=True)

    if model.hparams.linear["num_layers"] > 0:
        for n, linear in enumerate(model.linear):
            then(f"linear.{n}", linear, FEATURES_LAST, elementary=partial(elementary_linear, linear))
            then(f"linear.{n}.leaky_relu", F.leaky_relu, FEATURES_LAST)
    then("classifier", model.classifier, FEATURES_LAST, elementary=partial(elementary_linear, model.classifier))
    then("activation", model.activation, FEATURES_LAST, elementary=partial(elementary_activation, model.activation))
    return stages


def wespeaker(model, masked):
    """The stages of a WeSpeakerResNet in the order of `BaseWeSpeakerResNet.forward` and `ResNet.forward`."""
    stages = Stages()
    then = stages.then

    then("fbank", lambda x: torch.vmap(model._fbank)(x * (1 << 15)), FEATURES_LAST)
    then("fbank.centred", partial(centre, model), FEATURES_LAST)
    net = model.resnet
    # the transpose before belongs to conv1
    then("resnet.conv1", lambda x: net.conv1(x.permute(0, 2, 1).unsqueeze(1)), IMAGE)
    then("resnet.bn1", net.bn1, IMAGE)
    then("resnet.bn1.relu", F.relu, IMAGE)
    for layer in ("layer1", "layer2", "layer3", "layer4"):
        for b, block in enumerate(getattr(net, layer)):
            name, enter = f"resnet.{layer}.{b}", stages[-1].name
            convolutions = 3 if hasattr(block, "conv3") else 2
            for n in range(1, convolutions + 1):
                then(f"{name}.conv{n}", getattr(block, f"conv{n}"), IMAGE)
                then(f"{name}.bn{n}", getattr(block, f"bn{n}"), IMAGE)
                if n < convolutions:
                    then(f"{name}.bn{n}.relu", F.relu, IMAGE)
            branch, shortcut = stages[-1].name, enter
            if len(block.shortcut) > 0:
                then(f"{name}.shortcut.0", block.shortcut[0], IMAGE, [enter])
                then(f"{name}.shortcut.1", block.shortcut[1], IMAGE)
                shortcut = stages[-1].name
            then(f"{name}.add", torch.add, IMAGE, [branch, shortcut])
            then(name, F.relu, IMAGE)

    trunk, pooled = stages[-1].name, ["batch", "feature"]
    if masked:
        pooled = ["batch", "mask", "feature"]
        then("weights", lambda x, masks: F.interpolate(masks, size=x.shape[-1], mode="nearest"),
             ["batch", "mask", "frame"], [trunk, "masks"])
        then("resnet.pool", net.pool, pooled, [trunk, "weights"])
    else:
        then("resnet.pool", net.pool, pooled)
    then("resnet.seg_1", net.seg_1, pooled)
    return stages


def centre(model, features):
    """`compute_fbank` with these features in place of the ones it would compute."""
    own, model._fbank = model._fbank, lambda _: features[0]
    try:
        return model.compute_fbank(features.new_zeros(1, 1, 1))
    finally:
        model._fbank = own


def encode(encoder, x, filters):
    """asteroid's `Encoder.forward` with these filters in place of the ones it would compute."""
    filterbank, own = encoder.filterbank, encoder.filterbank.__dict__.get("filters")
    filterbank.filters = lambda: filters
    try:
        return encoder(x)
    finally:
        if own is None:
            del filterbank.filters
        else:
            filterbank.filters = own


def lstm_layers(lstm):
    """An LSTM as single-layer `nn.LSTM` modules: as they are when split, with copied weights when monolithic."""
    if isinstance(lstm, torch.nn.ModuleList):
        return list(lstm)
    directions = ["", "_reverse"] if lstm.bidirectional else [""]
    layers = []
    for n in range(lstm.num_layers):
        size = lstm.input_size if n == 0 else lstm.hidden_size * len(directions)
        layer = torch.nn.LSTM(size, lstm.hidden_size, bias=lstm.bias, batch_first=lstm.batch_first,
                              bidirectional=lstm.bidirectional)
        weights = {f"{kind}_l0{d}": getattr(lstm, f"{kind}_l{n}{d}")
                   for d in directions for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        layer.to(weights["weight_ih_l0"].dtype).load_state_dict(weights)
        layers.append(layer.eval())
    return layers


def remember_last(f):
    """`f`, computed once for several stages that read the same tensor. It keeps the tensor: identity is safe."""
    last = [None, None]

    def call(x):
        if last[0] is not x:
            last[0], last[1] = x, f(x)
        return last[1]

    return call


# --- the same stages from elementary operations, for floors on degenerate input only -------------------------------


def elementary_norm(norm, x):
    mean = x.mean(-1, keepdim=True)
    centred = x - mean
    variance = (centred * centred).mean(-1, keepdim=True)
    return centred / torch.sqrt(variance + norm.eps) * norm.weight[:, None] + norm.bias[:, None]


def elementary_conv(x, weight, bias, stride):
    size = weight.shape[-1]
    frames = (x.shape[-1] - size) // stride + 1
    out = torch.zeros(1, weight.shape[0], frames, dtype=x.dtype)
    for k in range(size):
        out = out + weight[:, :, k] @ x[..., k : k + stride * (frames - 1) + 1 : stride]
    return out if bias is None else out + bias[:, None]


def elementary_linear(linear, x):
    return x @ linear.weight.T + linear.bias


def elementary_lstm(layer, x):
    outputs = []
    for suffix in ("", "_reverse") if layer.bidirectional else ("",):
        w_ih, w_hh, b_ih, b_hh = (
            getattr(layer, f"{k}_l0{suffix}") for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        h = c = torch.zeros(x.shape[0], layer.hidden_size, dtype=x.dtype)
        steps = [None] * x.shape[1]
        for t in reversed(range(x.shape[1])) if suffix else range(x.shape[1]):
            i, f, g, o = (x[:, t] @ w_ih.T + b_ih + h @ w_hh.T + b_hh).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            steps[t] = h
        outputs.append(torch.stack(steps, 1))
    return torch.cat(outputs, -1)


def elementary_activation(activation, x):
    if isinstance(activation, torch.nn.LogSoftmax):
        shifted = x - x.amax(-1, keepdim=True)
        return shifted - torch.log(torch.exp(shifted).sum(-1, keepdim=True))
    return 1 / (1 + torch.exp(-x))


# --- running --------------------------------------------------------------------------------------------------------


def free_run(stages, waveform, masks=None):
    """Every stage fed with what this run made itself."""
    values = {"waveform": waveform, "masks": masks}
    for stage in stages:
        values[stage.name] = stage.run(*(values[i] for i in stage.inputs))
    return values


def find_degenerate(stages, golden):
    """Names of the norms whose input has next to no variance in any channel, and of what follows until a norm has."""
    found = set()
    for stage in stages:
        if stage.eps is None:
            degenerate = any(i in found for i in stage.inputs)
        else:
            variance = golden[stage.inputs[0]].var(-1, unbiased=False)
            degenerate = bool((variance < DEGENERATE * stage.eps).all())
        if degenerate:
            found.add(stage.name)
    return found


def second_reference(stage, inputs):
    """The stage from elementary torch operations in f32."""
    return (stage.elementary or stage.run)(*inputs)


def redraws(stage, inputs):
    """The outputs of a recurrent stage on inputs whose values are moved up or down by one unit in the last place: a recurrence
    can amplify its own rounding, and then the error of one run is one draw of a wide distribution."""
    if stage.recurrent:
        for draw in range(REDRAWS):
            random = torch.Generator().manual_seed(draw)
            towards = [torch.empty_like(x).bernoulli_(0.5, generator=random).sub_(0.5) * torch.inf for x in inputs]
            yield stage.run(*map(torch.nextafter, inputs, towards))


def rms(error, axis=None):
    """Root mean square of the whole, or of each slice along `axis`. Always an array."""
    axes = None if axis is None else tuple(i for i in range(error.ndim) if i != axis)
    return np.atleast_1d(np.sqrt(np.mean(np.square(error), axis=axes)))


def floors_of(stage, golden, values):
    """Whole, per channel, per frame: the larger over the f32 references given."""
    errors = [v.double().numpy() - golden for v in values]
    floors = {"": np.max([rms(e) for e in errors], 0),
              ".channel": np.max([rms(e, stage.channel_axis) for e in errors], 0)}
    if stage.frame_axis is not None:
        floors[".frame"] = np.max([rms(e, stage.frame_axis) for e in errors], 0)
    return floors


@dataclass
class Capture:
    """What one window gave: arrays in the order they are written, and what the manifest says of stages and notes."""

    arrays: dict
    stages: list
    notes: list


@torch.no_grad()
def capture(network, model32, model64, waveform, masks=None):
    """Golden outputs and floors of every stage on `waveform` (f32, [1, 1, samples]), and where the network pools by
    speaker, on `masks` (f32, [1, masks, frames]) of it."""
    stages32, stages64 = (NETWORKS[network].stages(m, masks is not None) for m in (model32, model64))
    inputs = {"waveform": torch.from_numpy(waveform)}
    if masks is not None:
        inputs["masks"] = torch.from_numpy(masks)
    notes = []
    f32 = free_run(stages32, **inputs)
    golden = free_run(stages64, **{name: value.double() for name, value in inputs.items()})
    last = stages32[-1].name
    for dtype, run, model in (("f32", f32, model32), ("f64", golden, model64)):
        final = model(run["waveform"]) if masks is None else model(run["waveform"], weights=run["masks"])
        if torch.equal(run[last], final):
            continue
        apart = (run[last] - final).abs().max().item()
        if dtype == "f64" and not apart < FOLLOWS:
            raise Refused(f"stage by stage the f64 output is {apart:.3g} away from the package's own: the stages here "
                          "do not follow its forward()")
        notes.append(f"{dtype}: stage by stage the output is not bit-equal to the package's own, largest difference "
                     f"{apart:.3g}")
    for stage in stages64:
        if not torch.isfinite(golden[stage.name]).all():
            raise Refused(f"{stage.name}: the reference itself gives values that are not finite on this input")

    if masks is not None and not torch.equal(golden["weights"], f32["weights"].double()):
        raise Refused(f"of the {masks.shape[-1]} frames of a mask torch takes others in f64 than in f32 for "
                      f"{f32['weights'].shape[-1]}: this window has no golden; take another duration")

    degenerate = find_degenerate(stages64, golden)
    second = dict(f32)
    arrays, described = {name: value.numpy() for name, value in inputs.items()}, []
    for stage in stages32:
        name = stage.name
        g = golden[name].numpy()
        forced_inputs = [inputs[i] if i in inputs else golden[i].float() for i in stage.inputs]
        forced = [stage.run(*forced_inputs), *redraws(stage, forced_inputs)]
        free = [f32[name]]
        if name in degenerate:
            second[name] = second_reference(stage, [second[i] for i in stage.inputs])
            free.append(second[name])
            forced.append(second_reference(stage, forced_inputs))
        arrays[name] = g
        for way, values in (("free", free), ("forced", forced)):
            for slices, floor in floors_of(stage, g, values).items():
                arrays[f"floor.{way}{slices}/{name}"] = floor
        described.append({
            "name": name, "shape": list(g.shape), "axes": stage.axes, "channel_axis": stage.channel_axis,
            "frame_axis": stage.frame_axis, "inputs": stage.inputs, "parts": stage.parts,
            "degenerate": name in degenerate})
    arrays[f"f32/{last}"] = f32[last].numpy()
    return Capture(arrays, described, notes)


# --- models ---------------------------------------------------------------------------------------------------------


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_model(path):
    """(network name, model in f32, model in f64) of a checkpoint or of one of our bundles."""
    if not path.is_file():
        raise Refused(f"{path}: no such file; give a pyannote checkpoint (pytorch_model.bin) or a bundle "
                      "(soundalike convert CHECKPOINT -o MODEL.safetensors)")
    with open(path, "rb") as file:
        start = file.read(9)
    # safetensors: eight bytes of length, then a JSON object
    load = load_bundle if start[8:] == b"{" else load_checkpoint
    models = load(path), load(path).double()
    classes = [c.__name__ for c in type(models[0]).__mro__]
    network = next((name for name, n in NETWORKS.items() if n.of_class in classes), None)
    if network is None:
        raise Refused(f"{path}: the network is a {classes[0]}; this script knows {', '.join(NETWORKS)}")
    return (network, *(m.eval().requires_grad_(False) for m in models))


def load_checkpoint(path):
    from pyannote.audio import Model

    try:
        return Model.from_pretrained(str(path))
    except Exception as error:  # unpickling runs whatever the file asks for: anything may come out of it
        raise Refused(f"{path}: pyannote.audio cannot load this checkpoint: {first_line(error)}") from error


def load_bundle(path):
    """pyannote's own network from the hyperparameters and specifications of a bundle, with the bundle's tensors."""
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["soundalike"])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}
        architecture, hparams, specs = about["architecture"], about["hyperparameters"], about["specifications"]
        version = about["format"]
    except KeyError as missing:
        raise Refused(f"{path}: a safetensors file without {missing}, so not a bundle; make one with "
                      "`soundalike convert`") from missing
    except Exception as error:
        raise Refused(f"{path}: cannot read this bundle: {first_line(error)}") from error
    if version != BUNDLE_FORMAT:
        raise Refused(f"{path}: bundle format {version}, this script reads {BUNDLE_FORMAT}")
    if architecture not in NETWORKS:
        raise Refused(f"{path}: the network is a {architecture}; this script knows {', '.join(NETWORKS)}")
    if specs is not None:
        specs = Specifications(**{**specs, "problem": Problem[member(specs["problem"])],
                                  "resolution": Resolution[member(specs["resolution"])],
                                  "warm_up": tuple(specs["warm_up"])})
    try:
        model, baked = NETWORKS[architecture].build(hparams, specs, tensors)
    except Refused as error:
        raise Refused(f"{path}: {error}") from error

    # no evaluation reads the counters, and a file may lack them
    expected = {k: v for k, v in model.state_dict().items()
                if not (k.startswith(baked) or k.endswith("num_batches_tracked"))}
    tensors = {k: v for k, v in tensors.items() if not k.endswith("num_batches_tracked")}
    wrong = [f"{k} is missing" for k in expected if k not in tensors]
    wrong += [f"{k} is not of this network" for k in tensors if k not in expected]
    wrong += [f"{k} has shape {list(tensors[k].shape)}, expected {list(v.shape)}"
              for k, v in expected.items() if k in tensors and tensors[k].shape != v.shape]
    if wrong:
        raise Refused(f"{path}: {'; '.join(wrong)}")
    model.load_state_dict(tensors, strict=False)
    model.source = about["source"]
    return model


def build_pyannet(hparams, specs, tensors):
    """(network, prefixes of what it has and a bundle with built filters has not); takes the filters from `tensors`."""
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.segmentation import PyanNet

    model = PyanNet(
        sincnet={"stride": hparams["sincnet"]["stride"]},
        lstm={k: hparams["lstm"][k] for k in ("hidden_size", "num_layers", "bidirectional", "monolithic")},
        linear={k: hparams["linear"][k] for k in ("hidden_size", "num_layers")},
        sample_rate=hparams["sample_rate"], num_channels=hparams["num_channels"])
    if specs is None:  # an export does not say: as many classes as outputs, and a problem with this activation
        problem = {"log-softmax": Problem.MONO_LABEL_CLASSIFICATION, "sigmoid": Problem.MULTI_LABEL_CLASSIFICATION}
        model.specifications = Specifications(
            problem=problem[hparams["activation"]], resolution=Resolution.FRAME, duration=0.0,
            classes=[f"output#{i}" for i in range(hparams["num_outputs"])])
        model.unspecified = True
    else:
        model.specifications = specs
    model.build()

    baked = tensors.pop("sincnet.conv1d.0.filters", None)
    if baked is None:
        return model, ()
    filterbank = model.sincnet.conv1d[0].filterbank
    filterbank.register_buffer("baked", baked)  # a buffer, so that .double() widens it
    filterbank.filters = lambda: filterbank.baked
    return model, ("sincnet.conv1d.0.filterbank.",)


def build_wespeaker(hparams, specs, tensors):
    from pyannote.audio.models.embedding import wespeaker as package

    if hparams["m_channels"] != 32:
        raise Refused(f"m_channels is {hparams['m_channels']}, and pyannote.audio makes networks of 32")
    model = package.BaseWeSpeakerResNet(**{k: hparams[k] for k in FBANK})
    make = getattr(package.resnet, f"ResNet{hparams['depth']}")
    model.resnet = make(hparams["num_mel_bins"], hparams["embed_dim"], two_emb_layer=hparams["two_emb_layer"])
    if specs is None:
        model.unspecified = True
    else:
        model.specifications = specs
    return model, ()


def member(word):
    """A word of a bundle as pyannote's enums spell it."""
    return word.upper().replace("-", "_")


def first_line(error):
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


# --- audio ----------------------------------------------------------------------------------------------------------


def read_audio(path):
    """Samples as pyannote reads them: f32 in [-1, 1], channels averaged."""
    from scipy.io import wavfile

    if not path.is_file():
        raise Refused(f"{path}: no such audio file")
    try:
        rate, samples = wavfile.read(path)
    except Exception as error:
        raise Refused(f"{path}: cannot read this as WAV: {first_line(error)}") from error
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif np.issubdtype(samples.dtype, np.integer):  # 24 bits come in the upper bytes of 32
        samples = (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    samples = samples.astype(np.float32)
    if samples.ndim == 2:
        samples = samples.mean(1, dtype=np.float32)
    return samples, rate


def window(samples, rate, path, start=0.0, duration=None, silence=False, scale=None, clip=None, offset=None,
           pad_to=None):
    """[1, 1, N]: the crop, then the transforms in the order of these arguments."""
    first = round(start * rate)
    last = len(samples) if duration is None else first + round(duration * rate)
    if not 0 <= first < last <= len(samples):
        raise Refused(f"{path}: there is no window from {start:g} s to {last / rate:g} s in "
                      f"{len(samples) / rate:g} s of audio")
    x = samples[first:last].copy()
    if not np.isfinite(x).all():
        raise Refused(f"{path}: the window from {start:g} s to {last / rate:g} s holds values that are not finite")
    if silence:
        x[:] = 0
    if scale is not None:
        x *= np.float32(scale)
    if clip is not None:
        x = np.clip(x * np.float32(clip), np.float32(-1), np.float32(1))
    if offset is not None:
        x += np.float32(offset)
    if pad_to is not None:
        missing = round(pad_to * rate) - len(x)
        if missing < 0:
            raise Refused(f"--pad-to {pad_to:g}: the window is longer already ({len(x) / rate:g} s)")
        x = np.concatenate([x, np.zeros(missing, np.float32)])
    return x[None, None]


def read_masks(path, network):
    """[1, masks, frames] in f32: where each speaker of the window is."""
    if not NETWORKS[network].pools:
        raise Refused(f"--masks {path}: a {network} takes no masks")
    try:
        masks = np.load(path)["weights"]
    except Exception as error:
        raise Refused(f"{path}: no .npz with an entry `weights`: {first_line(error)}") from error
    if masks.dtype != np.float32 or masks.ndim != 3 or masks.shape[0] != 1 or 0 in masks.shape:
        raise Refused(f"{path}: `weights` is {masks.dtype} {list(masks.shape)}, expected float32 [1, masks, frames]")
    if not (masks.min() >= 0 and masks.max() <= 1):
        raise Refused(f"{path}: `weights` has values outside 0 to 1")
    return np.ascontiguousarray(masks)


def smallest_input(model):
    """Samples for two output frames: the last norm, or the deviation that is pooled, has no variance over one."""
    samples = 1
    while model.num_frames(samples) < 2:
        samples += 1
    return samples


# --- writing --------------------------------------------------------------------------------------------------------


def write_npz(path, arrays, compress):
    """Little-endian C-order arrays in the order given; equal arrays give equal bytes. Written aside, then renamed."""
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
                entry.create_system, entry.external_attr = 3, 0o644 << 16
                with archive.open(entry, "w", force_zip64=False) as out:
                    np.lib.format.write_array(out, np.ascontiguousarray(array), (1, 0), allow_pickle=False)
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise


def cpu_name():
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.machine()}, torch kernels {torch.backends.cpu.get_cpu_capability()}"


def versions():
    from importlib.metadata import version

    packages = ("torch", "torchaudio", "pyannote.audio", "asteroid-filterbanks", "numpy")
    # as the schema spells it, with an underscore
    return {"python": platform.python_version(), **{p.replace("-", "_"): version(p) for p in packages}}


def network_of(network, model):
    """Architecture and hyperparameters, with the keys of a bundle."""
    return {"architecture": network, "hyperparameters": NETWORKS[network].hyperparameters(model)}


def hyperparameters_of_pyannet(model):
    hparams = model.hparams
    return {
        "sample_rate": hparams.sample_rate,
        "num_channels": hparams.num_channels,
        "sincnet": {"stride": hparams.sincnet["stride"],
                    "filters": "baked" if hasattr(model.sincnet.conv1d[0].filterbank, "baked") else "parametrised"},
        "lstm": {k: hparams.lstm[k] for k in ("hidden_size", "num_layers", "bidirectional", "monolithic")},
        "linear": {k: hparams.linear[k] for k in ("hidden_size", "num_layers")},
        "num_outputs": model.classifier.out_features,
        "activation": {torch.nn.LogSoftmax: "log-softmax", torch.nn.Sigmoid: "sigmoid"}[type(model.activation)],
    }


# the filter bank of a WeSpeakerResNet
FBANK = ("sample_rate", "num_channels", "num_mel_bins", "frame_length", "frame_shift", "round_to_power_of_two",
         "snip_edges", "dither", "window_type", "use_energy", "fbank_centering_span")
# pyannote.audio wespeaker/resnet.py, functions ResNet*
DEPTHS = {("basic", 2, 2, 2, 2): 18, ("basic", 3, 4, 6, 3): 34, ("bottleneck", 3, 4, 6, 3): 50,
          ("bottleneck", 3, 4, 23, 3): 101, ("bottleneck", 3, 8, 36, 3): 152, ("bottleneck", 6, 16, 48, 3): 221,
          ("bottleneck", 10, 20, 64, 3): 293}


def hyperparameters_of_wespeaker(model):
    net, hparams = model.resnet, model.hparams
    block = {"BasicBlock": "basic", "Bottleneck": "bottleneck"}[type(net.layer1[0]).__name__]
    blocks = [len(layer) for layer in (net.layer1, net.layer2, net.layer3, net.layer4)]
    return {
        "depth": DEPTHS[block, *blocks], "block": block, "num_blocks": blocks, "m_channels": net.conv1.out_channels,
        "embed_dim": net.embed_dim, "two_emb_layer": net.two_emb_layer,
        # older checkpoints lack the newer ones, which then have their defaults
        **{k: getattr(hparams, k, default) for k, default in zip(
            FBANK, (16000, 1, 80, 25.0, 10.0, True, True, 0.0, "hamming", False, None))},
    }


@dataclass
class Network:
    """What there is to know of a kind of network, by the name it has in a bundle."""

    of_class: str  # pyannote's class, or the one its classes are derived from
    stages: Callable  # (model, whether there are masks) -> stages
    hyperparameters: Callable  # model -> those of a bundle
    build: Callable  # (hyperparameters, specifications or None, tensors) -> model, prefixes of tensors it can lack
    pools: bool  # whether it takes masks


# A third network is a third line here.
NETWORKS = {
    "PyanNet": Network("PyanNet", pyannet, hyperparameters_of_pyannet, build_pyannet, False),
    "WeSpeakerResNet": Network(
        "BaseWeSpeakerResNet", wespeaker, hyperparameters_of_wespeaker, build_wespeaker, True),
}


def specifications_of(model):
    """What the network was trained to answer, with the keys and words of a bundle. None where the bundle has none."""
    if getattr(model, "unspecified", False):
        return None
    specs, word = model.specifications, lambda member: member.name.lower().replace("_", "-")
    return {"problem": word(specs.problem), "resolution": word(specs.resolution), "duration": specs.duration,
            "min_duration": specs.min_duration, "warm_up": list(specs.warm_up), "classes": specs.classes,
            "powerset_max_classes": specs.powerset_max_classes,
            "permutation_invariant": specs.permutation_invariant}


def write_capture(out, loaded, model_about, audio, transform, masks, compress):
    network, model32, model64 = loaded
    path, samples, rate, digest = audio
    if rate != model32.hparams.sample_rate:
        raise Refused(f"{path}: {rate} Hz, and the model wants {model32.hparams.sample_rate} Hz; resample it first")
    waveform = window(samples, rate, path, **transform)
    least = smallest_input(model32)
    if waveform.shape[-1] < least:
        raise Refused(f"{path}: {waveform.shape[-1]} samples are too few, this model needs {least} at least")
    result = capture(network, model32, model64, waveform, None if masks is None else masks[0])
    start, duration = transform.get("start", 0.0), transform.get("duration")
    crop = ("start", "duration")
    manifest = {
        "schema": SCHEMA,
        "engine": "pyannote.audio",
        "model": {**model_about, "source": getattr(model32, "source", None)},
        "audio": {"file": path.name, "sha256": digest, "sample_rate": rate, "start": start,
                  "duration": len(samples) / rate - start if duration is None else duration,
                  "transform": {k: v for k, v in transform.items() if k not in crop and v not in (None, False)}},
        "masks": None if masks is None else {"file": masks[1].name, "sha256": sha256(masks[1])},
        "network": network_of(network, model32),
        "specifications": specifications_of(model32),
        "versions": versions(),
        "cpu": cpu_name(),
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "dtype": {"golden": "f64", "reference": "f32"},
        "stages": result.stages,
        "notes": result.notes,
    }
    text = json.dumps(manifest, ensure_ascii=False).encode()
    write_npz(out, {"manifest": np.frombuffer(text, np.uint8), **result.arrays}, compress)
    degenerate = sum(s["degenerate"] for s in result.stages)
    say = f"{out}: {len(result.stages)} stages, {out.stat().st_size / 1e6:.1f} MB"
    print(say + (f", {degenerate} of them degenerate" if degenerate else ""), file=sys.stderr)
    return result


def print_floors(result):
    """Floors relative to the rms of the golden stage, on stdout."""
    print(f"{'stage':32} {'shape':>16} {'rms':>10} {'free':>10} {'forced':>10}   relative floors")
    for stage in result.stages:
        name = stage["name"]
        size = rms(result.arrays[name])[0]
        free, forced = (result.arrays[f"floor.{way}/{name}"][0] / (size or 1) for way in ("free", "forced"))
        mark = "  degenerate" if stage["degenerate"] else ""
        print(f"{name:32} {'x'.join(map(str, stage['shape'])):>16} {size:10.3e} {free:10.2e} {forced:10.2e}{mark}")


def suite(start):
    """File name -> transform: the inputs on which a port must be as exact as torch."""
    ten = {"start": start, "duration": SUITE_WINDOW}
    return {
        "speech": ten,
        "silence": {**ten, "silence": True},
        "padded": {"start": start, "duration": SUITE_PADDED, "pad_to": SUITE_WINDOW},
        "offset": {**ten, "offset": SUITE_OFFSET},
        "clipped": {**ten, "clip": SUITE_GAIN},
        "scaled": {**ten, "scale": SUITE_SCALE},
    }


def arguments(argv):
    parser = argparse.ArgumentParser(
        prog="capture.py", description="Activations of the official pyannote.audio, in f64, with torch's f32 floors. "
        "A checkpoint is a pickle, which runs code when it is loaded: give it only files you trust.")
    parser.add_argument("model", type=Path, metavar="MODEL", help="pyannote checkpoint or bundle (.safetensors)")
    parser.add_argument("audio", type=Path, metavar="AUDIO", help="WAV at the model's sample rate")
    parser.add_argument("--start", type=float, default=0.0, metavar="S", help="first second of the window")
    parser.add_argument("--duration", type=float, metavar="S", help="seconds from there (default: to the end)")
    parser.add_argument("--silence", action="store_true", help="zeros in place of the samples")
    parser.add_argument("--scale", type=float, metavar="X", help="multiply by X")
    parser.add_argument("--clip", type=float, metavar="X", help="multiply by X, then clamp to [-1, 1]")
    parser.add_argument("--offset", type=float, metavar="X", help="add X")
    parser.add_argument("--pad-to", type=float, metavar="S", help="zeros after the window until it lasts S seconds")
    parser.add_argument("--masks", type=Path, metavar="FILE.npz",
                        help="pool by these: `weights`, float32 [1, masks, frames] (default: over the whole window)")
    parser.add_argument("--stored", action="store_true", help="do not compress")
    parser.add_argument("--name", help="name of the model in the manifest (default: its file name)")
    parser.add_argument("--floors", action="store_true", help="print the floors of every stage")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT.npz", help="one window, compressed unless --stored")
    parser.add_argument("--suite", type=Path, metavar="DIR",
                        help="six 10 s windows from --start on, one file each, not compressed")
    options = parser.parse_args(argv)
    if (options.output is None) == (options.suite is None):
        parser.error("give either -o OUT.npz or --suite DIR")
    transform = {k: getattr(options, k) for k in
                 ("start", "duration", "silence", "scale", "clip", "offset", "pad_to")}
    if options.suite and any(v not in (None, False) for k, v in transform.items() if k != "start"):
        parser.error("--suite makes its own transforms; only --start goes with it")
    for option, value in transform.items():
        if isinstance(value, float) and not math.isfinite(value):
            parser.error(f"--{option.replace('_', '-')}: {value} is not a finite number")
    return options, transform


def main(argv=None):
    options, transform = arguments(argv)
    torch.set_num_threads(1)  # the order of sums, and with it the floors, must not depend on the machine's cores
    try:
        if options.output and not options.output.parent.is_dir():
            raise Refused(f"{options.output}: there is no folder {options.output.parent}; make it first")
        loaded = load_model(options.model)
        about = {"name": options.name or options.model.name, "sha256": sha256(options.model)}
        masks = None if options.masks is None else (read_masks(options.masks, loaded[0]), options.masks)
        audio = (options.audio, *read_audio(options.audio), sha256(options.audio))
        if options.suite:
            options.suite.mkdir(parents=True, exist_ok=True)
            jobs = {options.suite / f"{case}.npz": t for case, t in suite(options.start).items()}
        else:
            jobs = {options.output: transform}
        for out, its_transform in jobs.items():
            result = write_capture(out, loaded, about, audio, its_transform, masks,
                                   compress=options.suite is None and not options.stored)
            if options.floors:
                print_floors(result)
    except (Refused, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
