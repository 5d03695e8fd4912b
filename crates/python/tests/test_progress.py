"""Progress on stderr."""

from __future__ import annotations

import io
import sys

import pytest
from soundalike._progress import reporter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "wanted", "expected"),
    [
        (io.StringIO, None, ""),
        (io.StringIO, True, "one\ntwo\n"),
        (Terminal, False, ""),
    ],
)
def test_lines_where_they_are_wanted(
    stream: type[io.StringIO], wanted: bool | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    with reporter(wanted) as say:
        say("one")
        say("two")
    assert sys.stderr.getvalue() == expected  # type: ignore[attr-defined]


def test_a_terminal_shows_one_line_with_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with reporter(None) as say:
        say("one")
        say("two")
    text = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "one [00:00]" in text and "two [00:00]" in text and "\n" not in text


def test_a_terminal_shows_lines_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with reporter(None) as say:
        say("one")
    assert sys.stderr.getvalue() == "one\n"  # type: ignore[attr-defined]
