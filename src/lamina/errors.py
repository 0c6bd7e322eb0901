"""What Lamina raises: one clear sentence with subject, what was expected, what came, a remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LaminaError(Exception):
    """Base of every error that Lamina raises on purpose."""


class InputError(LaminaError, ValueError):
    """An argument, an array or a file is not what the call needs."""


class FileFormatError(InputError):
    """A file is truncated, foreign, edited, or of a version that cannot be read."""


class DivergenceError(LaminaError, FloatingPointError):
    """Training produced a number that is not finite; the last good weights are kept."""


def did_you_mean(name: object, choices: Iterable[str]) -> str:
    """Return ``" Did you mean 'relu'?"`` for the choice nearest to ``name``, or ``""``."""
    near = difflib.get_close_matches(str(name), list(choices), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def check_choice(subject: str, value: object, choices: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``choices``, else raise an error that names the nearest.

    Examples
    --------
    >>> check_choice("init", "hee", ["he", "lecun"])
    Traceback (most recent call last):
        ...
    lamina.errors.InputError: init expected one of he, lecun; got 'hee'. Did you mean 'he'?
    """
    names = list(choices)
    if isinstance(value, str) and value in names:
        return value
    raise InputError(
        f"{subject} expected one of {', '.join(names)}; got {value!r}.{did_you_mean(value, names)}"
    )


def check_number(
    subject: str,
    value: object,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    whole: bool = False,
) -> None:
    """Raise unless ``value`` is a number (a whole one if ``whole``) within the bounds given."""
    import numbers

    kind = numbers.Integral if whole else numbers.Real
    bounds = [
        (at_least, "at least", lambda v, b: v >= b),
        (above, "above", lambda v, b: v > b),
        (at_most, "at most", lambda v, b: v <= b),
        (below, "below", lambda v, b: v < b),
    ]
    given = [(bound, words, holds) for bound, words, holds in bounds if bound is not None]
    fine = isinstance(value, kind) and not isinstance(value, bool)
    if fine and all(holds(value, bound) for bound, _, holds in given):
        return
    noun = "a whole number" if whole else "a number"
    limits = " and ".join(f"{words} {bound}" for bound, words, _ in given)
    raise InputError(f"{subject} expected {noun}{' ' + limits if limits else ''}; got {value!r}.")
