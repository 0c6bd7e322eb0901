"""What a case is given, what it is, and what it finds: the seam between measuring and the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Options:
    """What the user asked for.

    Parameters
    ----------
    rounds : int
        Timed rounds, beside the warm-up round.
    data : Path, optional
        The folder that holds real data sets, each in a folder of its own name.
    quick : bool
        Whether only to see that everything runs: less data, one epoch, one round.
    """

    rounds: int
    data: Path | None = None
    quick: bool = False


@dataclass(frozen=True)
class Finding:
    """One table of the page.

    Parameters
    ----------
    title, text : str
        Heading and explanation.
    header : tuple of str
        Column titles.
    rows : tuple of tuple of str
        Cells, in Markdown.
    summary : dict from str to float
        Peer time / Lamina time by kind of peer, for the table of all training cases.
    others : float, optional
        The share of the machine that other programs used meanwhile.
    timed : bool
        Whether that matters.
    """

    title: str
    text: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    summary: dict[str, float] = field(default_factory=dict)
    others: float | None = None
    timed: bool = True


class Case(Protocol):
    """A row of the registry; picklable, as it is measured in a process of its own."""

    @property
    def name(self) -> str:
        """What ``--only`` calls it."""
        ...

    def measure(self, options: Options) -> Finding:
        """Run it."""
        ...


def missing(modules: tuple[str, ...]) -> bool:
    """Whether the package of one of these modules is not installed."""
    return any(find_spec(module.partition(".")[0]) is None for module in modules)
