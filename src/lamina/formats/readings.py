"""How a file becomes series where its form leaves a choice: values that travel with the model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from lamina.formats.encoder_checks import LIST, entry, finite, positive_integer, wrong_entry

FEATURES = ("log-mel", "samples")


@dataclass(frozen=True)
class LongTable:
    """A table with a row a step, and which of its columns says what.

    Parameters
    ----------
    id : str or None
        The column that says which series a row belongs to; None where all rows are one series.
    time : str
        The column with each row's time.
    channels : tuple of str
        The columns of values, in order; empty before a table was read, for all that are left.
    """

    kind: ClassVar[str] = "long table"
    id: str | None
    time: str
    channels: tuple[str, ...] = ()

    @property
    def row_title(self) -> str:
        """What the names of the series are called."""
        return self.id or "series"

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return what a document describes, every entry checked."""
        channels = tuple(entry(document, "channels", LIST))
        if not all(isinstance(name, str) for name in channels):
            raise wrong_entry("channels", "names of columns", channels)
        return cls(entry(document, "id", str | None), entry(document, "time", str), channels)


@dataclass(frozen=True)
class SoundFrames:
    """Sounds cut into frames, and what describes a frame.

    Parameters
    ----------
    features : {"log-mel", "samples"}
        The logarithms of a frame's energies in mel bands, or its samples.
    frame, hop : float
        Seconds in a frame, and from the start of one to the start of the next.
    bands : int
        Mel bands; unused for samples.
    rate : int or None
        Samples a second that a sound must have; None before a sound was read, for any.
    """

    kind: ClassVar[str] = "sound frames"
    row_title: ClassVar[str] = "file"
    features: str = "log-mel"
    frame: float = 0.025
    hop: float = 0.010
    bands: int = 40
    rate: int | None = None

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return what a document describes, every entry checked."""
        features = entry(document, "features", str)
        if features not in FEATURES:
            raise wrong_entry("features", f"one of {', '.join(FEATURES)}", features)
        frame, hop = (
            finite(entry(document, key, float | int), key, above=0) for key in ("frame", "hop")
        )
        bands = positive_integer(entry(document, "bands", int), "bands")
        rate = entry(document, "rate", int | None)
        if rate is not None:
            positive_integer(rate, "rate")
        return cls(features, frame, hop, bands, rate)


@dataclass(frozen=True)
class TextColumn:
    """A table with a text in each row.

    Parameters
    ----------
    column : str
        The column of texts; all others but the target are passed over.
    """

    kind: ClassVar[str] = "text column"
    row_title: ClassVar[str] = "row"
    column: str

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return what a document describes, every entry checked."""
        return cls(entry(document, "column", str))


Reading = LongTable | SoundFrames | TextColumn

_READINGS = {reading.kind: reading for reading in (LongTable, SoundFrames, TextColumn)}


def reading_document(reading: Reading | None) -> dict[str, Any] | None:
    """Return how something was read as plain JSON values, None for None."""
    return None if reading is None else reading.to_document()


def reading_from_document(document: Any) -> Any:
    """Return how something was read, from an encoder's document; None where it does not say."""
    told = document.get("reading") if isinstance(document, dict) else None
    if told is None:
        return None
    kind = entry(told, "kind", str)
    if kind not in _READINGS:
        raise wrong_entry("kind", f"one of {', '.join(_READINGS)}", kind)
    return _READINGS[kind].from_document(told)
