"""What scipy, scikit-learn and pyannote.audio say about clustering.

    python reference/clustering.py --cases N [--seed S] -o CASES.json        N random cases of each kind
    python reference/clustering.py --captures FOLDER --plda FOLDER -o CASES.json
                                                        captured recordings with forced numbers of speakers

Runs in an environment with reference/requirements.txt installed. crates/diarize/tests/clustering_is_scipy.rs
checks the cases; reference/clustering_cases.json and reference/clustering_captures.json are kept.

Coordinates are integers, to be divided by `scale` and rounded to f32. A number of speakers that is null is not
forced. Two things that depend on the machine are patched: pyannote's sorts are stable ones, and the sums by
which k-means++ chooses are rounded once. (Of a pair of far points either one may be drawn, and the sums are equal;
BLAS adds them up in different orders, and its rounding decides.)
"""

import argparse
import contextlib
import io
import json
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pyannote.audio.core.plda import PLDA
from pyannote.audio.pipelines import clustering as pyannote
from pyannote.core import SlidingWindow, SlidingWindowFeature
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import KMeans, _kmeans

# Where points are equal, scikit-learn finds fewer clusters than asked for and says so.
warnings.simplefilter("ignore")

METHODS = ["average", "centroid", "complete", "median", "single", "ward", "weighted"]
# As config.yaml of the two pipelines has them.
COMMUNITY_1 = {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8}
SPEAKER_DIARIZATION_3_1 = {"method": "centroid", "min_cluster_size": 12, "threshold": 0.7045654963945799}

_argsort = np.argsort
np.argsort = lambda a, axis=-1, kind=None, **rest: _argsort(a, axis=axis, kind="stable", **rest)


class Weights(np.ndarray):
    """Sums in f64, rounded to f32."""

    def __rmatmul__(self, other):
        return (np.asarray(other, np.float64) @ np.asarray(self, np.float64)).astype(np.float32)


_plus_plus = _kmeans._kmeans_plusplus
_kmeans._kmeans_plusplus = lambda *args, sample_weight, **rest: _plus_plus(
    *args, sample_weight=sample_weight.view(Weights), **rest
)


def points(random, rows, columns, scale):
    """Some voices, each said a few times; now and then twice the same."""
    voices = random.normal(size=(random.integers(1, 6), columns))
    spread = random.choice([0.1, 0.4, 1.0])
    values = voices[random.integers(len(voices), size=rows)] + spread * random.normal(size=(rows, columns))
    integers = np.rint(values * scale).astype(int)
    if random.random() < 0.2:
        integers[random.integers(rows)] = integers[random.integers(rows)]
    return integers


def floats(integers, scale):
    return (integers / scale).astype(np.float32)


def linkage_case(random, index):
    method = METHODS[index % len(METHODS)] if index % 2 else "centroid"
    # A coarse lattice has many equal distances, and what becomes of them is a matter of order.
    coarse = index % 4 == 0
    rows, columns, scale = random.integers(2, 40), random.integers(2, 9), 1 if coarse else 1 << 12
    integers = points(random, rows, columns, 2 if coarse else scale)
    euclidean = method in ["centroid", "median", "ward"]
    if not euclidean and not integers.any(axis=1).all():
        return linkage_case(random, index)  # The origin has no direction.
    tree = linkage(floats(integers, scale), method=method, metric="euclidean" if euclidean else "cosine")
    heights = tree[:, 2]
    threshold = float(random.uniform(0, 1.1 * heights.max()))
    if method == "centroid" and random.random() < 0.5:
        # Heights are equal to the last bit, so one may be the threshold.
        threshold = float(random.choice(heights))
    return {
        "method": method,
        "scale": scale,
        "points": integers.tolist(),
        "merges": tree.tolist(),
        "threshold": threshold,
        "labels": (fcluster(tree, threshold, criterion="distance") - 1).tolist(),
    }


def kmeans_case(random, _):
    rows, columns, scale = random.integers(2, 60), random.integers(2, 9), 1 << 20
    integers = points(random, rows, columns, scale)
    clusters = int(random.integers(1, min(rows, 12) + 1))
    kmeans = KMeans(n_clusters=clusters, n_init=3, random_state=42, copy_x=False)
    return {
        "scale": scale,
        "points": integers.tolist(),
        "clusters": clusters,
        "labels": kmeans.fit_predict(floats(integers, scale)).tolist(),
    }


def assignment_case(random, index):
    windows, speakers, clusters = random.integers(1, 5), 3, random.integers(1, 8)
    scale = 4 if index % 2 else 1 << 20
    integers = random.integers(0, 2 * scale + 1, size=(windows, speakers, clusters))
    speaking = random.random((windows, speakers)) < 0.7
    similarities = integers / scale
    # VBxClustering.__call__
    similarities[~speaking] = similarities.min() - 1.0
    assigned = pyannote.VBxClustering(plda=None).constrained_argmax(similarities)
    assigned[~speaking] = -2
    return {
        "scale": scale,
        "similarities": integers.tolist(),
        "speaking": speaking.tolist(),
        "assigned": assigned.tolist(),
    }


def agglomerative_case(random, index):
    rows, columns, scale = random.integers(2, 80), random.integers(2, 9), 1 << 12
    integers = points(random, rows, columns, scale)
    parameters = {
        "method": METHODS[index % len(METHODS)] if index % 2 else "centroid",
        "min_cluster_size": int(random.integers(1, 15)),
        "threshold": float(random.uniform(0.1, 1.2)),
    }
    low = int(random.integers(1, 9))
    bounds = {"min": low, "max": int(low + random.integers(0, 4))}
    if index % 3 == 0:
        bounds = {"min": None, "max": None}
    elif bounds["max"] < 2:
        bounds["max"] = 2
    clustering = pyannote.AgglomerativeClustering().instantiate(parameters)
    number, low, high = clustering.set_num_clusters(
        rows, min_clusters=bounds["min"], max_clusters=bounds["max"]
    )
    with contextlib.redirect_stdout(io.StringIO()):
        labels = clustering.cluster(
            floats(integers, scale), num_clusters=number, min_clusters=low, max_clusters=high
        )
    return {**parameters, **bounds, "scale": scale, "points": integers.tolist(), "labels": labels.tolist()}


KINDS = {
    "linkage": linkage_case,
    "kmeans": kmeans_case,
    "assignment": assignment_case,
    "agglomerative": agglomerative_case,
}


def random_cases(count, seed):
    return {
        kind: [case(np.random.default_rng([seed, kind_index, index]), index) for index in range(count)]
        for kind_index, (kind, case) in enumerate(KINDS.items())
    }


def capture_cases(captures, plda):
    methods = {
        "VBxClustering": pyannote.VBxClustering(
            plda=PLDA(plda / "xvec_transform.npz", plda / "plda.npz")
        ).instantiate(COMMUNITY_1),
        "AgglomerativeClustering": pyannote.AgglomerativeClustering().instantiate(SPEAKER_DIARIZATION_3_1),
        "KMeansClustering": pyannote.KMeansClustering(),
    }
    cases = []
    for folder in sorted(captures.iterdir()):
        embeddings = np.load(folder / "raw_embeddings.npz")["embeddings"]
        if len(embeddings) > 300:
            continue
        activity = np.load(folder / "segmentations.npz")["segmentations"]
        windows = SlidingWindow(start=0.0, duration=10.0, step=1.0)
        for name, method in methods.items():
            for low, high in [(None, None), (1, 1), (2, 2), (3, 3), (5, 5), (4, None), (None, 1)]:
                if name == "KMeansClustering" and (low is None or low != high):
                    continue
                with contextlib.redirect_stdout(io.StringIO()):
                    assigned, _, centroids = method(
                        embeddings=embeddings.copy(),
                        segmentations=SlidingWindowFeature(activity.copy(), windows),
                        num_clusters=low if low == high else None,
                        min_clusters=low or 1,
                        max_clusters=high or np.inf,
                    )
                # SpeakerDiarization.apply
                assigned[activity.sum(axis=1) == 0] = -2
                cases.append(
                    {
                        "capture": folder.name,
                        "clustering": name,
                        "min": low,
                        "max": high,
                        "clusters": len(centroids),
                        "assigned": "".join("-" if k < 0 else str(k) for k in assigned.ravel()),
                    }
                )
    return {"captures": cases}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--captures", type=Path)
    parser.add_argument("--plda", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    versions = {name: version(name) for name in ["pyannote.audio", "scipy", "scikit-learn", "numpy"]}
    if arguments.captures:
        cases = capture_cases(arguments.captures, arguments.plda)
    else:
        cases = random_cases(arguments.cases, arguments.seed)
    lines = [f'"versions": {json.dumps(versions)}']
    for kind, list_of_cases in cases.items():
        rows = ",\n".join(json.dumps(case, separators=(",", ":")) for case in list_of_cases)
        lines.append(f'"{kind}": [\n{rows}\n]')
    arguments.output.write_text("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    main()
