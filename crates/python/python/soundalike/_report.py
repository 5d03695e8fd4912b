"""What a comparison found."""

from __future__ import annotations

import html
import json
import os
from functools import cached_property
from pathlib import Path
from . import _native
from ._report_data import Diagnosis, ReportData, Stage


class Report:
    """What a comparison found. ``str()`` is the table that a terminal shows, and a notebook shows the page."""

    def __init__(self, native: _native.Report) -> None:
        self._native = native

    @property
    def passed(self) -> bool:
        """Whether every limit of the gate is met, and something was compared."""
        return self._native.passed

    @property
    def finding(self) -> str:
        """The result in a sentence."""
        return self._native.finding

    @cached_property
    def data(self) -> ReportData:
        """The report as data: the JSON of ``soundalike compare``, schema 1."""
        parsed: ReportData = json.loads(self._native.to_json())
        return parsed

    @property
    def sources(self) -> list[str]:
        """The stages that make the error, first in order of execution."""
        return self.data["source"]

    @property
    def stages(self) -> list[Stage]:
        """Every stage of the reference, in order of execution, with its errors and its verdict."""
        return self.data["stages"]

    @property
    def diagnosis(self) -> Diagnosis | None:
        """The cause of the error, where it is known."""
        return self.data["diagnosis"]

    def to_json(self) -> str:
        """As ``soundalike compare --format json``."""
        return self._native.to_json()

    def to_text(self, *, every_stage: bool = False) -> str:
        """As a table; `every_stage`: stages that pass are not summed up."""
        return self._native.to_text(every_stage)

    def to_html(self) -> str:
        """As one page, without other files."""
        return self._native.to_html()

    def to_markdown(self, level: int = 2) -> str:
        """As Markdown, with headings of `level` and below."""
        return self._native.to_markdown(level)

    def to_junit(self) -> str:
        """As test cases for CI servers, in the format of JUnit."""
        return self._native.to_junit()

    def to_sarif(self) -> str:
        """As results of an analysis, in the format of SARIF 2.1.0."""
        return self._native.to_sarif()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the report: ``.html``, ``.json``, ``.md``, ``.xml`` (JUnit), ``.sarif``, or else text."""
        path = Path(path)
        formats = {
            ".html": self.to_html,
            ".json": self.to_json,
            ".md": self.to_markdown,
            ".xml": self.to_junit,
            ".sarif": self.to_sarif,
        }
        path.write_text(formats.get(path.suffix, self.to_text)(), encoding="utf-8")
        return path

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<Report: {self.finding}>"

    def _repr_html_(self) -> str:
        # A frame keeps the styles of the page from the notebook. It is as high as the page, where scripts may run.
        page = html.escape(self.to_html(), quote=True)
        fit = "this.style.height = this.contentDocument.documentElement.scrollHeight + 'px'"
        style = "width: 100%; height: 40em; max-height: 70em; border: 0"
        return f'<iframe srcdoc="{page}" onload="{fit}" style="{style}"></iframe>'
