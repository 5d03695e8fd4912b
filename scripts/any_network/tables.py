"""The reports, in Markdown."""

from __future__ import annotations

import math
from pathlib import Path

from decisions import Decisions
from results import Compared, Injected

# What metrics of the output alone ask for.
_ALIKE = 0.999


def write(folder: Path, runs: list[Compared], faults: list[Injected], f16: Decisions | None, seconds: float) -> None:
    """Writes ``README.md``, ``faults.md``, and a report of each pair to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.md"):
        old.unlink()
    for run in runs:
        page = f"# {run.network}: {run.candidate}\n\n{run.markdown.rstrip()}\n"
        (folder / _file_name(run)).write_text(page, encoding="utf-8")
    (folder / "README.md").write_text(_readme(runs, faults, f16, seconds), encoding="utf-8")
    (folder / "faults.md").write_text(_faults(faults), encoding="utf-8")


def _file_name(run: Compared) -> str:
    text = f"{run.network}-{run.candidate}".lower()
    return "-".join("".join(c if c.isalnum() or c in "._" else " " for c in text).split()) + ".md"


def _readme(runs: list[Compared], faults: list[Injected], f16: Decisions | None, seconds: float) -> str:
    alarms = [run for run in runs if not run.as_expected]
    lines = [
        "# Any network",
        "",
        f"Networks that nobody here wrote, compared with their ports without a map of names: {len(runs)} pairs, "
        f"{len(alarms)} of them not as expected. `scripts/any_network.sh` makes this page ({seconds / 60:.0f} minutes, "
        "two processes).",
        "",
        "*R* is the largest of all stages, in units of PyTorch's own f32 rounding; of a candidate in f16, in units of "
        "a reference that rounds to f16. Stages that an exporter folds into others (a norm into a convolution) are "
        "*not observed*.",
        "",
        "| network | reference | candidate | stages | by name | by value | by order | not observed | R free | R forced "
        "| result | s | MiB |",
        "|" + " --- |" * 13,
    ]
    for run in runs:
        cells = [
            run.network,
            run.reference,
            f"[{run.candidate}]({_file_name(run)})",
            run.stages,
            *(run.matched.get(by, 0) for by in ("name", "value", "order")),
            run.not_observed,
            _number(run.free),
            _number(run.forced),
            ("" if run.as_expected else "**not as expected**: ") + _first_sentence(run.finding),
            f"{run.seconds:.1f}",
            f"{run.mebibytes:.0f}",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    if f16 is not None:
        lines += [
            "",
            f"What f16 costs Silero VAD: {f16.f16} of {f16.chunks} decisions on recordings of speech differ, and a "
            f"probability by {f16.largest:.2g} at most. `silero_vad_half.onnx`, whose weights are others, differs in "
            f"{f16.half}.",
        ]
    lines += ["", *_summary(faults), "", "[All faults](faults.md)", ""]
    return "\n".join(lines)


def _summary(faults: list[Injected]) -> list[str]:
    above = [fault for fault in faults if not fault.outcome.passed]
    rows = [
        ("located at the stage, or at the one it is folded into, and nowhere else", [f.outcome.located for f in above]),
        ("and named", [f.outcome.named == "named" for f in above]),
        ("only described: how the error looks", [f.outcome.named == "described" for f in above]),
        ("misnamed", [f.outcome.named == "misnamed" for f in above]),
        (f"seen by a cosine of the output below {_ALIKE}", [f.outcome.cosine < _ALIKE for f in above]),
        (f"seen by a correlation of the output below {_ALIKE}", [f.outcome.correlation < _ALIKE for f in above]),
        ("seen by an output whose decisions differ", [f.outcome.same_decisions < 1 for f in above]),
    ]
    return [
        "## Faults",
        "",
        f"{len(faults)} mistakes of ports, injected before the export or into a file; {len(faults) - len(above)} "
        "change no observed stage, and pass.",
        "",
        "| of those above the floor | |",
        "| --- | --- |",
        *(f"| {words} | {sum(each)} of {len(each)} |" for words, each in rows),
    ]


def _faults(faults: list[Injected]) -> str:
    lines = [
        "# Faults",
        "",
        "*Located*: the wrong stages, or those that they are folded into, are found, and no other. The last three "
        "columns are what the output alone shows: its cosine and correlation with the reference's, and the part of its "
        "decisions that are the same.",
        "",
        "| network | export | stage | fault | R | located | diagnosis | cosine | correlation | same decisions |",
        "|" + " --- |" * 10,
    ]
    for fault in faults:
        found = fault.outcome
        where = "yes" if found.located else "below the floor" if found.passed else f"**no**: {_code(found.source)}"
        words = found.diagnosis or "none"
        cells = [
            fault.network,
            fault.exporter,
            _code(fault.stage),
            fault.text,
            _number(found.r),
            where,
            words if found.named in ("named", "not named") else f"**{found.named}**: {words}",
            f"{found.cosine:.7f}",
            "" if math.isnan(found.correlation) else f"{found.correlation:.7f}",
            f"{found.same_decisions:.3f}",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*lines, ""])


def _code(names: str) -> str:
    shown = names.split(", ")
    short = [name.partition(";")[0] for name in shown[:4]]
    return ", ".join(f"`{name}`" for name in short) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].rstrip(".").replace("|", "\\|")


def _number(x: float) -> str:
    return "" if math.isnan(x) else f"{x:.2f}" if x < 100 else f"{x:.1e}"
