#!/usr/bin/env python3
"""Mixes synthesised lines into tests/data/sample.wav and writes who spoke when.

Called by make_sample.sh, which synthesises the lines. Standard library only, and the random numbers
come from `Random.random` with a fixed seed, so the same lines give the same bytes.

    make_sample.py CUES OUT.wav OUT.rttm

CUES has one line per utterance: `FILE SPEAKER GAP LEVEL`. GAP is the silence in seconds between the end of
the speech so far and the start of this line; a negative one makes them overlap. LEVEL is the loudness of the
speech in dB below full scale (RMS of its active frames).
"""

import array
import math
import random
import sys
import wave
from pathlib import Path

RATE = 16_000
DURATION = 30 * RATE
FRAME = RATE // 100  # 10 ms, the resolution of the truth
LEAD_IN = 0.6  # silence before the first line, seconds

# A frame is speech when it is at most this far below the loudest frame of its line.
SPEECH_DB = -35.0
# Silences inside a line up to this long belong to the turn (stop consonants, breaths).
MAX_PAUSE = 0.3

# Early reflections of a small room: (delay in seconds, gain). The speakers sit in different places.
REFLECTIONS = {
    "A": [(0.0031, 0.30), (0.0072, -0.21), (0.0127, 0.15), (0.0193, 0.10), (0.0284, -0.07), (0.0391, 0.05)],
    "B": [(0.0045, -0.27), (0.0088, 0.23), (0.0151, 0.13), (0.0227, -0.11), (0.0312, 0.06), (0.0437, -0.04)],
}
NOISE_DB = -66.0  # of the room, RMS below full scale


def read_wav(path):
    """The samples of a mono 16-bit WAV file as floats in [-1, 1), at RATE."""
    with wave.open(str(path), "rb") as file:
        if file.getnchannels() != 1 or file.getsampwidth() != 2:
            sys.exit(f"{path}: not mono 16-bit PCM")
        rate = file.getframerate()
        samples = array.array("h", file.readframes(file.getnframes()))
    if sys.byteorder == "big":
        samples.byteswap()
    samples = [sample / 32768 for sample in samples]
    return samples if rate == RATE else resample(samples, rate)


def resample(samples, rate, half_width=16):
    """Band-limited interpolation with a Hann-windowed sinc."""
    step = rate / RATE
    cutoff = min(1.0, 1 / step) * 0.95
    reach = half_width / cutoff
    out = []
    for n in range(int(len(samples) / step)):
        centre = n * step
        total = 0.0
        for k in range(max(0, math.ceil(centre - reach)), min(len(samples) - 1, math.floor(centre + reach)) + 1):
            x = centre - k
            phase = math.pi * cutoff * x
            sinc = math.sin(phase) / phase if phase else 1.0
            total += samples[k] * cutoff * sinc * (0.5 + 0.5 * math.cos(math.pi * x / reach))
        out.append(total)
    return out


def speech_spans(samples):
    """(first, last) frame pairs of the speech in a line, `last` exclusive, and the RMS over them."""
    power = [
        sum(x * x for x in samples[start : start + FRAME]) / FRAME
        for start in range(0, len(samples) - FRAME + 1, FRAME)
    ]
    threshold = max(power) * 10 ** (SPEECH_DB / 10)
    active = [i for i, p in enumerate(power) if p > threshold]
    spans = []
    for i in active:
        if spans and (i - spans[-1][1]) * FRAME <= MAX_PAUSE * RATE:
            spans[-1][1] = i + 1
        else:
            spans.append([i, i + 1])
    return spans, math.sqrt(sum(power[i] for i in active) / len(active))


def read_cues(path):
    for line in Path(path).read_text().splitlines():
        name, speaker, gap, level = line.split()
        yield Path(path).parent / name, speaker, float(gap), float(level)


def mix(cues):
    """The recording as floats, and its turns as (start, end, speaker) in frames."""
    tracks = {speaker: [0.0] * DURATION for speaker in REFLECTIONS}
    turns = []
    cursor = round(LEAD_IN * RATE / FRAME)
    for path, speaker, gap, level in cues:
        samples = read_wav(path)
        spans, rms = speech_spans(samples)
        first, last = spans[0][0], spans[-1][1]
        at = cursor + round(gap * RATE / FRAME)
        turns += [(at + a - first, at + b - first, speaker) for a, b in spans]
        cursor = max(end for _, end, _ in turns)
        gain = 10 ** (level / 20) / rms
        track = tracks[speaker]
        if cursor * FRAME > DURATION:
            sys.exit(f"{path}: ends at {cursor * FRAME / RATE:.2f} s, after the end of the recording")
        for i, x in enumerate(samples[first * FRAME : last * FRAME], at * FRAME):
            track[i] += gain * x

    noise = random.Random(1)
    out = []
    smooth = 0.0
    # White noise through a one-pole low-pass (pole 0.9), which scales its RMS by sqrt(0.1 / 1.9).
    amplitude = 10 ** (NOISE_DB / 20) * math.sqrt(3) / math.sqrt(0.1 / 1.9)
    for _ in range(DURATION):
        smooth = 0.9 * smooth + 0.1 * amplitude * (2 * noise.random() - 1)
        out.append(smooth)
    for speaker, track in tracks.items():
        for delay, gain in [(0.0, 1.0), *REFLECTIONS[speaker]]:
            shift = round(delay * RATE)
            for i in range(shift, DURATION):
                out[i] += gain * track[i - shift]
    return out, sorted(turns)


def write_wav(path, samples):
    """16-bit PCM with rounding; clipping would be a mistake in the levels, so it is refused."""
    peak = max(abs(x) for x in samples)
    if peak >= 1.0:
        sys.exit(f"the mix clips: peak {peak:.3f}; lower the levels")
    pcm = array.array("h", (round(x * 32767) for x in samples))
    if sys.byteorder == "big":
        pcm.byteswap()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm.tobytes())


def write_rttm(path, turns, uri):
    seconds = FRAME / RATE
    lines = [
        f"SPEAKER {uri} 1 {start * seconds:.3f} {(end - start) * seconds:.3f} <NA> <NA> {speaker} <NA> <NA>\n"
        for start, end, speaker in turns
    ]
    Path(path).write_text("".join(lines))


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    cues, wav, rttm = sys.argv[1:]
    samples, turns = mix(read_cues(cues))
    write_wav(wav, samples)
    write_rttm(rttm, turns, Path(rttm).stem)


if __name__ == "__main__":
    main()
