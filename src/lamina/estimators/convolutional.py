"""The convolutional network: stages of filters and pooling, then dense layers, then scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lamina.errors import InputError, check_choice, check_number
from lamina.estimators.base import NetworkEstimator
from lamina.estimators.classifier import Classifier
from lamina.estimators.regressor import Regressor
from lamina.functions.losses import Loss, SoftmaxCrossEntropy
from lamina.layers.augmentation import Cutout, RandomFlip, RandomShift
from lamina.layers.convolution import Conv2D
from lamina.layers.dense import Dense
from lamina.layers.layer import Layer, Shape, Weights
from lamina.layers.normalization import BatchNorm, Standardize
from lamina.layers.pointwise import Activation, Dropout, Flatten
from lamina.layers.pooling import MaxPool2D
from lamina.layers.sequential import Sequential

MIXUP, MIXUP_STRENGTH = "mixup", 0.2


def _augmentation(name: str, image_shape: Shape) -> Layer:
    """Return an augmentation in proportion to the image: shifts by a tenth, a third cut out."""
    side = min(image_shape[:2])
    return {
        "flip": RandomFlip,
        "shift": lambda: RandomShift(max(1, round(side / 10))),
        "cutout": lambda: Cutout(max(1, round(side / 3))),
    }[name]()


AUGMENTATIONS = ("flip", "shift", "cutout", MIXUP)


@dataclass(kw_only=True, eq=False, repr=False)
class _Convolutional(NetworkEstimator):
    """Images standardised, then for each of ``filters`` a stage, then dense layers and scores.

    A stage is ``depth`` times convolution, batch normalisation and activation, then max pooling.

    Parameters
    ----------
    filters : sequence of int
        The channels of each stage.
    kernel_size : int or pair of int
        The filters' window.
    pool : int
        The side of the pooling window after each stage; 1 pools nothing.
    depth : int
        Convolutions in a stage.
    hidden : sequence of int
        Units of the dense layers after the last stage.
    activation : str
        σ, a key of `lamina.functions.activations.ACTIVATIONS`.
    batch_norm : bool
        Whether convolutions are normalised over the batch.
    dropout : float in [0, 1)
        The share of numbers dropped before each dense layer, in training.
    augment : sequence of {"flip", "shift", "cutout", "mixup"}
        How training images are changed at random: left and right exchanged; moved by up to a tenth
        of the image; a square of a third cut out; two images blended.
    image_shape : tuple (h, w, c), optional
        What the rows of a 2-D X are; one entry may be -1. Images (n, h, w, c) or (n, h, w) speak
        for themselves.
    **others
        See `NetworkEstimator`.
    """

    filters: Sequence[int] = (32, 64)
    kernel_size: int | Sequence[int] = 3
    pool: int = 2
    depth: int = 2
    hidden: Sequence[int] = (128,)
    activation: str = "relu"
    batch_norm: bool = True
    dropout: float = 0.2
    augment: Sequence[str] = ()
    image_shape: Sequence[int] | None = None
    penalty: str | None = "l2"
    alpha: float = 0.01
    optimizer: Any = "adamw"
    learning_rate: float | None = 3e-3
    schedule: Any = "one_cycle"
    batch_size: int | None = 64
    max_epochs: int | None = 10
    _any_rank: ClassVar[bool] = True

    @property
    def image_shape_(self) -> Shape:
        """(h, w, c) of the images it was fitted on."""
        return self.input_shape_

    def _matrix(self, X: Any, *, reset: bool) -> np.ndarray:
        """Return images (n, h, w, c)."""
        if not reset and getattr(X, "ndim", 2) > 2:
            X = _with_channels(X)
        X = super()._matrix(X, reset=reset)
        if reset:  # known from here on: validation data come before the network is built
            self.input_shape_ = self._shape_of(_with_channels(X))
        return X.reshape(len(X), *self.input_shape_)

    def _shape_of(self, X: np.ndarray) -> Shape:
        """Return (h, w, c), as told or as the images have it."""
        if self.image_shape is None:
            if X.ndim == 4:
                return X.shape[1:]
            known = getattr(getattr(self, "encoder_", None), "image_shape", None)
            if known is None:
                raise InputError(
                    f"X expected images (n, h, w, c), got shape {X.shape}. Pass "
                    "image_shape=(h, w, c) to say what a row is."
                )
            return known
        told = tuple(self.image_shape) if _is_sequence(self.image_shape) else ()
        if len(told) != 3 or not all(_is_size(size) for size in told):
            raise InputError(f"image_shape expected (h, w, c), got {self.image_shape!r}.")
        try:
            found = np.empty(X.shape[1:], np.bool_).reshape(told).shape
        except ValueError:
            found = ()
        if not found or (X.ndim == 4 and found != X.shape[1:]):
            raise InputError(
                f"image_shape expected (h, w, c) that fits X of shape {X.shape}, got {told}."
            )
        return found

    def _network(self, input_shape: Shape, outputs: int) -> Layer:
        layers: list[Layer] = [Standardize()]
        for name in self._augmentations():
            if name != MIXUP:
                layers.append(_augmentation(name, input_shape))
        sides = list(input_shape[:2])
        for filters in self.filters:
            for _ in range(self.depth):
                layers += self._stage(filters)
            window = tuple(min(self.pool, side) for side in sides)
            if max(window) > 1:  # a side of one cell has nothing to pool
                layers.append(MaxPool2D(window))
                sides = [side // cells for side, cells in zip(sides, window, strict=True)]
        layers.append(Flatten())
        for units in self.hidden:
            layers += [Dropout(self.dropout), Dense(units, self.activation)]
        return Sequential([*layers, Dropout(self.dropout), Dense(outputs, init="glorot")])

    def _stage(self, filters: int) -> list[Layer]:
        if not self.batch_norm:
            return [Conv2D(filters, self.kernel_size, activation=self.activation)]
        # He's scheme suits relu, which comes only after the normalisation; the shift is the bias.
        convolution = Conv2D(filters, self.kernel_size, init="he", bias=False)
        return [convolution, BatchNorm(), Activation(self.activation)]

    def _augmentations(self) -> tuple[str, ...]:
        names = (self.augment,) if isinstance(self.augment, str) else self.augment
        if not _is_sequence(names):
            raise InputError(
                f"augment expected some of {', '.join(AUGMENTATIONS)}, got {names!r}. "
                "Use augment=() for none."
            )
        return tuple(check_choice("augment", name, AUGMENTATIONS) for name in names)

    @property
    def _mixup(self) -> float:
        return MIXUP_STRENGTH if MIXUP in self._augmentations() else 0.0

    def _check_numbers(self) -> None:
        super()._check_numbers()
        _check_sequence("filters", "the channels of each stage", self.filters)
        _check_sequence("hidden", "the units of each dense layer", self.hidden)
        check_number("pool", self.pool, at_least=1, whole=True)
        check_number("depth", self.depth, at_least=1, whole=True)

    def _adapt(self, statistics: Weights, X: np.ndarray, weight: np.ndarray | None) -> None:
        """Take mean and deviation of each channel over the training images."""
        pixels = X.reshape(len(X), -1, X.shape[-1])
        each = pixels.mean(axis=1, dtype=np.float64)
        mean = np.average(each, axis=0, weights=weight)
        spread = pixels.var(axis=1, dtype=np.float64) + (each - mean) ** 2
        variance = np.average(spread, axis=0, weights=weight)
        scale = np.where(variance > 0, np.sqrt(variance), 1.0)
        statistics["standardize_0"] = {"mean": mean, "scale": scale}


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)


def _is_size(value: Any) -> bool:
    """Return whether ``value`` is one axis of ``image_shape``: -1 is for NumPy to find out."""
    return isinstance(value, int | np.integer) and (int(value) == -1 or int(value) > 0)


def _check_sequence(name: str, meaning: str, value: Any) -> None:
    if not _is_sequence(value):
        remedy = f"{name}=({value},)" if isinstance(value, int | np.integer) else f"{name}=(32,)"
        raise InputError(f"{name} expected a sequence with {meaning}, got {value!r}. Use {remedy}.")


def _with_channels(X: Any) -> Any:
    """Return grey images (n, h, w) with their one channel."""
    return np.asarray(X)[..., None] if X.ndim == 3 else X


@dataclass(kw_only=True, eq=False, repr=False)
class ConvClassifier(_Convolutional, Classifier):
    """A convolutional network that classifies images.

    Parameters
    ----------
    filters, kernel_size, pool, depth
        The stages: channels, the filters' window, the pooling window, convolutions a stage.
    hidden : sequence of int
        Units of the dense layers after the last stage.
    batch_norm, dropout, activation
        As their names say.
    augment : sequence of {"flip", "shift", "cutout", "mixup"}
        How training images are changed at random; never at prediction.
    image_shape : tuple (h, w, c), optional
        What the rows of a 2-D X are.
    label_smoothing : float in [0, 1)
        The share of probability spread over all classes in the softmax loss.
    **others
        See `lamina.estimators.classifier.Classifier` and
        `lamina.estimators.base.NetworkEstimator`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from lamina import ConvClassifier
    >>> digits = load_digits()
    >>> model = ConvClassifier(filters=(16,), batch_size=32, max_epochs=5, random_state=0)
    >>> model.fit(digits.images, digits.target).score(digits.images, digits.target) > 0.95
    True
    """

    label_smoothing: float = 0.05

    def _usual_loss(self, targets: np.ndarray) -> str | Loss:
        usual = super()._usual_loss(targets)
        return SoftmaxCrossEntropy(self.label_smoothing) if usual == "softmax" else usual


@dataclass(kw_only=True, eq=False, repr=False)
class ConvRegressor(_Convolutional, Regressor):
    """A convolutional network that predicts real values from images.

    Parameters
    ----------
    filters, kernel_size, pool, depth, hidden, batch_norm, dropout, activation, augment, image_shape
        As in `ConvClassifier`.
    **others
        See `lamina.estimators.regressor.Regressor` and
        `lamina.estimators.base.NetworkEstimator`.
    """
