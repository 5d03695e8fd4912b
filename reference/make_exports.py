#!/usr/bin/env python3
"""The networks of a pipeline in the formats of other projects.

    reference/make_exports.py PIPELINE OUTPUT [--all]

Writes into OUTPUT what others make of the two networks of PIPELINE (a directory with segmentation/ and embedding/): ONNX
exports, PyTorch's format before 1.6, and the state dicts of WeSpeaker, diarizers, speakrs and two ports to MLX. With --all,
also the exports by other tools: PyTorch's dynamo exporter, ONNX Runtime's optimizer, onnxsim, int8. They need onnxscript and
onnxsim.
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import torch
from pyannote.audio import Model
from safetensors.torch import save_file

# PyTorch warns that its older exporter is old.
warnings.filterwarnings("ignore")
OPSETS = (11, 17, 20)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    segmentation(options.pipeline / "segmentation/pytorch_model.bin", options.output, options.all)
    embedding(options.pipeline / "embedding/pytorch_model.bin", options.output, options.all)


def load(checkpoint):
    model = Model.from_pretrained(checkpoint).eval()
    return model, {name: value.clone().contiguous() for name, value in model.state_dict().items()}


def segmentation(checkpoint, output, everything):
    model, state = load(checkpoint)
    for opset in OPSETS:
        export(model, torch.zeros(1, 1, 160_000), output / f"segmentation-{opset}.onnx", "input_values", "logits", opset=opset)
    export(model, torch.zeros(32, 1, 160_000), output / "segmentation-32.onnx", "x", "y", axes=False)
    torch.save(torch.load(checkpoint, weights_only=False), output / "legacy.bin", _use_new_zipfile_serialization=False)

    diarizers = output / "diarizers"
    diarizers.mkdir(exist_ok=True)
    save_file({f"model.{name}": value for name, value in state.items()}, diarizers / "model.safetensors")
    config = {"architectures": ["SegmentationModel"], "chunk_duration": 10.0, "max_speakers_per_chunk": 3,
              "max_speakers_per_frame": 2, "min_duration": None, "model_type": "pyannet", "warm_up": [0.0, 0.0]}
    (diarizers / "config.json").write_text(json.dumps(config))

    np.savez(output / "weights.npz", **{name: value.numpy() for name, value in state.items()})
    save_file(swift_segmentation(model, state), output / "swift-segmentation.safetensors")
    exported = onnx.load(output / "segmentation-17.onnx")
    stored = {tensor.name: torch.tensor(onnx.numpy_helper.to_array(tensor)) for tensor in exported.graph.initializer}
    bank = {name: value for name, value in state.items() if ".filterbank." in name}
    save_file(bank | {name: value for name, value in stored.items() if "conv1d.0" not in name and value.is_floating_point()},
              output / "speakrs-segmentation.safetensors")
    if everything:
        # The dynamo exporter fails on the functions that build them.
        bank = model.sincnet.conv1d[0].filterbank
        filters = bank.filters().detach()
        bank.filters = lambda: filters
        others(model, torch.zeros(1, 1, 160_000), output, "segmentation", output / "segmentation-17.onnx")


def swift_segmentation(model, state):
    """Kernels last, filters built, one bias for each direction of an LSTM."""
    found = {"sincnet.conv.0.weight": model.sincnet.conv1d[0].filterbank.filters().detach().permute(0, 2, 1)}
    for name, value in state.items():
        if name.startswith(("linear.", "classifier.")):
            found[name] = value
        elif name.startswith("sincnet.conv1d.") and ".filterbank." not in name:
            found[name.replace("conv1d", "conv")] = value.permute(0, 2, 1) if value.ndim == 3 else value
        elif name.startswith(("sincnet.norm1d.", "sincnet.wav_norm1d.")):
            found[name.replace("norm1d", "norm")] = value
    for layer in range(model.lstm.num_layers):
        for direction, suffix in (("fwd", ""), ("bwd", "_reverse")):
            of = lambda kind: state[f"lstm.{kind}_l{layer}{suffix}"]
            module = f"lstm_{direction}.layers.{layer}"
            found |= {f"{module}.Wx": of("weight_ih"), f"{module}.Wh": of("weight_hh"), f"{module}.bias": of("bias_ih") + of("bias_hh")}
    return {name: value.contiguous() for name, value in found.items()}


class Trunk(torch.nn.Module):
    """What WeSpeaker exports: features to embeddings, without masks, and with a mean of the training set that is zero."""

    def __init__(self, resnet):
        super().__init__()
        self.resnet = resnet
        self.register_buffer("mean_vec", torch.zeros(256))

    def forward(self, features):
        frames = self.resnet.forward_frames(features) if hasattr(self.resnet, "forward_frames") else None
        if frames is None:
            return self.resnet(features)[1] - self.mean_vec
        return self.resnet.forward_embedding(frames, weights=None)[1] - self.mean_vec


def embedding(checkpoint, output, everything):
    model, state = load(checkpoint)
    features = torch.zeros(1, 998, model.hparams.num_mel_bins)
    trunk = Trunk(model.resnet).eval()
    export(trunk, features, output / "wespeaker.onnx", "feats", "embs", axes={"feats": {0: "B", 1: "T"}, "embs": {0: "B"}}, opset=14)
    export(trunk, features, output / "wespeaker-norms.onnx", "feats", "embs", axes=False, opset=14,
           do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE)

    bare = {name.removeprefix("resnet."): value for name, value in state.items()}
    projection = {"projection.weight": torch.zeros(4, 256)}
    torch.save(bare | projection, output / "avg_model.pt")
    torch.save({f"front.{name}": value for name, value in bare.items()} | projection, output / "front.pt")
    last = {name: value.permute(0, 2, 3, 1).contiguous() if value.ndim == 4 else value for name, value in bare.items()}
    np.savez(output / "wespeaker-mlx.npz", **{name: value.numpy() for name, value in last.items() if value.is_floating_point()})
    folded = fold(bare)
    save_file({f"resnet.{name}".replace(".bias", ".weight_bias") if "seg_1" not in name else f"resnet.{name}": value
               for name, value in folded.items()}, output / "speakrs-embedding.safetensors")
    swift = {name.replace("shortcut.0", "shortcut").replace("seg_1", "embedding"):
             value.permute(0, 2, 3, 1).contiguous() if value.ndim == 4 else value for name, value in folded.items()}
    save_file(swift, output / "swift-embedding.safetensors")
    if everything:
        others(trunk, features, output, "wespeaker", output / "wespeaker.onnx")


def fold(state):
    """Convolutions with the batch norm after each folded into them."""
    folded = {}
    for name, weight in state.items():
        if weight.ndim == 4:
            module = name.removesuffix(".weight")
            norm = module.replace("conv", "bn").replace("shortcut.0", "shortcut.1")
            scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + 1e-5).sqrt()
            folded[name] = weight * scale[:, None, None, None]
            folded[f"{module}.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
        elif name.startswith("seg_1"):
            folded[name] = weight
    return folded


def export(model, example, path, name, result, axes=True, opset=17, **options):
    if axes is True:
        axes = {name: {0: "batch", 2: "samples"}, result: {0: "batch", 1: "frames"}}
    with torch.no_grad():
        torch.onnx.export(model, (example,), str(path), input_names=[name], output_names=[result], dynamic_axes=axes or None,
                          opset_version=opset, dynamo=False, **options)


def others(model, example, output, stem, exported):
    """Exports and rewritten exports by other tools."""
    import onnxruntime
    import onnxsim
    from onnxruntime.quantization import quantize_dynamic

    with torch.no_grad():
        torch.onnx.export(model, (example,), str(output / f"{stem}-dynamo.onnx"), dynamo=True, external_data=False)
        torch.onnx.export(model, (example,), str(output / f"{stem}-external.onnx"), dynamo=True, external_data=True)
    levels = onnxruntime.GraphOptimizationLevel
    for level, word in ((levels.ORT_ENABLE_BASIC, "basic"), (levels.ORT_ENABLE_EXTENDED, "extended")):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        options.optimized_model_filepath = str(output / f"{stem}-ort-{word}.onnx")
        onnxruntime.InferenceSession(str(exported), options, providers=["CPUExecutionProvider"])
    simplified, _ = onnxsim.simplify(onnx.load(exported))
    onnx.save(simplified, output / f"{stem}-simplified.onnx")
    quantize_dynamic(exported, output / f"{stem}-int8.onnx")
    expanded = onnx.inliner.inline_local_functions(expand(simplified))
    onnx.save(expanded, output / f"{stem}-expanded.onnx")


def expand(model):
    """Each InstanceNormalization as the operations of which it is made."""
    nodes = []
    for node in model.graph.node:
        if node.op_type != "InstanceNormalization":
            nodes.append(node)
            continue
        (x, scale, bias), (y,) = node.input, node.output
        make = onnx.helper.make_node
        eps = onnx.numpy_helper.from_array(np.float32(node.attribute[0].f), f"{y}.eps")
        two = onnx.numpy_helper.from_array(np.float32(2), f"{y}.two")
        model.graph.initializer.extend([eps, two])
        shape = onnx.numpy_helper.from_array(np.array([1, -1, 1]), f"{y}.shape")
        model.graph.initializer.append(shape)
        nodes += [
            make("ReduceMean", [x], [f"{y}.mean"], axes=[2], keepdims=1),
            make("Sub", [x, f"{y}.mean"], [f"{y}.centred"]),
            make("Pow", [f"{y}.centred", f"{y}.two"], [f"{y}.square"]),
            make("ReduceMean", [f"{y}.square"], [f"{y}.variance"], axes=[2], keepdims=1),
            make("Add", [f"{y}.variance", f"{y}.eps"], [f"{y}.positive"]),
            make("Sqrt", [f"{y}.positive"], [f"{y}.deviation"]),
            make("Div", [f"{y}.centred", f"{y}.deviation"], [f"{y}.normal"]),
            make("Reshape", [scale, f"{y}.shape"], [f"{y}.scale"]),
            make("Reshape", [bias, f"{y}.shape"], [f"{y}.bias"]),
            make("Mul", [f"{y}.normal", f"{y}.scale"], [f"{y}.scaled"]),
            make("Add", [f"{y}.scaled", f"{y}.bias"], [y]),
        ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


if __name__ == "__main__":
    main()
