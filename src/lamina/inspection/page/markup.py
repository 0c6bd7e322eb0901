"""HTML in which every text is escaped: what is markup already is told apart by its type."""

from __future__ import annotations

import html
from collections.abc import Iterable

VOID = ("br", "img", "meta")
JOINERS = "\u200c\u200d"
"""Zero-width (non-)joiners: not printable, yet letters of Persian or parts of emoji need them."""


class Markup(str):
    """Text that is HTML."""

    __slots__ = ()


def escaped(text: object) -> Markup:
    """Return anything as HTML that shows its text, with control characters made visible."""
    shown = "".join(c if c.isprintable() or c in "\n\t" + JOINERS else "�" for c in str(text))
    return Markup(html.escape(shown))


def join(*children: object) -> Markup:
    """Return HTML of all children: markup as it is, None as nothing, text escaped."""
    parts = []
    for child in children:
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, Iterable) and not isinstance(child, str):
            parts.append(join(*child))
        elif child is not None:
            parts.append(escaped(child))
    return Markup("".join(parts))


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Return an element.

    Parameters
    ----------
    name : str
        Its tag.
    *children
        Markup, text, None, or iterables of them; all but markup is escaped.
    **attributes
        Values are escaped; None and False leave an attribute out, True gives it no value. An
        underscore becomes a hyphen; one at the end, as in ``class_``, is dropped.

    Examples
    --------
    >>> tag("td", "<b>", class_="name")
    '<td class="name">&lt;b&gt;</td>'
    """
    written = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            written.append(key)
        elif value is not None and value is not False:
            written.append(f'{key}="{escaped(value)}"')
    opening = Markup(f"<{' '.join(written)}>")
    return opening if name in VOID else Markup(f"{opening}{join(*children)}</{name}>")
