#!/usr/bin/env python3
"""Run the official pyannote.audio pipeline of a directory on recordings: who spoke when, by the original.

    run_pipeline.py PIPELINE AUDIO... -o DIR          URI.rttm, URI.exclusive.rttm, URI.embeddings.npy for each

README.md beside this file describes the files. Nothing is downloaded: PIPELINE holds its models.
"""

import argparse
import os
import resource
import sys
import time
from pathlib import Path
from unittest import mock

os.environ["HF_HUB_OFFLINE"] = "1"

from capture import Refused, first_line, read_audio  # noqa: E402  (also keeps the package from reporting its use)

import numpy as np  # noqa: E402
import torch  # noqa: E402


def stable_sort():
    """Ties between speakers go to the lowest index.

    `to_diarization` ranks the speakers of a frame by numpy's default sort, which puts equal ones in an order that
    depends on the instruction set of the CPU.
    """
    from pyannote.audio.pipelines.utils.diarization import SpeakerDiarizationMixin

    argsort, to_diarization = np.argsort, SpeakerDiarizationMixin.to_diarization

    def ranked_stably(segmentations, count):
        with mock.patch.object(np, "argsort", lambda *a, **k: argsort(*a, **{**k, "kind": "stable"})):
            return to_diarization(segmentations, count)

    SpeakerDiarizationMixin.to_diarization = staticmethod(ranked_stably)


def load(directory):
    from pyannote.audio import Pipeline

    if not (directory / "config.yaml").is_file():
        raise Refused(f"{directory}: is not a pipeline directory, it has no config.yaml")
    try:
        return Pipeline.from_pretrained(directory)
    except Exception as error:
        raise Refused(f"{directory}: the package cannot load this: {first_line(error)}") from error


def write(output, uri, directory):
    for name, annotation in [("", output.speaker_diarization), (".exclusive", output.exclusive_speaker_diarization)]:
        with (directory / f"{uri}{name}.rttm").open("w") as file:
            annotation.write_rttm(file)
    np.save(directory / f"{uri}.embeddings.npy", output.speaker_embeddings)


def arguments(argv):
    parser = argparse.ArgumentParser(
        prog="run_pipeline.py", description="The official pyannote.audio pipeline, offline. A checkpoint is a pickle, "
        "which runs code when it is loaded: give it only pipelines you trust.")
    parser.add_argument("pipeline", type=Path, metavar="PIPELINE", help="directory with config.yaml and the models")
    parser.add_argument("audio", type=Path, nargs="+", metavar="AUDIO", help="WAV")
    parser.add_argument("--num-speakers", type=int, metavar="N")
    parser.add_argument("--min-speakers", type=int, metavar="N")
    parser.add_argument("--max-speakers", type=int, metavar="N")
    parser.add_argument("--uri", metavar="NAME", help="name of the recording (default: its file name; one AUDIO only)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="threads of PyTorch (default: 2)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="made where it does not exist")
    options = parser.parse_args(argv)
    if options.uri and len(options.audio) > 1:
        parser.error("--uri names one recording")
    return options


def main(argv=None):
    options = arguments(argv)
    torch.set_num_threads(options.threads)
    try:
        pipeline = load(options.pipeline)
        stable_sort()
        options.output.mkdir(parents=True, exist_ok=True)
        for path in options.audio:
            uri = options.uri or path.stem
            samples, rate = read_audio(path)
            # In memory: decoding files takes ffmpeg, which the package does not bring along.
            file = {"waveform": torch.from_numpy(samples)[None], "sample_rate": rate, "uri": uri}
            started = time.perf_counter()
            output = pipeline(file, num_speakers=options.num_speakers, min_speakers=options.min_speakers,
                              max_speakers=options.max_speakers)
            elapsed, duration = time.perf_counter() - started, len(samples) / rate
            write(output, uri, options.output)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # kilobytes, on Linux
            print(f"{uri}: {duration:.1f} s of audio in {elapsed:.1f} s (RTF {elapsed / duration:.3f}), "
                  f"{len(output.speaker_diarization.labels())} speaker(s), peak memory {peak:.2f} GiB")
    except (Refused, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
