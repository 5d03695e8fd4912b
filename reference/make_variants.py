"""Writes random-weight checkpoints of many hyperparameters, made by the official package.

    python make_variants.py OUT           the checkpoints (400 MB with the deep WeSpeaker networks)
    python make_variants.py OUT --pyannet only PyanNets
    python make_variants.py OUT NAME...   only these, or those of TRACED
    python make_variants.py --list        their tensors' names and shapes as JSON, for the Rust tests

The checkpoints have what Lightning writes and what pyannote's `on_save_checkpoint` adds.
`check_bundles.py` compares them, converted, with what `torch.load` gives.
"""

import hashlib
import json
import sys
from functools import partial
from pathlib import Path

import torch
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.embedding import wespeaker
from pyannote.audio.models.segmentation import PyanNet

POWERSET = dict(classes=3, most=2)
MULTILABEL = dict(classes=4, most=None)

# name: (hyperparameters, specifications)
PYANNET = {
    "default": ({}, POWERSET),
    "segmentation-3": (dict(lstm=dict(num_layers=4, dropout=0.5)), POWERSET),
    "split": (dict(lstm=dict(num_layers=3, monolithic=False)), POWERSET),
    "split-one": (dict(lstm=dict(num_layers=1, monolithic=False, hidden_size=32)), POWERSET),
    "unidirectional": (dict(lstm=dict(bidirectional=False, num_layers=3)), POWERSET),
    "split-unidirectional": (
        dict(lstm=dict(bidirectional=False, monolithic=False, hidden_size=48)),
        MULTILABEL,
    ),
    "no-linear": (dict(linear=dict(num_layers=0)), POWERSET),
    "no-linear-unidirectional": (
        dict(linear=dict(num_layers=0), lstm=dict(bidirectional=False)),
        MULTILABEL,
    ),
    "three-linear": (dict(linear=dict(num_layers=3, hidden_size=40)), POWERSET),
    "stride-5": (dict(sincnet=dict(stride=5)), POWERSET),
    "multilabel": ({}, MULTILABEL),
    "four-speakers": ({}, dict(classes=4, most=2)),
}
# Ways of storing the same network.
STORED = ["f16", "bf16", "f64", "strided", "shared", "parameters", "tuple"]
WESPEAKER = {
    "wespeaker-34": (34, {}),
    "wespeaker-34-64-mels": (34, dict(num_mel_bins=64, frame_length=20, frame_shift=8)),
    "wespeaker-152": (152, {}),
    "wespeaker-221": (221, {}),
    "wespeaker-293": (293, {}),
}
# Made by name only, to compare their stages: with few bands, so that the traces are small.
TRACED = {
    "traced-34": (34, {}),
    "traced-34-16-mels": (34, dict(num_mel_bins=16, frame_length=20, frame_shift=8)),
    "traced-152-8-mels": (152, dict(num_mel_bins=8)),
    "traced-221-8-mels": (221, dict(num_mel_bins=8)),
    "traced-293-8-mels": (293, dict(num_mel_bins=8)),
}


def specifications(classes, most):
    return Specifications(
        problem=Problem.MULTI_LABEL_CLASSIFICATION if most is None else Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=10.0,
        classes=[f"speaker#{i + 1}" for i in range(classes)],
        powerset_max_classes=most,
        permutation_invariant=True,
    )


def pyannet(hyperparameters, task):
    model = PyanNet(**hyperparameters)
    model.specifications = specifications(**task)
    model.setup()
    with torch.no_grad():
        # PyTorch begins with weight 1 and bias 0, which would hide a norm without its affine part.
        for module in model.modules():
            if isinstance(module, torch.nn.InstanceNorm1d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
    return model


def resnet(depth, hyperparameters):
    model = getattr(wespeaker, f"WeSpeakerResNet{depth}")(**hyperparameters)
    model.specifications = Specifications(
        problem=Problem.REPRESENTATION,
        resolution=Resolution.CHUNK,
        duration=5.0,
        min_duration=2.0,
        classes=["a", "b"],
    )
    model.setup()
    with torch.no_grad():
        for buffer in model.buffers():
            buffer.copy_(torch.rand(buffer.shape) * 100 + 0.5)
    return model


def settled(model):
    """Norms with the statistics of some input, or next to nothing would pass the first ReLU."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        # ones and zeros would hide a missing affine
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, std=0.2)
    with torch.no_grad():
        model.train()(0.1 * torch.randn(1, 1, 32000))
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


def save(model, path, state_dict=None):
    checkpoint = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": "2.0.0",
        "state_dict": model.state_dict() if state_dict is None else state_dict,
        "hparams_name": "kwargs",
        "hyper_parameters": dict(model.hparams),
    }
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)


def variants():
    for name, (hyperparameters, task) in PYANNET.items():
        yield name, partial(pyannet, hyperparameters, task)
    for name, (depth, hyperparameters) in WESPEAKER.items():
        yield name, partial(resnet, depth, hyperparameters)


def listing():
    """Per variant: what the Rust crate must know without a checkpoint."""
    rows = {}
    for name, make in variants():
        model = make()
        state = model.state_dict()
        lines = "".join(f"{key} {list(state[key].shape)}\n" for key in sorted(state))
        rows[name] = {
            "hyperparameters": dict(model.hparams),
            "tensors": len(state),
            "parameters": sum(p.numel() for p in model.parameters()),
            "buffers": sum(b.numel() for b in model.buffers()),
            "sha256": hashlib.sha256(lines.encode()).hexdigest(),
        }
    return rows


def stored(way, path):
    model = pyannet(*PYANNET["default"])
    state = model.state_dict()
    if way == "f16":
        state = {key: value.half() for key, value in state.items()}
    elif way == "bf16":
        state = {key: value.bfloat16() for key, value in state.items()}
    elif way == "f64":
        state = {key: value.double() for key, value in state.items()}
    elif way == "strided":
        # Each matrix column by column, each vector every third element of a longer one.
        def strided(tensor):
            if tensor.dim() == 1:
                wide = torch.zeros(tensor.numel() * 3 + 1)
                wide[1::3][: tensor.numel()] = tensor
                return wide[1::3][: tensor.numel()]
            axes = tuple(reversed(range(tensor.dim())))
            return tensor.permute(axes).contiguous().permute(axes)

        state = {key: strided(value) for key, value in state.items()}
    elif way == "shared":
        flat = torch.cat([torch.zeros(7)] + [value.flatten() for value in state.values()])
        offset, views = 7, {}
        for key, value in state.items():
            views[key] = flat[offset : offset + value.numel()].view(value.shape)
            offset += value.numel()
        state = views
    elif way == "parameters":
        state = model.state_dict(keep_vars=True)
    elif way == "tuple":
        model.specifications = (model.specifications,)
    save(model, path, state)


def main():
    torch.manual_seed(0)
    if sys.argv[1:] == ["--list"]:
        json.dump(listing(), sys.stdout, indent=1, sort_keys=True)
        print()
        return
    out, chosen = Path(sys.argv[1]), sys.argv[2:]
    chosen = list(PYANNET) if chosen == ["--pyannet"] else chosen
    makers = dict(variants())
    traced = {name: lambda row=row: settled(resnet(*row)) for name, row in TRACED.items()}
    unknown = [name for name in chosen if name not in makers | traced]
    if unknown:
        sys.exit(f"error: no variant {', '.join(unknown)}; there are {', '.join(makers | traced)}")
    out.mkdir(parents=True, exist_ok=True)
    for name in chosen or makers:
        save((makers | traced)[name](), out / f"{name}.ckpt")
        print(name)
    for way in () if chosen else STORED:
        stored(way, out / f"stored-{way}.ckpt")
        print(f"stored-{way}")


if __name__ == "__main__":
    main()
