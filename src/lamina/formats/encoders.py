"""How raw inputs become the matrix ``X`` of float32 that a network multiplies.

Series become a list of such matrices, a row a step, and texts a list of vectors of codes.

An encoder is a frozen value. ``fit`` returns a fitted copy, so an unfitted encoder can stand as a
constructor parameter of an estimator, and its document (plain JSON) travels inside a saved model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Protocol, Self

from lamina.formats.array_encoder import ArrayEncoder
from lamina.formats.dataset import Dataset
from lamina.formats.encoder_checks import entry, wrong_entry
from lamina.formats.image_encoder import ImageEncoder
from lamina.formats.series_encoder import SeriesEncoder
from lamina.formats.table_encoder import TableEncoder
from lamina.formats.text_encoder import TextEncoder

__all__ = [
    "ArrayEncoder",
    "Encoder",
    "ImageEncoder",
    "SeriesEncoder",
    "TableEncoder",
    "TextEncoder",
    "encoder_for",
    "encoder_from_document",
]


class Encoder(Protocol):
    """From raw inputs to ``X`` (n, m) of float32, by rules learned from the training part.

    Of series, ``X`` is a list of n such arrays (t_i, m); of texts, of n int32 arrays (t_i,).
    """

    kind: ClassVar[str]

    def fit(self, X: Any) -> Self:
        """Return a copy that has learned its rules from ``X``."""
        ...

    def transform(self, X: Any) -> Any:
        """Return the float32 matrix of shape (n, m) for these inputs, or a list for series."""
        ...

    @property
    def input_width(self) -> int:
        """Number of raw features: columns, an image's h w c numbers, a series' channels."""
        ...

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the m encoded columns."""
        ...

    def to_document(self) -> dict[str, Any]:
        """Return what ``from_document`` needs, as plain JSON values."""
        ...

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return the encoder of a document, every entry checked."""
        ...


_ENCODERS = {
    encoder.kind: encoder
    for encoder in (TableEncoder, ImageEncoder, ArrayEncoder, SeriesEncoder, TextEncoder)
}
_AnyEncoder = TableEncoder | ImageEncoder | ArrayEncoder | SeriesEncoder | TextEncoder


def encoder_for(dataset: Dataset) -> _AnyEncoder:
    """Return the unfitted encoder for a data set's kind, which keeps how it was read."""
    encoder = _ENCODERS[dataset.kind]()
    if isinstance(encoder, SeriesEncoder | TextEncoder):
        encoder = replace(encoder, reading=dataset.reading)
    return encoder


def encoder_from_document(document: object) -> _AnyEncoder:
    """Return the encoder that ``to_document`` described, every entry checked."""
    kind = entry(document, "kind", str)
    if kind not in _ENCODERS:
        raise wrong_entry("kind", f"one of {', '.join(_ENCODERS)}", kind)
    return _ENCODERS[kind].from_document(document)
