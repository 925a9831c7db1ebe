"""One self-contained HTML page about a trained and evaluated bundle."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from radimagenet_monai.io.atomic import atomic_write_text


@dataclass(frozen=True)
class Picture:
    """A figure of the page: data URI, text for those who cannot see it, and caption."""

    uri: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A section of the page: paragraphs, an optional table, pictures."""

    title: str
    paragraphs: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    pictures: Sequence[Picture] = ()
    details: str = field(default="")
    """Long text, folded away until asked for."""


def write_page(
    path: str | os.PathLike[str],
    title: str,
    warning: str,
    headline: Mapping[str, str],
    sections: Sequence[Section],
) -> Path:
    """Write the page atomically and return its path.

    Parameters
    ----------
    path
        Of the HTML file. It refers to no other file and no host.
    title
        Heading.
    warning
        What a reader must know before any number, shown on top.
    headline
        The few figures that matter most, name to text.
    sections
        In reading order.
    """
    environment = Environment(
        loader=PackageLoader("radimagenet_monai.report", "templates"),
        autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("page.html.j2").render(
        title=title, warning=warning, headline=dict(headline), sections=list(sections)
    )
    atomic_write_text(path, text)
    return Path(path)
