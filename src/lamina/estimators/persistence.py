"""A fitted estimator as a document and named arrays, and back: data only, nothing that runs."""

from __future__ import annotations

import dataclasses
import json
import operator
from pathlib import Path
from typing import Any

import numpy as np

import lamina
from lamina.errors import FileFormatError, InputError, check_choice
from lamina.estimators.base import NetworkEstimator
from lamina.estimators.contract import Estimator
from lamina.estimators.convolutional import ConvClassifier, ConvRegressor
from lamina.estimators.factorization import Factorization
from lamina.estimators.forecaster import Forecaster
from lamina.estimators.implicit import ImplicitFactorization
from lamina.estimators.language import CharacterModel
from lamina.estimators.linear import LinearClassifier, LinearRegressor
from lamina.estimators.network import NetworkClassifier, NetworkRegressor
from lamina.estimators.perceptron import MLPClassifier, MLPRegressor
from lamina.estimators.ratings import RatingFactorization
from lamina.estimators.recurrent import RecurrentClassifier, RecurrentRegressor
from lamina.estimators.topics import Decomposition, NonnegativeFactorization, TruncatedSVD
from lamina.estimators.transfer import TransferClassifier
from lamina.formats.encoders import encoder_from_document
from lamina.formats.model_file import check_arrays, read_model, write_model
from lamina.formats.trained_on import TrainedOn
from lamina.formats.zeros import packed, unpacked
from lamina.functions.losses import LOSSES, Loss
from lamina.layers.document import from_document, to_document
from lamina.layers.layer import Layer, by_path
from lamina.models.backbone import Backbone
from lamina.training.watch import checked

ESTIMATORS: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        ConvClassifier,
        ConvRegressor,
        CharacterModel,
        Forecaster,
        ImplicitFactorization,
        RatingFactorization,
        NonnegativeFactorization,
        TruncatedSVD,
        RecurrentClassifier,
        RecurrentRegressor,
        LinearClassifier,
        LinearRegressor,
        MLPClassifier,
        MLPRegressor,
        NetworkClassifier,
        NetworkRegressor,
        TransferClassifier,
    )
}


def save(estimator: NetworkEstimator | Factorization | Decomposition, path: str | Path) -> None:
    """Write a fitted estimator to ``path``; see its own `save`.

    One that is no network says what it has learned by ``_learned`` (JSON values) and ``_arrays``,
    and takes both back by ``_adopt``.
    """
    name = type(estimator).__name__
    if ESTIMATORS.get(name) is not type(estimator):
        raise InputError(
            f"save expected one of Lamina's estimators ({', '.join(ESTIMATORS)}), got {name}."
        )
    if not hasattr(estimator, "weights_"):
        raise InputError(f"save expected a fitted {name}, got one without weights. Call fit first.")
    document: dict[str, Any] = {
        "estimator": name,
        "lamina": lamina.__version__,
        "parameters": parameters(estimator),
        "history": estimator.history_,  # type: ignore[union-attr]
    }
    if not isinstance(estimator, NetworkEstimator):
        write_model(path, document | {"learned": estimator._learned()}, estimator._arrays())
        return
    document |= {
        "watched": getattr(estimator, "watched_", None),
        "trained_on": _document_of(getattr(estimator, "trained_on_", None)),
        "network": to_document(estimator.network_),
        "input_shape": list(estimator.input_shape_),
        "loss": _loss_document(estimator.loss_),
        "encoder": _document_of(getattr(estimator, "encoder_", None)),
        "n_features_in": int(estimator.n_features_in_),
        "feature_names_in": _names(estimator),
        "target_names": getattr(estimator, "target_names_", None),
        "target": estimator._learned(),
    }
    arrays = {f"weights/{key}": value for key, value in flatten(estimator.weights_).items()}
    arrays |= {f"statistics/{key}": value for key, value in flatten(estimator.statistics_).items()}
    write_model(path, document, packed(arrays))


def load(path: str | Path) -> Any:
    """Read a model file and return its fitted estimator.

    Parameters
    ----------
    path : path
        A file that `save` or the command line wrote.

    Raises
    ------
    FileFormatError
        If the file is truncated, edited, foreign, or written by a later version.
    """
    document, arrays = read_model(path)
    if document.get("kind") == "checkpoint":
        raise FileFormatError(
            f"{path} expected a model, got a checkpoint of a run. Go on with the run: the same "
            f"lamina fit with --resume {Path(path).parent}, or checkpoint= in Python."
        )
    try:
        return _build(document, arrays)
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise FileFormatError(
            f"{path} does not describe a model that this version of Lamina "
            f"({lamina.__version__}) can build: {error or type(error).__name__}"
        ) from None


def _build(document: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    name = check_choice("estimator in the model file", document["estimator"], ESTIMATORS)
    cls = ESTIMATORS[name]
    known = {field.name for field in dataclasses.fields(cls)}
    parameters = {k: _value(k, v) for k, v in document["parameters"].items() if k in known}
    estimator = cls(**parameters)
    estimator.history_ = {name: list(values) for name, values in document["history"].items()}
    if not issubclass(cls, NetworkEstimator):
        estimator._adopt(document["learned"], arrays)
        return estimator
    if document.get("watched") is not None:
        estimator.watched_ = checked(document["watched"])
    if document.get("trained_on") is not None:
        estimator.trained_on_ = TrainedOn.from_document(document["trained_on"])
    estimator.network_ = from_document(document["network"])
    estimator.loss_ = _loss(document["loss"])
    estimator.n_features_in_ = operator.index(document["n_features_in"])
    if document["feature_names_in"] is not None:
        estimator.feature_names_in_ = np.array(document["feature_names_in"], dtype=object)
    names = document["target_names"]
    estimator.target_names_ = None if names is None else tuple(map(str, names))
    if document["encoder"] is not None:
        estimator.encoder_ = encoder_from_document(document["encoder"])
    shape = tuple(operator.index(size) for size in document["input_shape"])
    estimator.input_shape_ = shape
    expected = zip(
        ("weights", "statistics"),
        estimator.network_.weight_shapes(shape),
        strict=True,
    )
    shapes = {
        f"{kind}/{path}": (weight_shape, np.dtype(estimator._dtype))
        for kind, tree in expected
        for path, weight_shape in flatten(tree).items()
    }
    arrays = unpacked(arrays, shapes)
    check_arrays("The model file", shapes, arrays)
    tree = unflatten(arrays)
    estimator._keep(tree.get("weights", {}), tree.get("statistics", {}))
    estimator._adopt(document["target"])
    _check_fits_together(estimator, shape)
    return estimator


def _check_fits_together(estimator: NetworkEstimator, input_shape: tuple[int, ...]) -> None:
    """Raise unless features, network, loss and targets agree in number and kind."""
    if not estimator._takes(input_shape):
        raise FileFormatError(
            f"its input expected samples that its features make, its network takes {input_shape}"
        )
    names = _names(estimator)
    if names is not None and len(names) != estimator.n_features_in_:
        raise FileFormatError(
            f"feature_names_in expected {estimator.n_features_in_} names, got {len(names)}"
        )
    scores = estimator.network_.output_shape(input_shape, "network")
    if scores[-1:] != (estimator._outputs,):
        raise FileFormatError(
            f"the network expected to end in {estimator._outputs} scores, got {scores}"
        )
    if estimator.loss_.target != estimator._target:
        raise FileFormatError(f"the loss expected targets of kind {estimator._target}")


def flatten(tree: dict[str, Any]) -> dict[str, Any]:
    """Return nested arrays by path: ``{"dense_0/W": …}``."""
    return dict(by_path(tree))


def unflatten(flat: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the nested dict that `flatten` was given."""
    tree: dict[str, Any] = {}
    for path, array in flat.items():
        *folders, leaf = path.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[leaf] = array
    return tree


def parameters(estimator: Estimator) -> dict[str, Any]:
    """Return the constructor parameters that are data."""
    kept = {}
    for name, value in estimator.get_params().items():
        if name in ("checkpoint", "devices"):  # of one machine
            continue
        if isinstance(value, Layer):
            value = {"layer": to_document(value)}
        elif isinstance(value, Loss):
            value = {"loss": _loss_document(value)}
        elif name == "encoder":
            value = None if value is None else {"encoder": _document_of(value)}
        elif isinstance(value, Backbone):  # its weights are in the network: its name will do
            value = value.name
        elif isinstance(value, np.generic):
            value = value.item()
        elif isinstance(value, dict):  # JSON has no keys but strings
            value = {"items": [[_plain(k), _plain(v)] for k, v in value.items()]}
        try:
            kept[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError):
            continue  # not data; the default stands in for it
    return kept


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _value(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        ((kind, inner),) = value.items()
        readers = {
            "layer": from_document,
            "loss": _loss,
            "encoder": encoder_from_document,
            "items": dict,
        }
        return readers[kind](inner)
    return tuple(value) if isinstance(value, list) else value


def _loss_document(loss: Loss) -> dict[str, Any]:
    names = {cls: name for name, cls in LOSSES.items()}
    if type(loss) not in names:
        raise InputError(
            f"save expected one of the losses {', '.join(LOSSES)}, got {type(loss).__name__}."
        )
    return {"name": names[type(loss)], **dataclasses.asdict(loss)}


def _loss(document: dict[str, Any]) -> Loss:
    settings = {key: value for key, value in document.items() if key != "name"}
    return LOSSES[check_choice("loss in the model file", document["name"], LOSSES)](**settings)


def _document_of(part: Any) -> dict[str, Any] | None:
    return None if part is None else part.to_document()


def _names(estimator: NetworkEstimator) -> list[str] | None:
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]
