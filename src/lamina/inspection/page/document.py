"""The page around the sections: one file, no network, and no script but its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

from lamina import __version__
from lamina.inspection.page.markup import Markup, join, tag


class Section(NamedTuple):
    """A part of the page.

    Parameters
    ----------
    name : str
        What links to it say; its heading.
    body : Markup
        What stands under the heading.
    lead : str
        A sentence that says how to read it.
    """

    name: str
    body: Markup
    lead: str = ""

    @property
    def anchor(self) -> str:
        """What links to it point to."""
        return self.name.lower().replace(" ", "-")


class Header(NamedTuple):
    """What stands above the sections.

    Parameters
    ----------
    title : str
        Of the page and its window.
    lead : str
        A line that says what it is of.
    figures : dict of str to str
        The figures that matter most, by name.
    picture : Markup or None
        What stands below them.
    """

    title: str
    lead: str
    figures: dict[str, str]
    picture: Markup | None = None


def document(header: Header, sections: Sequence[Section]) -> str:
    """Return a whole HTML document.

    Parameters
    ----------
    header : Header
        What stands above the sections.
    sections : sequence of Section
        In their order.

    Notes
    -----
    The page's own policy lets a browser load nothing, and run no script but that whose digest it
    names: text from data that got past the escaping would still not run.
    """
    style, script = (
        files("lamina.inspection.page").joinpath(name).read_text(encoding="utf-8")
        for name in ("style.css", "sorting.js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", header.title),
        tag("style", Markup(style)),
    )
    links = [tag("li", tag("a", s.name, href=f"#{s.anchor}")) for s in sections]
    body = tag(
        "body",
        tag("a", "Skip to the content", href="#content", class_="skip"),
        tag("header", _top(header)),
        tag("nav", tag("ul", links), aria_label="Sections"),
        tag("main", map(_section, sections), id="content"),
        tag("footer", tag("p", f"Written by Lamina {__version__}.")),
        tag("script", Markup(script)),
    )
    return join(Markup("<!doctype html>\n"), tag("html", head, body, lang="en")) + "\n"


def _top(header: Header) -> Markup:
    pairs = [
        tag("div", tag("dt", name), tag("dd", value)) for name, value in header.figures.items()
    ]
    return join(
        tag("h1", header.title),
        tag("p", header.lead, class_="lead"),
        tag("dl", pairs, class_="figures"),
        header.picture,
    )


def _section(section: Section) -> Markup:
    name = f"{section.anchor}-head"
    lead = tag("p", section.lead, class_="quiet") if section.lead else None
    return tag(
        "section",
        tag("h2", section.name, id=name),
        lead,
        section.body,
        id=section.anchor,
        aria_labelledby=name,
    )
