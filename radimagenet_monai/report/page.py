"""One self-contained HTML page: it refers to no other file or host and needs no script."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.report.wording import set_apart

_FEWEST_LISTED = 4  # minimum number of sections for a table of contents
_COLUMN_WIDTH = 6  # minimum rem per table column on a narrow screen, where the table scrolls
_COLUMNS_THAT_FIT = 3


@dataclass(frozen=True)
class Picture:
    """A figure of the page: data URI, text for those who cannot see it, and caption.

    A ``least_width`` in rem is kept on a narrow screen, where the picture scrolls.
    """

    uri: str
    alt: str
    caption: str
    least_width: int = 0


@dataclass(frozen=True)
class Table:
    """A table with a caption. The first cell of a row is its heading. A long table may be folded."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    folded: bool = False

    @property
    def style(self) -> str:
        """Width that keeps the columns legible on a phone."""
        columns = max([len(self.header), *(len(row) for row in self.rows)])
        return f"min-width: {columns * _COLUMN_WIDTH}rem" if columns > _COLUMNS_THAT_FIT else ""


@dataclass(frozen=True)
class Step:
    """A box of a flow diagram, with the exclusions at that step."""

    title: str
    lines: Sequence[str] = ()
    leaving: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """A section of the page: paragraphs, flow diagram, tables, pictures, subsections, folded text."""

    title: str
    paragraphs: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    pictures: Sequence[Picture] = ()
    details: str = field(default="")
    """Long text, folded away until asked for."""
    details_title: str = ""
    tables: Sequence[Table] = ()
    flow: Sequence[Step] = ()
    sections: Sequence[Section] = ()

    @property
    def all_tables(self) -> list[Table]:
        """The table given as ``header`` and ``rows``, captioned with the title, before ``tables``."""
        own = [Table(self.title, self.header, self.rows)] if self.rows else []
        return [table for table in [*own, *self.tables] if table.rows]

    @property
    def anchor(self) -> str:
        """Anchor of the section, made from its title."""
        return re.sub(r"[^\w]+", "-", self.title.lower()).strip("-") or "section"


def write_page(
    path: str | os.PathLike[str],
    title: str,
    warning: str,
    headline: Mapping[str, str],
    sections: Sequence[Section],
) -> Path:
    """Write the page atomically and return its path.

    Pages with four or more sections begin with a table of contents.

    Parameters
    ----------
    path
        Path of the HTML file, which refers to no other file or host.
    title
        Heading.
    warning
        Warning shown at the top, before any numbers.
    headline
        The most important numbers, name to text.
    sections
        In reading order.
    """
    environment = Environment(
        loader=PackageLoader("radimagenet_monai.report", "templates"),
        autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_text,
    )
    text = environment.get_template("page.html.j2").render(
        title=title,
        warning=warning,
        headline=dict(headline),
        sections=list(sections),
        listed=len(sections) >= _FEWEST_LISTED,
    )
    atomic_write_text(path, text)
    return Path(path)


def _text(value: Any) -> Any:
    """Page text of a value: markup unchanged, right-to-left words in text isolated."""
    return set_apart(value) if isinstance(value, str) and not isinstance(value, Markup) else value
