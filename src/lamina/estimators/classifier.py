"""What classifiers share: classes and labels, class weights, probabilities, accuracy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina.errors import InputError
from lamina.estimators import validation
from lamina.estimators.base import NetworkEstimator
from lamina.estimators.streaming import targets_of
from lamina.estimators.weighing import Weighing
from lamina.functions.losses import Hinge

_LABEL_KINDS = {"i": np.int64, "u": np.uint64, "b": np.bool_, "f": np.float64, "U": np.str_}


@dataclass(kw_only=True, eq=False, repr=False)
class Classifier(NetworkEstimator):
    """Scores (n, K) for K classes, or for K yes-or-no labels where y is an indicator matrix.

    Parameters
    ----------
    class_weight : "balanced", dict from class to weight, or None
        Multiplies the sample weights; ``"balanced"`` gives every class the same total. Not for
        indicator matrices.
    **others
        See `NetworkEstimator`.

    Attributes
    ----------
    classes_ : array of shape (K,)
        The classes, sorted; 0 … K-1 for an indicator matrix.
    """

    class_weight: Any = None

    @property
    def _outputs(self) -> int:
        return len(self.classes_)

    def _usual_loss(self, targets: np.ndarray) -> str:
        return "sigmoid" if self._multilabel else "softmax"

    @property
    def _target(self) -> str:
        return "labels" if self._multilabel else "classes"

    def _learned(self) -> dict[str, Any]:
        classes = self.classes_
        kind = "object" if classes.dtype == object else classes.dtype.kind
        if kind == "object" and not all(isinstance(label, str) for label in classes):
            raise InputError(
                "save expected class labels that are all text or all numbers, got a mixture."
            )
        return {"multilabel": self._multilabel, "classes": classes.tolist(), "kind": kind}

    def _adopt(self, learned: dict[str, Any]) -> None:
        self._multilabel = bool(learned["multilabel"])
        kind = learned["kind"]
        dtype = object if kind == "object" else _LABEL_KINDS[kind]
        self.classes_ = np.array(learned["classes"], dtype=dtype)

    def _fit_targets(self, y: Any, weight: np.ndarray | None = None) -> np.ndarray:
        labels = validation.check_labels(y)
        self._learn_classes(labels)
        return self._encode(labels)

    def _learn_classes(self, labels: Any) -> None:
        self._multilabel = labels.ndim == 2
        if self._multilabel:
            self.classes_ = np.arange(labels.shape[1])
            return
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            only = self.classes_.tolist()[0]
            raise InputError(
                f"y expected at least 2 classes, got one class only: {only!r}. "
                "A classifier needs examples of what it should tell apart."
            )

    def _known_targets(self, y: Any) -> np.ndarray:
        return self._encode(validation.check_labels(y))

    def _encode(self, labels: Any) -> np.ndarray:
        """Return class indices (n,) int32, or labels (n, K)."""
        if (labels.ndim == 2) != self._multilabel:
            raise InputError(
                "y expected "
                + ("an indicator matrix" if self._multilabel else "one label for each row")
                + f", as in training, got shape {labels.shape}."
            )
        if self._multilabel:
            if labels.shape[1] != len(self.classes_):
                raise InputError(
                    f"y expected {len(self.classes_)} label columns, as in training, "
                    f"got {labels.shape[1]}."
                )
            return np.ascontiguousarray(labels, self._dtype)
        index = np.searchsorted(self.classes_, labels)
        known = self.classes_[np.minimum(index, len(self.classes_) - 1)] == labels
        if not known.all():
            unseen = sorted({str(label) for label in labels[~known]})
            raise InputError(
                f"y expected the classes of training ({', '.join(map(str, self.classes_[:10]))}), "
                f"got {', '.join(unseen[:5])} as well, in {int((~known).sum())} rows. "
                "Drop these rows or train on all classes."
            )
        return index.astype(np.int32)

    def _class_weights(self, targets: np.ndarray, weight: np.ndarray | None) -> np.ndarray | None:
        if self.class_weight is None:
            return weight
        counted = None if self._multilabel else np.bincount(targets, minlength=len(self.classes_))
        of_sample = self._by_class(counted)[targets]
        total = of_sample if weight is None else of_sample * weight
        return validation.check_weights(total, len(targets), self._dtype)

    def _by_class(self, counts: np.ndarray | None) -> np.ndarray:
        """Return the factor on each class's weights, float64, from how many rows each has."""
        if self.class_weight is None:
            return np.ones(len(self.classes_))
        if self._multilabel:
            raise InputError(
                "class_weight expected one label for each row, got an indicator matrix. "
                "Use sample_weight."
            )
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            if counts is None:
                raise InputError(
                    "class_weight='balanced' expected to know how many rows each class has, got "
                    "batches. Use a dict from class to weight, or lamina.formats.stream."
                )
            return counts.sum() / np.maximum(counts, 1) / len(self.classes_)
        if isinstance(self.class_weight, dict):
            known = set(self.classes_.tolist())
            strange = [label for label in self.class_weight if label not in known]
            if strange:
                raise InputError(
                    f"class_weight expected keys among the classes {self.classes_.tolist()}, "
                    f"got {strange[0]!r}."
                )
            each = [self.class_weight.get(label, 1.0) for label in self.classes_.tolist()]
            return np.asarray(each, np.float64)
        raise InputError(
            "class_weight expected 'balanced', a dict from class to weight, or None; "
            f"got {self.class_weight!r}."
        )

    def _survey(self, parts: Iterable[tuple], learn: bool) -> Weighing:
        """Learn the classes, count their rows and sum up their weights."""
        found = [_tally(validation.check_labels(y), weight) for y, weight in parts]
        labels, rows, sums = (np.concatenate(each) for each in zip(*found, strict=True))
        if labels.ndim == 2:
            if learn:
                self._learn_classes(labels)
            self._encode(labels)
            if self.class_weight is not None:
                self._by_class(None)
            return Weighing(None, sums.sum() / rows.sum(), self._dtype)
        if learn:
            self._learn_classes(labels)
        index = self._encode(labels)
        counts, weights = (np.bincount(index, a, len(self.classes_)) for a in (rows, sums))
        by_class = self._by_class(counts)
        mean = by_class @ weights / counts.sum()
        return Weighing(None if self.class_weight is None else by_class, mean, self._dtype)

    def _learn_of_first(self, y: Any, classes: Any) -> None:
        labels = validation.check_labels(y)
        if classes is None and labels.ndim == 1:
            raise InputError(
                f"{type(self).__name__} expected to know all classes before it trains on batches, "
                "got none. Pass classes=[...] to fit, or use lamina.formats.stream."
            )
        self._learn_classes(labels if labels.ndim == 2 else np.asarray(classes))

    def _batch_weighing(self) -> Weighing:
        by_class = None if self.class_weight is None else self._by_class(None)
        return Weighing(by_class, 1.0, self._dtype)

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Take one pass over ``X``, keeping the weights and the optimiser's state between calls.

        Parameters
        ----------
        X : array-like of shape (n, m)
            Inputs.
        y : array-like of shape (n,), or (n, K) of zeros and ones
            Labels.
        classes : array-like of shape (K,), optional
            All classes that will ever come; needed in the first call unless ``y`` has them all.
        sample_weight : array-like of shape (n,), optional
            Weights of the samples.
        """
        if not hasattr(self, "weights_"):
            labels = validation.check_labels(y)
            everything = labels if classes is None or labels.ndim == 2 else np.asarray(classes)
            self._learn_classes(everything)
        return self._partial_fit(X, y, sample_weight)

    def decision_function(self, X) -> np.ndarray:
        """Return scores (n, K); for two classes the second's lead over the first (n,)."""
        found = self._scores(X)
        if not self._multilabel and len(self.classes_) == 2:
            return found[:, 1] - found[:, 0]
        return found

    @property
    def predict_proba(self):
        """Return probabilities (n, K) float32: a method, absent where the loss gives none."""
        if isinstance(getattr(self, "loss_", self.loss), Hinge) or self.loss == "hinge":
            raise AttributeError(
                "predict_proba expected a loss that models probabilities, got hinge. "
                "Use loss='softmax', or CalibratedClassifierCV around this classifier."
            )
        return self._predict_proba

    @property
    def predict_log_proba(self):
        """Return logarithms of `predict_proba`: a method, absent where that is."""
        probabilities = self.predict_proba

        def predict_log_proba(X) -> np.ndarray:
            with np.errstate(divide="ignore"):
                return np.log(probabilities(X))

        return predict_log_proba

    def _predict_proba(self, X) -> np.ndarray:
        return self._scores(X, probabilities=True)

    _predict_proba.__name__ = "predict_proba"  # scikit-learn's stacking calls it by its name

    def predict(self, X) -> np.ndarray:
        """Return the class of the highest score (n,), or the labels above one half (n, K)."""
        found = self._scores(X)
        if self._multilabel:
            return (found > 0).astype(np.int64)
        return self.classes_[np.argmax(found, axis=1)]

    def score(self, X, y=None, sample_weight=None) -> float:
        """Return the accuracy: the share of rows whose label, or all labels, are right."""
        y, sample_weight = targets_of(X, y, sample_weight)
        right = self.predict(X) == np.asarray(y)
        right = right.all(axis=1) if self._multilabel else right
        return float(np.average(right, weights=sample_weight))

    def __sklearn_tags__(self):
        from sklearn.utils import ClassifierTags

        tags = super().__sklearn_tags__()
        tags.estimator_type = "classifier"
        tags.classifier_tags = ClassifierTags(multi_label=True)
        tags.target_tags.multi_output = False
        return tags


def _tally(labels: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """Return the labels that occur, in how many rows, and the sum of their weights."""
    if labels.ndim == 2:  # an indicator matrix says by itself how many there are
        total = len(labels) if weight is None else weight.sum()
        return labels[:1], np.array([len(labels)]), np.array([float(total)])
    found, index, rows = np.unique(labels, return_inverse=True, return_counts=True)
    return found, rows, np.bincount(index, weight, len(found)).astype(np.float64)
