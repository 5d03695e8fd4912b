#!/usr/bin/env python3
"""Makes complete pyannote pipelines that the official package loads offline, for tests of whole pipelines.

    make_pipeline.py OUT          OUT/vbx and OUT/agglomerative: config.yaml, segmentation/, embedding/, plda/

The segmentation is segmentation-3.0, the embedded weights in a checkpoint: the frequencies of its sinc filters are fitted to
the filters that the bundle holds. The embedding is a WeSpeaker ResNet34 of random weights, whose last layer separates the
two voices of tests/data/sample.wav; the PLDA is random. So the pipelines prove that two implementations agree, not that
either is right about a recording. `run_pipeline.py` runs them.
"""

import json
import sys
from pathlib import Path

from capture import read_audio  # first: it keeps the package from reporting its use
from make_variants import POWERSET, pyannet, resnet, save, settled

import numpy as np
import torch
from safetensors import safe_open

ROOT = Path(__file__).resolve().parent.parent
BUNDLE = ROOT / "crates" / "weights" / "segmentation-3.0.safetensors"
SAMPLE = ROOT / "tests" / "data" / "sample.wav"
# A fitted filter differs from the bundle's by f32 rounding of the frequencies.
MAX_FILTER_DIFFERENCE = 1e-5
CONFIG = """dependencies:
  pyannote.audio: 4.0.0

pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: {clustering}
    segmentation: $model/segmentation
    segmentation_batch_size: 32
    embedding: $model/embedding
    embedding_batch_size: 32
    embedding_exclude_overlap: true
    plda: $model/plda

params:
  clustering:
    {parameters}
  segmentation:
    min_duration_off: 0.0
"""
# Parameters of community-1 and of 3.1.
CLUSTERINGS = {
    "vbx": ("VBxClustering", ["threshold: 0.6", "Fa: 0.07", "Fb: 0.8"]),
    "agglomerative": ("AgglomerativeClustering",
                      ["method: centroid", "min_cluster_size: 12", "threshold: 0.7045654963945799"]),
}


def fit_frequencies(bank, filters):
    """Sets `low_hz_` and `band_hz_` of `bank` so that it builds `filters`, `[80, 1, 251]`."""
    bank.double()
    target = filters.double()
    with torch.no_grad():
        # The middle of a cosine filter is 1; its spectrum is flat from the low to the high frequency.
        spectrum = torch.fft.rfft(target[: bank.cutoff, 0], n=1 << 16).abs()
        hz = torch.arange(spectrum.shape[1]) * bank.sample_rate / (1 << 16)
        half = spectrum >= spectrum.amax(1, keepdim=True) / 2
        low = torch.stack([hz[row][0] for row in half])
        high = torch.stack([hz[row][-1] for row in half])
        bank.low_hz_.copy_((low - bank.min_low_hz).clamp(min=0)[:, None])
        bank.band_hz_.copy_((high - low - bank.min_band_hz).clamp(min=0)[:, None])
    fit = torch.optim.LBFGS(bank.parameters(), max_iter=200, tolerance_grad=1e-14, tolerance_change=1e-18,
                            history_size=50, line_search_fn="strong_wolfe")

    def loss():
        fit.zero_grad()
        error = (bank.filters() - target).square().sum()
        error.backward()
        return error

    fit.step(loss)
    bank.float()
    return (bank.filters() - filters).abs().max().item()


def segmentation(path):
    with safe_open(BUNDLE, "pt") as file:
        about = json.loads(file.metadata()["soundalike"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    hyperparameters = about["hyperparameters"]
    lstm = {key: hyperparameters["lstm"][key] for key in ("hidden_size", "num_layers", "bidirectional", "monolithic")}
    model = pyannet(dict(lstm=lstm), POWERSET)
    filters = tensors.pop("sincnet.conv1d.0.filters")
    model.load_state_dict(tensors, strict=False)
    difference = fit_frequencies(model.sincnet.conv1d[0].filterbank, filters)
    if difference > MAX_FILTER_DIFFERENCE:
        sys.exit(f"error: fitted filters differ by {difference:.1e} from those of {BUNDLE}")
    save(model, path)
    return difference


def embedding(path):
    """Random trunk; the last layer whitens what it gives on 2 s windows of the sample."""
    model = settled(resnet(34, {}))
    samples, rate = read_audio(SAMPLE)
    windows = torch.from_numpy(samples).float().unfold(0, 2 * rate, rate // 2)[:, None]
    pooled = []
    hook = model.resnet.seg_1.register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0]))
    with torch.no_grad():
        for window in windows:
            model(window[None])
    hook.remove()
    pooled = torch.cat(pooled).double()
    mean = pooled.mean(0)
    _, deviations, directions = torch.linalg.svd(pooled - mean, full_matrices=False)
    kept = 16  # directions of the largest variance; the rest is noise of few windows
    spread = torch.linalg.qr(torch.randn(256, kept, dtype=torch.float64)).Q
    weight = spread @ (directions[:kept] * (len(pooled) ** 0.5 / deviations[0]))
    with torch.no_grad():
        model.resnet.seg_1.weight.copy_(weight)
        model.resnet.seg_1.bias.copy_(-(weight @ mean))
    save(model, path)
    with torch.no_grad():
        return torch.cat([model(window[None]) for window in windows]).double().numpy()


def plda(folder, embeddings):
    random = np.random.default_rng(0)
    orthonormal = lambda n, m: np.linalg.qr(random.standard_normal((n, m)))[0]  # noqa: E731
    np.savez(folder / "xvec_transform.npz", mean1=embeddings.mean(0), mean2=np.zeros(128),
             lda=orthonormal(256, 128))
    np.savez(folder / "plda.npz", mu=np.zeros(128), tr=orthonormal(128, 128), psi=np.geomspace(8, 0.05, 128))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    torch.manual_seed(0)
    first, second = (Path(sys.argv[1]) / name for name in CLUSTERINGS)
    for part in ("segmentation", "embedding", "plda"):
        (first / part).mkdir(parents=True, exist_ok=True)
    difference = segmentation(first / "segmentation" / "pytorch_model.bin")
    plda(first / "plda", embedding(first / "embedding" / "pytorch_model.bin"))
    for folder, (clustering, parameters) in zip((first, second), CLUSTERINGS.values()):
        folder.mkdir(exist_ok=True)
        config = CONFIG.format(clustering=clustering, parameters="\n    ".join(parameters))
        (folder / "config.yaml").write_text(config)
        for part in ("segmentation", "embedding", "plda"):
            if folder != first and not (folder / part).exists():
                (folder / part).symlink_to(Path("..") / first.name / part)
    print(f"{first}, {second}: filters within {difference:.1e} of the bundle's")


if __name__ == "__main__":
    main()
