"""What the official package decides without a network, for tests and for the production check of `compare`:

    python decisions.py >../crates/selftest/captured/decisions.json

`powersets`: the members of each class, in order, of every powerset of up to 8 speakers, 4 at once (`Powerset.mapping`).
`masks`: the frames over which embeddings are pooled (`SpeakerDiarization.get_embeddings`), for random activity. Each line of
`activity` and `masks` is one speaker, a character for each frame.
"""

import json
import sys
from types import SimpleNamespace

import numpy as np
import torch
from pyannote.audio.pipelines.speaker_diarization import SpeakerDiarization
from pyannote.audio.utils.powerset import Powerset
from pyannote.core import SlidingWindow, SlidingWindowFeature

SAMPLE_RATE = 16_000


def powerset(speakers, most):
    mapping = Powerset(speakers, most).mapping
    return {
        "speakers": speakers,
        "max_together": most,
        "sets": [torch.nonzero(members).flatten().tolist() for members in mapping],
    }


class Pooled:
    """An embedding network that keeps the masks it is given."""

    sample_rate = SAMPLE_RATE
    dimension = 1

    def __init__(self, min_num_samples):
        self.min_num_samples = min_num_samples
        self.masks = []

    def __call__(self, waveforms, masks):
        self.masks.append(masks.numpy())
        return np.zeros((len(masks), 1), np.float32)


def masks(activity, duration, min_num_samples, exclude_overlap):
    """`activity` is `[frame, speaker]` of one window of `duration` seconds."""
    network = Pooled(min_num_samples)
    pipeline = SimpleNamespace(
        training=False,
        embedding_batch_size=32,
        _embedding=network,
        _audio=SimpleNamespace(crop=lambda *_, **__: (torch.zeros(1, 16), SAMPLE_RATE)),
    )
    windows = SlidingWindowFeature(activity[None], SlidingWindow(start=0, duration=duration, step=duration))
    SpeakerDiarization.get_embeddings(pipeline, {}, windows, exclude_overlap=exclude_overlap)
    return np.concatenate(network.masks)


def lines(rows):
    return ["".join(str(int(x)) for x in row) for row in rows]


def mask_cases():
    generator = np.random.default_rng(0)
    # (samples of a window, frames, fewest samples of the network): a whole number of frames, a fraction below and above a
    # half, and less than one.
    for samples, frames, least in [(1600, 40, 80), (1600, 43, 80), (1600, 37, 80), (1600, 40, 10)]:
        for exclude_overlap in (True, False):
            for share in (0.06, 0.2, 0.6):
                # Whoever talks goes on with it for some frames.
                activity = np.repeat(generator.random((frames, 3)) < share, 3, axis=0)[:frames].astype(float)
                yield {
                    "samples": samples,
                    "min_num_samples": least,
                    "exclude_overlap": exclude_overlap,
                    "activity": lines(activity.T),
                    "masks": lines(masks(activity, samples / SAMPLE_RATE, least, exclude_overlap)),
                }


if __name__ == "__main__":
    powersets = [powerset(n, k) for n in range(1, 9) for k in range(1, min(n, 4) + 1)]
    parts = {"powersets": powersets, "masks": list(mask_cases())}
    # A case a line.
    body = ",\n".join(
        f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]"
        for name, cases in parts.items()
    )
    sys.stdout.write("{\n" + body + "\n}\n")
