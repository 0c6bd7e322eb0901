"""Texts as series of codes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np

from lamina.errors import InputError, check_choice
from lamina.formats.encoder_checks import check_fitted, entry, positive_integer, wrong_entry
from lamina.formats.readings import Reading, reading_document, reading_from_document
from lamina.formats.vocabulary import Vocabulary

_UNKNOWN = ("error", "replace")


@dataclass(frozen=True)
class TextEncoder:
    """Texts as int32 codes, one a character or a word, by a vocabulary learned from training.

    Parameters
    ----------
    vocabulary : Vocabulary
        Whose level says what a token is, and whose tokens ``fit`` learns.
    unknown : {"error", "replace"}
        What ``transform`` does with a token that is not in the vocabulary.
    most : int or None
        How many tokens to learn, the most frequent; None for all.
    at_least : int
        How often a token must occur to be learned.
    reading : TextColumn, optional
        How files were read for it, so that later ones are read alike.
    """

    kind: ClassVar[str] = "text"
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    unknown: Literal["error", "replace"] = "error"
    most: int | None = None
    at_least: int = 1
    reading: Reading | None = None

    def fit(self, X: str | Iterable[str]) -> Self:
        """Return a copy that knows the tokens of a text or of a list of texts."""
        check_choice("unknown", self.unknown, _UNKNOWN)
        texts = _texts(X)
        return replace(self, vocabulary=self.vocabulary.fit(texts, self.most, self.at_least))

    def transform(self, X: str | Iterable[str]) -> list[np.ndarray]:
        """Return int32 codes, an array (t_i,) for each text; a lone text is a list of one."""
        self._check_fitted()
        encoded = []
        for i, text in enumerate(_texts(X)):
            try:
                encoded.append(self.vocabulary.encode(text, self.unknown))
            except InputError as error:
                raise InputError(f"In text {i} (X[{i}]): {error}") from error
        return encoded

    @property
    def input_width(self) -> int:
        """Numbers in a step: 1, the code."""
        return 1

    @property
    def output_names(self) -> tuple[str, ...]:
        """``code``, all that a step has."""
        self._check_fitted()
        return ("code",)

    def to_document(self) -> dict[str, Any]:
        """Return the encoder as plain JSON values."""
        return {
            "kind": self.kind,
            "vocabulary": self.vocabulary.to_document(),
            "unknown": self.unknown,
            "most": self.most,
            "at_least": self.at_least,
            "reading": reading_document(self.reading),
        }

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return the encoder of a document, every entry checked."""
        vocabulary = Vocabulary.from_document(entry(document, "vocabulary", dict))
        unknown = entry(document, "unknown", str)
        if unknown not in _UNKNOWN:
            raise wrong_entry("unknown", f"one of {', '.join(_UNKNOWN)}", unknown)
        most = entry(document, "most", int | None)
        if most is not None:
            positive_integer(most, "most")
        at_least = positive_integer(entry(document, "at_least", int), "at_least")
        return cls(vocabulary, unknown, most, at_least, reading_from_document(document))

    def _check_fitted(self) -> None:
        check_fitted(self, bool(self.vocabulary.tokens))


def _texts(X: str | Iterable[str]) -> list[str]:
    texts = [X] if isinstance(X, str) else list(X)
    for i, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            got = "an empty text" if isinstance(text, str) else type(text).__name__
            raise InputError(
                f"TextEncoder expected texts with at least one character, got {got} in text {i} "
                f"(X[{i}]). Leave it out or fill it in."
            )
    return texts
