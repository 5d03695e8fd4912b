"""What 16 bits cost Silero VAD: decisions on recordings."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import silero
from networks import wav


@dataclass(frozen=True)
class Decisions:
    """Chunks of 32 ms on which the f32 file and another one differ."""

    chunks: int
    f16: int
    """By the file converted to f16."""
    half: int
    """By `silero_vad_half.onnx`."""
    largest: float
    """Largest difference of a probability, of the file converted to f16."""


def decisions(folder: Path) -> Decisions:
    """Runs three files on all recordings of a folder. Speech is a probability above 0.5."""
    with tempfile.TemporaryDirectory() as made:
        own = silero.FILES / "silero_vad_openvino_16k.onnx"
        f16 = silero.in_f16(own, Path(made) / "f16.onnx")
        files = (own, f16, silero.FILES / "silero_vad_half.onnx")
        sessions = [onnxruntime.InferenceSession(str(path)) for path in files]
    chunks = [silero.chunks(wav(path)).numpy() for path in sorted(folder.glob("*.wav"))]
    right, in_f16, half = (np.concatenate([_probabilities(session, one) for one in chunks]) for session in sessions)
    return Decisions(
        len(right),
        int(((right > 0.5) != (in_f16 > 0.5)).sum()),
        int(((right > 0.5) != (half > 0.5)).sum()),
        float(np.abs(right - in_f16).max()),
    )


def _probabilities(session: onnxruntime.InferenceSession, chunks: np.ndarray) -> np.ndarray:
    dtype = np.float16 if session.get_inputs()[0].type == "tensor(float16)" else np.float32
    state = np.zeros((2, 1, 128), dtype)
    probabilities = np.empty(len(chunks))
    for number, chunk in enumerate(chunks):
        output, state = session.run(None, {"input": chunk[None].astype(dtype), "state": state})
        probabilities[number] = float(output.reshape(-1)[0])
    return probabilities
