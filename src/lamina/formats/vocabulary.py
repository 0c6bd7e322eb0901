"""Text as codes: which token, a character or a word, has which whole number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from lamina.errors import InputError, check_choice, check_number
from lamina.formats.encoder_checks import LIST, check_fitted, entry, wrong_entry

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_LEVELS = ("char", "word")


@dataclass(frozen=True)
class Vocabulary:
    """Tokens and their codes: ``tokens[i]`` has the code i, any other token ``len(tokens)``.

    Parameters
    ----------
    level : {"char", "word"}
        What a token is: a character (a Unicode code point), or what white space separates.
    tokens : tuple of str
        What ``fit`` has learned, the most frequent first; empty before.

    Examples
    --------
    >>> vocabulary = Vocabulary().fit("hello")
    >>> vocabulary.tokens
    ('l', 'e', 'h', 'o')
    >>> vocabulary.encode("hole").tolist()
    [2, 3, 0, 1]
    """

    level: Literal["char", "word"] = "char"
    tokens: tuple[str, ...] = ()

    def fit(self, X: str | Iterable[str], most: int | None = None, at_least: int = 1) -> Self:
        """Return a copy that knows the tokens of a text or of a list of texts.

        Parameters
        ----------
        X : str or list of str
            Text to learn from.
        most : int, optional
            Keep this many tokens, the most frequent; all where not given.
        at_least : int, default 1
            Keep the tokens that occur at least this often.
        """
        check_choice("level", self.level, _LEVELS)
        if most is not None:
            check_number("most", most, whole=True, at_least=1)
        check_number("at_least", at_least, whole=True, at_least=1)
        counts: Counter[str] = Counter()
        for text in [X] if isinstance(X, str) else X:
            counts.update(self._split(text))
        frequent = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
        tokens = tuple(token for token, count in frequent if count >= at_least)
        if not tokens:
            raise InputError(
                f"Vocabulary expected text with a {self._noun} that occurs at least {at_least} "
                f"times, got none. Give more text, or a smaller at_least."
            )
        return replace(self, tokens=tokens)

    def encode(self, text: str, unknown: Literal["error", "replace"] = "error") -> np.ndarray:
        """Return the codes of a text.

        Parameters
        ----------
        text : str
            A text.
        unknown : {"error", "replace"}
            What to do with a token that is not in the vocabulary: raise an error that names it, or
            give it the code ``len(tokens)``.

        Returns
        -------
        array of shape (t,)
            int32, one code a token.
        """
        check_fitted(self, bool(self.tokens))
        check_choice("unknown", unknown, ("error", "replace"))
        tokens, beyond = self._split(text), len(self.tokens)
        codes = np.fromiter(
            (self._codes.get(token, beyond) for token in tokens), np.int32, len(tokens)
        )
        if unknown == "error" and (codes == beyond).any():
            at = int((codes == beyond).argmax())
            raise InputError(
                f"Vocabulary expected {self._noun}s as in its fit, got {tokens[at]!r} at position "
                f"{at} of the text's {self._noun}s. Fit with it, or replace it: unknown='replace', "
                f"on the command line --unknown replace."
            )
        return codes

    def decode(self, codes: Iterable[int]) -> str:
        """Return the text of codes; the code ``len(tokens)`` becomes U+FFFD, ``�``.

        Words are joined by one space, whatever stood between them.
        """
        check_fitted(self, bool(self.tokens))
        codes = np.asarray(codes)
        if codes.ndim != 1 or (codes.size and codes.dtype.kind not in "iu"):
            raise InputError(
                f"Vocabulary expected whole-number codes of shape (t,), got {codes.dtype} of shape "
                f"{codes.shape}. Decode one text at a time."
            )
        wrong = np.flatnonzero((codes < 0) | (codes > len(self.tokens)))
        if len(wrong):
            raise InputError(
                f"Vocabulary expected codes from 0 to {len(self.tokens)}, got {codes[wrong[0]]} at "
                f"position {wrong[0]}. Decode with the vocabulary that encoded."
            )
        known = (*self.tokens, UNKNOWN)
        return ("" if self.level == "char" else " ").join(known[code] for code in codes)

    def __len__(self) -> int:
        """Return the number of codes: the tokens, and one for all that are unknown."""
        return len(self.tokens) + 1

    def to_document(self) -> dict[str, Any]:
        """Return the vocabulary as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return the vocabulary of a document, every entry checked."""
        level, tokens = entry(document, "level", str), entry(document, "tokens", LIST)
        if level not in _LEVELS:
            raise wrong_entry("level", f"one of {', '.join(_LEVELS)}", level)
        vocabulary = cls(level, tuple(tokens))
        fine = all(isinstance(t, str) and vocabulary._split(t) == [t] for t in tokens)
        if not fine or len(set(tokens)) != len(tokens):
            raise wrong_entry("tokens", f"{vocabulary._noun}s that differ", tokens)
        return vocabulary

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {token: code for code, token in enumerate(self.tokens)}

    @property
    def _noun(self) -> str:
        return "character" if self.level == "char" else "word"

    def _split(self, text: str) -> list[str]:
        if not isinstance(text, str):
            raise InputError(
                f"Vocabulary expected text, got {type(text).__name__}. "
                f"Give a str, or to fit a list of them."
            )
        return list(text) if self.level == "char" else text.split()
