"""What official pyannote.metrics says about pairs of annotations.

    python reference/metrics.py CASES.json -o ANSWERS.json [--first N]     answers a list of cases
    python reference/metrics.py --assets FOLDER -o ANSWERS.json            answers pairs of the RTTM files in there
    python reference/metrics.py --time REF.rttm HYP.rttm                   how long it takes, on stdout

Runs in an environment with reference/requirements.txt installed. A case is an object with `reference` and
`hypothesis` (lists of [start, end, label]), `uem` (null or a list of [start, end]), `collar` and
`skip_overlap`; an answered case has `answers` besides, a flat object of numbers. The Rust side makes the cases
and checks the answers: crates/metrics/tests/pyannote.rs.
"""

import argparse
import json
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

from pyannote.core import Annotation, Segment, Timeline
from pyannote.database.util import load_rttm
from pyannote.metrics.base import f_measure
from pyannote.metrics.detection import (
    DetectionAccuracy,
    DetectionErrorRate,
    DetectionPrecision,
    DetectionPrecisionRecallFMeasure,
    DetectionRecall,
)
from pyannote.metrics.diarization import (
    DiarizationCoverage,
    DiarizationErrorRate,
    DiarizationPurity,
    DiarizationSpeakerCountError,
    GreedyDiarizationErrorRate,
    JaccardErrorRate,
)

# "'uem' was approximated": that is what is being compared.
warnings.simplefilter("ignore")


def annotation(rows):
    """One track per row, as pyannote.database reads RTTM: equal rows stay apart."""
    result = Annotation(uri="case")
    for track, (start, end, label) in enumerate(rows):
        result[Segment(start, end), track] = label
    return result


def answers(reference, hypothesis, uem, collar, skip_overlap):
    options = {"collar": collar, "skip_overlap": skip_overlap}
    numbers = {}
    for name, metric in [("der", DiarizationErrorRate), ("greedy", GreedyDiarizationErrorRate)]:
        detail = metric(**options)(reference, hypothesis, uem=uem, detailed=True)
        numbers[f"{name}.rate"] = detail["diarization error rate"]
        for component in ["total", "correct", "confusion", "missed detection", "false alarm"]:
            numbers[f"{name}.{component}"] = detail[component]
    detail = JaccardErrorRate(**options)(reference, hypothesis, uem=uem, detailed=True)
    numbers["jer.rate"] = detail["jaccard error rate"]
    for component in ["speaker error", "speaker count"]:
        numbers[f"jer.{component}"] = detail[component]
    for name, metric in [("purity", DiarizationPurity), ("coverage", DiarizationCoverage)]:
        detail = metric()(reference, hypothesis, uem=uem, detailed=True)
        numbers[f"{name}.rate"] = detail[name]
        for component in ["correct", "total"]:
            numbers[f"{name}.{component}"] = detail[component]
    numbers["purity-coverage.f"] = f_measure(numbers["purity.rate"], numbers["coverage.rate"])
    detail = DetectionErrorRate(**options)(reference, hypothesis, uem=uem, detailed=True)
    numbers["detection.error rate"] = detail["detection error rate"]
    numbers["detection.total"] = detail["total"]
    detail = DetectionAccuracy(**options)(reference, hypothesis, uem=uem, detailed=True)
    numbers["detection.accuracy"] = detail["detection accuracy"]
    for component in ["true positive", "true negative", "false positive", "false negative"]:
        numbers[f"detection.{component}"] = detail[component]
    for name, metric in [
        ("precision", DetectionPrecision),
        ("recall", DetectionRecall),
        ("f", DetectionPrecisionRecallFMeasure),
    ]:
        numbers[f"detection.{name}"] = metric(**options)(reference, hypothesis, uem=uem)
    numbers["speaker count.error"] = DiarizationSpeakerCountError()(reference, hypothesis, uem=uem)
    return {name: float(value) for name, value in sorted(numbers.items())}


def answered(case):
    uem = None if case["uem"] is None else Timeline([Segment(start, end) for start, end in case["uem"]])
    numbers = answers(
        annotation(case["reference"]), annotation(case["hypothesis"]), uem, case["collar"], case["skip_overlap"]
    )
    return {**case, "answers": numbers}


def assets(folder):
    """Every annotation in every RTTM file, against those of the same recording and against the next one."""
    found = []
    for path in sorted(Path(folder).rglob("*.rttm")):
        for uri, annotation in load_rttm(path).items():
            found.append((str(path.relative_to(folder)), uri, annotation))
    pairs = []
    for i, (_, uri, _) in enumerate(found):
        same = [j for j, other in enumerate(found) if j != i and other[1] == uri]
        pairs.extend((i, j) for j in sorted({*same, (i + 1) % len(found)}))
    for i, j in pairs:
        for collar, skip_overlap in [(0.0, False), (0.25, False), (0.5, True)]:
            yield {
                "reference": found[i][:2],
                "hypothesis": found[j][:2],
                "collar": collar,
                "skip_overlap": skip_overlap,
                "answers": answers(found[i][2], found[j][2], None, collar, skip_overlap),
            }


def seconds(reference, hypothesis):
    """Seconds that the diarization error rate takes for two RTTM files of one recording each, and the rate."""
    (reference,) = load_rttm(reference).values()
    (hypothesis,) = load_rttm(hypothesis).values()
    begin = time.perf_counter()
    rate = DiarizationErrorRate()(reference, hypothesis)
    return {"seconds": time.perf_counter() - begin, "rate": rate}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="?")
    parser.add_argument("-o", "--output")
    parser.add_argument("--first", type=int, help="only the first N cases")
    parser.add_argument("--assets", help="a folder")
    parser.add_argument("--time", nargs=2, metavar=("REF", "HYP"))
    arguments = parser.parse_args()
    versions = {name: version(name) for name in ["pyannote.core", "pyannote.metrics"]}
    if arguments.time:
        print(json.dumps({**versions, **seconds(*arguments.time)}))
        return
    if arguments.assets:
        result = list(assets(arguments.assets))
    else:
        cases = json.load(open(arguments.cases, encoding="utf-8"))
        result = [answered(case) for case in cases[: arguments.first]]
    out = open(arguments.output, "w", encoding="utf-8") if arguments.output else sys.stdout
    # One case per line: a difference between two versions of the file is readable.
    head = json.dumps(versions)[:-1]
    out.write(head + ', "cases": [\n')
    out.write(",\n".join(json.dumps(case, ensure_ascii=False) for case in result))
    out.write("\n]}\n")


if __name__ == "__main__":
    main()
