"""The command line: ``soundalike``, or ``python -m soundalike``."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import _capture_main
from ._compare import compare
from ._errors import Error
from ._native import __version__
from ._report import Report
from ._scratch import ended_by_signals

_FORMATS: dict[str, Callable[[Report], str]] = {
    "table": Report.to_text,
    "json": Report.to_json,
    "markdown": Report.to_markdown,
    "html": Report.to_html,
    "junit": Report.to_junit,
    "sarif": Report.to_sarif,
}

_TRACE = "a trace (.npz, .safetensors, or a folder of .npy)"
_EXAMPLES = """\
examples:
  soundalike capture mypackage.models:model --inputs x.npy -o reference.npz
  soundalike compare reference.npz port.onnx
  soundalike compare mypackage.models:model port.tflite --inputs x.npy
  soundalike compare reference.npz port.npz --format html -o report.html
"""
_COMPARED = """\
exit code:
  0  every limit of the gate is met
  1  error: a side cannot be run, or a file cannot be read
  2  wrong usage
  3  a limit is not met, or nothing could be compared
"""


def main(argv: list[str] | None = None) -> int:
    """Runs a command; `argv`: default ``sys.argv``. Returns the exit code: see ``soundalike compare --help``."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        # Python puts the current folder there only for `python -m`.
        sys.path.insert(0, "")
        with ended_by_signals():
            code = _run(argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # `soundalike compare ... | head`: Python would fail again when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Error, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run(argv: list[str]) -> int:
    # `capture` has a parser of its own.
    if argv[:1] == ["capture"]:
        return _capture_main.main(argv[1:])
    parser = argparse.ArgumentParser(
        prog="soundalike",
        description="Compares a neural network with a port of it, stage by stage: rounding or a bug, and where.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"soundalike {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    commands.add_parser("capture", help="write the reference trace of a torch.nn.Module")
    _add_compare(commands)
    return _compare(parser.parse_args(argv))


def _add_compare(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="compare a candidate with a reference",
        description="Compares a candidate with a reference, stage by stage.",
        epilog=f"{_EXAMPLES}\n{_COMPARED}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "reference", metavar="REF", help=f"{_TRACE}, an .onnx file, or a torch.nn.Module: package.module:attribute"
    )
    parser.add_argument(
        "candidate", metavar="CANDIDATE", help=f"{_TRACE}, an .onnx, .tflite or .sak file, or a torch.nn.Module"
    )
    parser.add_argument(
        "--inputs",
        metavar="FILE",
        type=Path,
        help="an .npy of the only argument, or an .npz: `input`, `input:1`, ... by position, others by keyword "
        "[default: those in the trace]",
    )
    parser.add_argument("--name", help="the name of the network in the report")
    parser.add_argument(
        "--names", metavar="NAMES.toml", type=Path, help='tensors of the candidate that are stages: "theirs" = "ours"'
    )
    parser.add_argument(
        "--names-out", metavar="NAMES.toml", type=Path, help="write the stages that were found, for --names"
    )
    parser.add_argument(
        "--u2-as-bf16", action="store_true", help="read the integers of 16 bits in the candidate's trace as bf16"
    )
    parser.add_argument("--gate", metavar="GATE.toml", type=Path, help="limits [default: R < 4 at every stage]")
    parser.add_argument("--format", choices=_FORMATS, default="table", help="of the report [default: table]")
    parser.add_argument("-o", "--output", metavar="PATH", type=Path, help="write the report to a file [default: stdout]")


def _compare(options: argparse.Namespace) -> int:
    report = compare(
        _side(options.reference),
        _side(options.candidate),
        options.inputs and _capture_main.read_example(options.inputs),
        name=options.name,
        names=options.names,
        names_out=options.names_out,
        gate=options.gate,
        u2_as_bf16=options.u2_as_bf16,
    )
    text = _FORMATS[options.format](report)
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    else:
        # UTF-8 everywhere: the bars of the table are in no other encoding.
        sys.stdout.buffer.write(text.encode())
    return 0 if report.passed else 3


def _side(given: str) -> Any:
    """A module where one is named, else the path of a file."""
    return _capture_main.load_module(given) if re.fullmatch(r"[\w.]+:[\w.]+", given) else given


if __name__ == "__main__":
    sys.exit(main())
