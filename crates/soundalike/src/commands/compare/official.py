"""Reads a pyannote checkpoint by PyTorch and, where it is installed, pyannote.audio.

    python official.py CHECKPOINT DIRECTORY

`soundalike compare --reference official` and reference/check_bundles.py compare the result with their own reading.
DIRECTORY/tensors.safetensors: the state dict, as torch.load gives it. DIRECTORY/reading.json, written last: `values`, the
hyperparameters and specifications by their paths (lstm.hidden_size); `layers`, what layers compute with besides tensors
(resnet.bn1.eps); `versions` of the packages. With pyannote.audio, all are those of the official model, which fills in the
defaults; without, the values are those that the file stores, and there are no layers.

torch.load runs with weights_only=True: it calls nothing but the names in ALLOWED. No other class is looked up by a name
from the file.
"""

import dataclasses
import importlib.metadata
import inspect
import json
import logging
import os
import pickle
import struct
import sys
import warnings
from enum import Enum
from pathlib import Path

os.environ["PYANNOTE_METRICS_ENABLED"] = "0"  # pyannote.audio reports its use unless told not to
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)

try:
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals
except ImportError as error:
    sys.exit(f"{error}; install torch 2.6 or newer in this Python, or name another one by SOUNDALIKE_PYTHON")

# Checkpoints of the pipelines 3.1 and community-1 need the first three, those of 2022.07 all.
ALLOWED = [
    "pyannote.audio.core.task.Specifications",
    "pyannote.audio.core.task.Problem",
    "pyannote.audio.core.task.Resolution",
    "pyannote.audio.core.model.Introspection",
    "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata",
    "omegaconf.listconfig.ListConfig",
    "omegaconf.nodes.AnyNode",
    "torch.torch_version.TorchVersion",
    "typing.Any",
    "collections.defaultdict",
    "builtins.dict",
    "builtins.int",
    "builtins.list",
]
# Enumerations are called with a number.
ENUMERATIONS = {
    "Problem": Enum(
        "Problem",
        "BINARY_CLASSIFICATION MONO_LABEL_CLASSIFICATION MULTI_LABEL_CLASSIFICATION REPRESENTATION REGRESSION",
        start=0,
    ),
    "Resolution": Enum("Resolution", "FRAME CHUNK"),
}
SEGMENTATION, EMBEDDING = "pyannote.audio.models.segmentation", "pyannote.audio.models.embedding.wespeaker"
MODULES = {
    "PyanNet": SEGMENTATION,
    "WeSpeakerResNet34": EMBEDDING,
    "WeSpeakerResNet152": EMBEDDING,
    "WeSpeakerResNet221": EMBEDDING,
    "WeSpeakerResNet293": EMBEDDING,
}
# Stored hyperparameters without an effect on inference, or with one value that the official classes set.
NOT_USED = ["sincnet.sample_rate", "lstm.dropout", "lstm.batch_first", "lstm.bias", "task"]
DTYPES = {
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}


def find(name):
    """The class `name` of an installed package, or an empty one in its place."""
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        return ENUMERATIONS.get(attribute) or type(attribute, (), {"__module__": module})


def load(path):
    """The checkpoint. Exits if it names anything that is not in ALLOWED."""
    try:
        refused = sorted(set(get_unsafe_globals_in_checkpoint(path)) - set(ALLOWED))
    except (ValueError, RuntimeError, pickle.UnpicklingError) as error:
        sys.exit(f"torch.load cannot read it: {first_line(error)}")
    if refused:
        sys.exit(f"torch.load refuses {', '.join(refused)}: not in the list of names that a pyannote checkpoint needs")
    with safe_globals([(find(name), name) for name in ALLOWED]):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError) as error:
            sys.exit(f"torch.load cannot read it: {first_line(error)}")


def first_line(error):
    return str(error).partition("\n")[0]


def plain(value):
    """The value without omegaconf's containers and nodes."""
    inside = getattr(value, "__dict__", {})
    for key in ("_val", "_content"):
        if key in inside:
            return plain(inside[key])
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def flat(value, path=""):
    """The leaves of nested dictionaries by their paths."""
    if isinstance(value, dict):
        leaves = {}
        for key, item in value.items():
            leaves.update(flat(item, f"{path}.{key}" if path else key))
        return leaves
    return {path: value}


def specifications(task):
    """The fields that are there, and the defaults of the official class."""
    if isinstance(task, (list, tuple)):
        (task,) = task
    fields = {}
    if dataclasses.is_dataclass(task):
        defaults = {field.name: field.default for field in dataclasses.fields(task)}
        fields = {name: value for name, value in defaults.items() if value is not dataclasses.MISSING}
        fields["classes"] = []
    fields.update({name: plain(value) for name, value in vars(task).items() if value is not None})
    for name in ("problem", "resolution"):
        fields[name] = fields[name].name.lower().replace("_", "-")
    if "warm_up" in fields:
        times = fields["warm_up"]
        fields["warm_up"] = list(times) if isinstance(times, (list, tuple)) else [times, times]
    known = (
        "problem resolution duration min_duration warm_up classes powerset_max_classes permutation_invariant"
    ).split()
    return {name: fields[name] for name in known if name in fields}


def official_class(name):
    """The class of pyannote.audio; None if that is not installed."""
    try:
        return getattr(importlib.import_module(MODULES[name]), name)
    except ImportError:
        return None


def construct(official, checkpoint):
    """The official model, as pyannote.audio makes it of a checkpoint."""
    parameters = plain(dict(checkpoint.get("hyper_parameters", {})))
    accepted = inspect.signature(official.__init__).parameters
    model = official(**{name: value for name, value in parameters.items() if name in accepted and name != "task"})
    model.on_load_checkpoint(checkpoint)
    model.load_state_dict(checkpoint["state_dict"])
    return model.eval()


def pyannet(model):
    sincnet, lstm, linear = model.sincnet, model.lstm, model.hparams.linear
    monolithic = isinstance(lstm, torch.nn.LSTM)
    layer = lstm if monolithic else lstm[0]
    return {
        "architecture": "PyanNet",
        "sample_rate": model.hparams.sample_rate,
        "num_channels": model.hparams.num_channels,
        "sincnet": {"stride": sincnet.conv1d[0].filterbank.stride, "filters": "parametrised"},
        "lstm": {
            "hidden_size": layer.hidden_size,
            "num_layers": lstm.num_layers if monolithic else len(lstm),
            "bidirectional": layer.bidirectional,
            "monolithic": monolithic,
        },
        "linear": {"hidden_size": linear["hidden_size"], "num_layers": linear["num_layers"]},
        "num_outputs": model.classifier.out_features,
        "activation": {"LogSoftmax": "log-softmax", "Sigmoid": "sigmoid"}[type(model.activation).__name__],
    }


def wespeaker(model):
    resnet, fbank = model.resnet, dict(model._fbank.keywords)
    layers = [resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4]
    return {
        "architecture": "WeSpeakerResNet",
        "depth": int(type(model).__name__.removeprefix("WeSpeakerResNet")),
        "block": type(layers[0][0]).__name__.removesuffix("Block").lower(),
        "num_blocks": [len(layer) for layer in layers],
        "m_channels": resnet.conv1.out_channels,
        "embed_dim": resnet.embed_dim,
        "two_emb_layer": resnet.two_emb_layer,
        "sample_rate": fbank.pop("sample_frequency"),
        "num_channels": model.hparams.num_channels,
        "fbank_centering_span": model.hparams.fbank_centering_span,
        **fbank,
    }


def layers(model):
    """What the layers compute with, besides their tensors: `resnet.bn1.eps`."""
    nn = torch.nn
    kinds = {
        (nn.InstanceNorm1d, nn.BatchNorm1d, nn.BatchNorm2d): ["eps"],
        (nn.Conv1d, nn.Conv2d, nn.MaxPool1d): ["kernel_size", "stride", "padding"],
    }
    found = {}
    for path, layer in model.named_modules():
        bank = getattr(layer, "filterbank", None)
        if bank is not None:
            found[path] = {"kernel_size": bank.kernel_size, "stride": bank.stride, "padding": layer.padding}
        for kind, names in kinds.items():
            if isinstance(layer, kind):
                found[path] = {name: number(getattr(layer, name)) for name in names}
    return found


def number(value):
    """One number for an isotropic size."""
    if not isinstance(value, tuple):
        return value
    (one,) = set(value)
    return one


def stored(checkpoint):
    parameters = flat(plain(dict(checkpoint.get("hyper_parameters", {}))))
    return {name: value for name, value in parameters.items() if name not in NOT_USED}


def read(path):
    """The state dict of the checkpoint at `path`, and what else is to be compared, as in reading.json."""
    checkpoint = load(path)
    about = checkpoint["pyannote.audio"]
    name = about["architecture"]["class"]
    if name not in MODULES:
        sys.exit(f"it holds a {name}, expected one of {', '.join(MODULES)}")
    reading = {"values": stored(checkpoint), "layers": {}, "versions": {"torch": torch.__version__}}
    official = official_class(name)
    if official is not None:
        model = construct(official, checkpoint)
        reading["values"] = flat(pyannet(model) if name == "PyanNet" else wespeaker(model))
        reading["layers"] = flat(layers(model))
        reading["versions"]["pyannote.audio"] = importlib.metadata.version("pyannote.audio")
    reading["values"] |= specifications(about["specifications"])
    return checkpoint["state_dict"], reading


def raw(tensor):
    """Elements in row-major order as bytes."""
    copy = tensor.detach().clone(memory_format=torch.contiguous_format)
    return copy.reshape(-1).view(torch.uint8).numpy().tobytes()


def write_safetensors(path, state):
    """As the package safetensors does, which need not be installed."""
    header, end = {}, 0
    for name, tensor in state.items():
        if tensor.dtype not in DTYPES:
            sys.exit(f"{name} has dtype {tensor.dtype}, expected one of {', '.join(DTYPES.values())}")
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for tensor in state.values():
            file.write(raw(tensor))


def main():
    checkpoint, directory = sys.argv[1], Path(sys.argv[2])
    state, reading = read(checkpoint)
    write_safetensors(directory / "tensors.safetensors", state)
    (directory / "reading.json").write_text(json.dumps(reading), encoding="utf-8")


if __name__ == "__main__":
    main()
