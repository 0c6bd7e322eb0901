"""A model's report: one HTML file that shows what it learned, from its matrices to its mistakes.

The file needs no network and holds no other: pictures are inside it. The pictures are those of the
`draw_…` functions beside this one; `lamina.inspection.page` sets them on the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamina.errors import InputError, check_number
from lamina.formats.files import written_whole
from lamina.inspection.health import health
from lamina.inspection.outcomes import Outcome, outcome
from lamina.inspection.page import matrices, predictions, training
from lamina.inspection.page.document import Header, Section, document
from lamina.inspection.page.markup import join
from lamina.inspection.plan import Plan, plan
from lamina.inspection.spectra import Spectrum, spectra
from lamina.inspection.verdicts import Health
from lamina.training.optimizers import NAMES, optimizer

MISTAKES = 12
USUAL_BATCH = 128
_OBJECT = re.compile(r"<(?:\w+\.)*(\w+) object at 0x[0-9a-f]+>")
"""How Python writes a callback: all but its class says nothing."""


def report(
    model: Any,
    X: Any = None,
    y: Any = None,
    path: str | Path = "report.html",
    *,
    title: str | None = None,
    data: str | None = None,
    names: Sequence[str] = (),
    mistakes: int = MISTAKES,
    judged: Health | None = None,
) -> Path:
    """Write what there is to see of a fitted network into one HTML file.

    Learning curves, what is confused or how far off values are, calibration, the worst mistakes,
    a verdict on the model's health, each weight matrix as a heat map with its spectrum against
    chance, gradients by layer, and what the network costs.

    Parameters
    ----------
    model : estimator
        A fitted network.
    X, y : optional
        Data as `fit` takes them, best not those of training. Without them the page shows what the
        model alone tells.
    path : str or Path
        The file to write.
    title : str, optional
        The page's; the estimator's name if None.
    data : str, optional
        What the data are called.
    names : sequence of n str, optional
        What rows of X are called, such as files of images.
    mistakes : int
        How many of the worst to show.
    judged : Health, optional
        What `health` found of the same model and data, if it was asked before.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        For a model without a network, unusable data, or a file that cannot be written to.

    Examples
    --------
    >>> import numpy as np
    >>> from lamina import LinearClassifier
    >>> model = LinearClassifier(max_epochs=1, random_state=0).fit(np.eye(3), [0, 1, 2])
    >>> written = report(model, np.eye(3), [0, 1, 2], getfixture("tmp_path") / "report.html")
    >>> written.read_text(encoding="utf-8")[:15]
    '<!doctype html>'
    """
    check_number("mistakes", mistakes, at_least=0, whole=True)
    _check(model, X, y)
    path = Path(path)
    with written_whole(path) as draft:
        draft.touch()  # a place that cannot be written to is told before the work
        found = None if X is None else outcome(model, X, y)
        if len(names) not in (0, 0 if found is None else found.rows):
            raise InputError(f"names expected one for each row of X, got {len(names)}.")
        seen = _Seen(
            model,
            X,
            found,
            health(model, X, y) if judged is None else judged,
            list(spectra(model.weights_)),
            _plan(model),
        )
        header = _header(seen, title or type(model).__name__, data)
        sections = list(_sections(seen, names, mistakes))
        page = document(header, sections)
        draft.write_text(page, encoding="utf-8", newline="\n")
    return path


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the page shows of a model, measured once."""

    model: Any
    X: Any
    outcome: Outcome | None
    health: Health
    spectra: list[Spectrum]
    plan: Plan


def _check(model: Any, X: Any, y: Any) -> None:
    """Raise unless this is a fitted network, and data are given where they can be looked at."""
    name = type(model).__name__
    if not hasattr(model, "network_"):
        raise InputError(
            f"report expected a fitted network, got {name}, which has none. Call fit first; models "
            "of users, items and topics show themselves by evaluate."
        )
    if X is None and y is None:
        return
    if X is None or y is None:
        raise InputError("report expected X and y together, got one of them. Pass both or none.")
    if not hasattr(model, "classes_") and not hasattr(model, "target_mean_"):
        raise InputError(
            f"report expected a classifier or regressor to show data to, got {name}. Leave the "
            "data out: the page then shows what the model alone tells."
        )


def _plan(model: Any) -> Plan:
    known = isinstance(model.optimizer, str) and model.optimizer in NAMES
    rule = optimizer(model.optimizer) if known else None
    return plan(model.network_, model.input_shape_, model.batch_size or USUAL_BATCH, rule)


def _header(seen: _Seen, title: str, data: str | None) -> Header:
    model, found = seen.model, seen.outcome
    figures = {} if found is None else predictions.headline(found)
    losses = model.history_.get("loss", [])
    if losses:
        figures["training loss"] = f"{losses[-1]:.4g}"
        figures["epochs"] = f"{len(losses):,}"
    figures["weights"] = f"{seen.plan.parameters:,}"
    lead = _OBJECT.sub(r"\1", repr(model))
    if found is not None:
        lead += f", shown {found.rows:,} rows" + (f" of {data}" if data else "")
    return Header(title, lead, figures, matrices.chain(model.weights_, seen.spectra))


def _sections(seen: _Seen, names: Sequence[str], mistakes: int) -> Iterator[Section]:
    """Yield the parts of the page; those that there is nothing to say in are left out."""
    model, found = seen.model, seen.outcome
    judged = "Judged by its weights and history alone." if found is None else ""
    yield Section("Health", training.verdicts(seen.health, seen.spectra), judged)
    if model.history_.get("loss"):
        yield Section("Learning", training.learning(model.history_))
    if found is not None:
        yield Section("Predictions", predictions.predictions(found))
        worst = predictions.mistakes(model, seen.X, found, mistakes, names)
        if worst is not None:
            yield Section("Worst mistakes", worst, predictions.order(found))
    yield Section(
        "Matrices",
        join(
            matrices.overview(model.weights_, seen.spectra),
            matrices.first_layer(model.weights_, _image_shape(model), _classes(model)),
            matrices.cards(model.weights_, seen.spectra, seen.health.verdicts),
        ),
        "Singular values beyond the edge of chance, after Marchenko and Pastur, are what training "
        "has put there.",
    )
    flow = training.gradients(seen.health, getattr(model, "watched_", None), model.history_)
    if flow is not None:
        yield Section("Gradients", flow)
    yield Section("Cost", training.cost(seen.plan))


def _image_shape(model: Any) -> tuple[int, ...] | None:
    encoder = getattr(model, "encoder_", None)
    return getattr(encoder, "image_shape", None) or getattr(model, "image_shape", None)


def _classes(model: Any) -> list[str] | None:
    return list(map(str, model.classes_)) if hasattr(model, "classes_") else None
