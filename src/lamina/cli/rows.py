"""Networks of rows with targets, for the commands: read whole, trained, measured, saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lamina.cli import data as sources
from lamina.cli import families, show, streaming, training


def fit(
    data: str,
    model: str | None,
    task: str,
    test: str | None,
    test_fraction: float,
    validation: str | None,
    settings: dict[str, Any],
    path: Path,
    *,
    target: str | None,
    unknown: str | None,
    **options: Any,
) -> None:
    """Train on rows, measure on those held out, and save.

    Parameters
    ----------
    data, model, task, test, test_fraction, validation, target, unknown
        As the options of `lamina fit`.
    settings : dict
        Constructor parameters.
    path : Path
        Where to save.
    **options
        ``drop``, ``size``, ``skip_bad`` and ``reading``, as `lamina.formats.read` takes them.
    """
    streaming.notice(data)
    if model == "transfer" and options["size"] is None:
        options["size"] = _size_for_backbone(data, settings["backbone"])
    seed = settings["random_state"]
    train, held_out, origin = sources.train_and_test(
        data, target, test, test_fraction, seed, **options
    )
    estimator = families.estimator_on(train, model, task, settings, unknown)
    validate = None
    if validation is not None:
        found = sources.read_like(train, validation, target, **options)
        validate = (found.X, found.y)
    show.line("data", f"{train.source}: {len(train):,} rows to train on")
    y = sources.with_name(train.y, target)  # type: ignore
    training.train(estimator, path, train.X, y, validation_data=validate)
    estimator.trained_on_ = origin
    training.report_and_save(estimator, held_out, path)


def _size_for_backbone(data: str, backbone: str | None) -> tuple[int, int] | None:
    """Return the size to read a folder's images in, so that the backbone's crop fills its own."""
    from lamina.estimators.backbones import find_backbone
    from lamina.estimators.transfer import TransferClassifier
    from lamina.formats.read import is_images

    if not is_images(data):
        return None
    found = find_backbone(backbone or TransferClassifier.backbone)
    if found.preprocessing is None:
        return found.input_shape[:2] if len(found.input_shape) == 3 else None  # type: ignore
    height, width = (round(s / (found.preprocessing.crop or 1)) for s in found.preprocessing.size)
    return height, width
