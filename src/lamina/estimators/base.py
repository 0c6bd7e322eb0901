"""What every network estimator does: check, build a network, run the loop, keep the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import numpy as np

from lamina.errors import InputError, check_number
from lamina.estimators import by_parts, validation
from lamina.estimators.contract import Estimator
from lamina.estimators.resuming import Resumption
from lamina.estimators.weighing import Weighing
from lamina.formats.checkpoints import Checkpoint
from lamina.functions.losses import LOSSES, Loss, loss
from lamina.functions.penalties import penalty
from lamina.layers.layer import Layer, Shape, Weights, in_order
from lamina.placement import Devices, over, to_numpy
from lamina.training.batches import BLOCK_STEPS, ArraySource, Source
from lamina.training.callbacks import (
    Callback,
    EarlyStopping,
    Record,
    ReduceOnPlateau,
    StopAtMinimum,
    fresh_copy,
)
from lamina.training.loop import Descent, Objective, Run, evaluate_parts, scores
from lamina.training.metrics import METRICS
from lamina.training.optimizers import Optimizer, optimizer
from lamina.training.precision import computing_in, dtype_of, in_precision, warn_if_not_had
from lamina.training.progress import ProgressBar, on_a_terminal
from lamina.training.schedules import PLATEAU, Schedule, schedule
from lamina.training.state import TrainingState, fresh_state, no_totals
from lamina.training.watch import watched_by

if TYPE_CHECKING:
    import optax

    from lamina.formats.encoders import Encoder
    from lamina.inspection.plan import Plan
    from lamina.models.backbone import Backbone

AUTO = "auto"
STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 10_000, 20, 200
"""How long a fit with ``max_epochs=None`` is: about so many steps, within these bounds."""

TUNING_STEPS = 1500
"""About how long a network that was changed is trained on."""

LBFGS_STEPS = 1000
"""Its most steps; L-BFGS stops earlier where the gradient is down to rounding."""


@dataclass(kw_only=True, eq=False, repr=False)
class NetworkEstimator(Estimator):
    """A network behind ``fit`` and ``predict``.

    Subclasses say which network (`_network`) and what targets are (`_fit_targets`,
    `_known_targets`).

    Parameters
    ----------
    loss : str or Loss
        A key of `lamina.functions.losses.LOSSES`, a loss with its own settings, or ``"auto"``.
    penalty : {"l1", "l2", "elastic_net"} or None
        On weight matrices, not on biases; a layer's own comes first.
    alpha : float >= 0
        The penalty's strength; the objective is mean loss + penalty.
    l1_ratio : float in [0, 1]
        The share of L1 in ``"elastic_net"``.
    optimizer : str or optax.GradientTransformation
        One of gd, sgd, momentum, nesterov, rmsprop, adam, adamw, muon, lbfgs; or any optax
        transformation, which then brings its own learning rate.
    learning_rate : float > 0, optional
        The base rate; None is the optimiser's usual one.
    schedule : str or callable
        constant, cosine, one_cycle, exponential or plateau; or a function from progress (an array
        in [0, 1]) to a factor.
    clip_norm : float > 0, optional
        Scale gradients down to this global norm.
    average_weights : float in (0, 1), optional
        Keep a moving average of the weights, such as 0.999 of itself from step to step, and take it
        for validation and as the result of `fit`.
    batch_size : int, optional
        Samples a step; None is 128. Full-batch optimisers (gd, lbfgs) take all samples.
    max_epochs : int, optional
        Passes over the data; None is about 10,000 steps, at least 20 and at most 200 passes.
    early_stopping : int, optional
        Stop when the validation loss has not improved for so many epochs, and keep the best
        weights. Without ``validation_data`` a share of the training data is held out.
    validation_fraction : float in [0, 1)
        That share.
    callbacks : sequence of Callback or functions, optional
        See `lamina.training.callbacks`; a function is given each epoch's record and may return
        True to stop.
    warm_start : bool
        Whether `fit` starts from the present weights.
    encoder : Encoder, optional
        Turns raw input (a table with text and gaps, ``uint8`` images) into the matrix X, and
        travels with the model; see `lamina.formats.encoders`.
    precision : {"float32", "float64", "bfloat16"}
        What is computed in. float64 takes at least twice the time. bfloat16 is for accelerators
        and CPUs with AMX: matrix products in it, all else and the weights themselves in float32;
        any other CPU warns and computes in float32.
    checkpoint : str, Path or Checkpoint, optional
        A folder in which the run is kept as it goes. A fit of the same settings on the same data
        goes on from what it finds there, with the same result, bit for bit, as if it had never
        stopped; SIGTERM leaves a last checkpoint. See `lamina.Checkpoint`.
    devices : "all", int or (int, int), optional
        Over how many devices to train: each takes its rows of every minibatch, and the result is
        that of one device but for rounding. ``(data, model)`` also splits large matrices, over so
        many; see `lamina.placement`. None is one device.
    random_state : int, NumPy generator or None
        Seeds initial weights, order and dropout; the same seed gives the same result.
    verbose : int
        0 is silent; otherwise a progress bar, if standard error is a terminal.

    Attributes
    ----------
    weights_ : nested dict of arrays
        By layer: ``weights_["dense_0"]["W"]``.
    network_ : Layer
        The network that was trained.
    history_ : dict of list
        Per epoch: loss, the metric, val_…, learning_rate, gradient_norm, seconds. The loss is the
        mean over samples without the penalty; rate and gradient norm are the last step's.
    watched_ : dict
        What a `lamina.Watch` among the callbacks has recorded of each matrix in the last fit.
    interrupted_ : bool
        Whether Ctrl-C ended the last fit.
    trained_on_ : TrainedOn
        Where `lamina fit` trained it: by what its data are known again, and the rows held out.
    n_features_in_ : int
        Columns of X; for samples that are arrays, the numbers of one.
    input_shape_ : tuple of int
        One sample's shape as it enters the network.
    target_names_ : tuple of str, or None
        The names of y's columns where it came from pandas.
    """

    loss: str | Loss = AUTO
    penalty: str | None = None
    alpha: float = 1e-4
    l1_ratio: float = 0.5
    optimizer: str | optax.GradientTransformation = "adam"
    learning_rate: float | None = None
    schedule: str | Schedule = "constant"
    clip_norm: float | None = None
    average_weights: float | None = None
    batch_size: int | None = None
    max_epochs: int | None = None
    early_stopping: int | None = None
    validation_fraction: float = 0.1
    callbacks: Sequence[Callback | Callable] | None = None
    warm_start: bool = False
    encoder: Encoder | None = None
    precision: str = "float32"
    checkpoint: str | Path | Checkpoint | None = None
    devices: Devices = None
    random_state: Any = None
    verbose: int = 1
    _any_rank: ClassVar[bool] = False
    """Whether samples may be arrays, such as images, and not only rows of numbers."""
    _streams: ClassVar[bool] = True
    """Whether it trains on data that come piece by piece."""

    @property
    def _dtype(self) -> type[np.floating]:
        return dtype_of(self.precision)

    # What a subclass says

    @property
    def _outputs(self) -> int:
        """Scores a sample."""
        raise NotImplementedError

    def _network(self, input_shape: Shape, outputs: int) -> Layer:
        raise NotImplementedError

    def _fit_targets(self, y: Any, weight: np.ndarray | None = None) -> np.ndarray:
        """Learn what targets are, and return them as the loss takes them."""
        raise NotImplementedError

    def _known_targets(self, y: Any) -> np.ndarray:
        """Return targets as the loss takes them, by what was learned."""
        raise NotImplementedError

    def _class_weights(self, targets: np.ndarray, weight: np.ndarray | None) -> np.ndarray | None:
        return weight

    def _survey(self, parts: Iterable[tuple], learn: bool) -> Weighing:
        """Go once over all targets and weights of a stream; learn what targets are if ``learn``."""
        raise NotImplementedError

    def _learn_of_first(self, y: Any, classes: Any) -> None:
        """Learn what targets are from the first of many batches."""
        raise NotImplementedError

    def _batch_weighing(self) -> Weighing:
        """Return how the rows of batches are weighed, of which nothing is known before."""
        return Weighing(None, 1.0, self._dtype)

    def _usual_loss(self, targets: np.ndarray) -> str:
        raise NotImplementedError

    @property
    def _target(self) -> str:
        """The kind of targets that the loss must take; see `Loss.target`."""
        raise NotImplementedError

    def _learned(self) -> dict[str, Any]:
        """Return what was learned of targets, as plain JSON values."""
        raise NotImplementedError

    def _adopt(self, learned: dict[str, Any]) -> None:
        """Take what `_learned` returned, every entry checked."""
        raise NotImplementedError

    # Fitting

    def fit(self, X, y=None, sample_weight=None, validation_data=None, classes=None):
        """Train on ``X`` and ``y``, or on a stream that holds both.

        Parameters
        ----------
        X : array-like of shape (n, m), what the encoder takes, Stream, or iterable of batches
            Inputs; converted to ``precision``. A stream (`lamina.formats.stream`) is read from disk
            as it is trained on. A batch is a tuple ``(X, y)`` or ``(X, y, sample_weight)``; an
            iterable that can be walked only once is enough for one epoch.
        y : array-like of shape (n,) or (n, k)
            Targets; left out where ``X`` brings them.
        sample_weight : array-like of shape (n,), optional
            Weights of the samples in the loss; only their ratios matter.
        validation_data : tuple (X, y) or (X, y, sample_weight), or Stream, optional
            Evaluated after each epoch, never trained on.
        classes : array-like of shape (K,), optional
            For batches: all classes that will ever come.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For unusable data or parameters.
        DivergenceError
            If numbers stop being finite; the estimator keeps the last good weights.
        """
        with computing_in(self.precision), over(self.devices):
            with self._unchanged_on_error():
                vars(self).pop("trained_on_", None)
                if by_parts.come_by_parts(X, y):
                    run = by_parts.prepare(self, X, sample_weight, validation_data, classes)
                else:
                    _no_classes(classes)
                    run = self._prepare(X, y, sample_weight, validation_data)
            self._run(run)
        return self

    @contextmanager
    def _unchanged_on_error(self) -> Iterator[None]:
        """Leave the estimator as it was if what it is given cannot be used."""
        before = dict(vars(self))
        try:
            yield
        except Exception:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _prepare(self, X, y, sample_weight, validation_data) -> Run:
        self._check_numbers()
        continuing = self.warm_start and hasattr(self, "weights_")
        X = self._matrix(X, reset=not continuing)
        if not continuing:
            self.input_shape_ = X.shape[1:]
        weight = validation.check_weights(sample_weight, len(X), self._dtype)
        validation.check_rows_agree(X, y)
        targets = self._known_targets(y) if continuing else self._fit_targets(y, weight)
        self.target_names_ = _names_of(y)
        validation.check_same_length(X, targets)
        held_out = self._validation(validation_data)
        seed, resumption = self._seed()
        if held_out is None and self.early_stopping is not None:
            X, targets, weight, held_out = self._hold_out(X, targets, weight, seed)
        if not continuing:
            self.history_: dict[str, list[float]] = {}
            self._build(X, targets, weight, seed)
        descent = self._descent(len(X), partial=False)
        source = self._source(X, targets, weight, descent, seed)
        run = self._run_over(
            source, descent, seed, None if held_out is None else lambda: [held_out]
        )
        if resumption is not None:
            before = self.weights_ if continuing else None
            resumption.attach(run, self, seed, X, targets, weight, held_out, before)
        return run

    def _run_over(
        self, source: Source, descent: Descent, seed: int, held_out: Callable[[], Iterable] | None
    ) -> Run:
        """Return the run over a source, not begun; ``held_out`` returns what to validate on."""
        state = fresh_state(
            self.weights_, self.statistics_, descent.optimizer, seed, descent.average is not None
        )
        watchers = self._watchers()
        if descent.optimizer.name == "lbfgs":
            usual = LBFGS_STEPS
            watchers.append(StopAtMinimum())
        else:
            usual = self._usual_epochs(source.steps_per_epoch)
        epochs = self.max_epochs or usual
        objective = self._objective()

        def measured(state: TrainingState) -> Record:
            assert held_out is not None, "asked only where there is something to validate on"
            return evaluate_parts(objective, state.served, state.statistics, held_out())

        at_epoch = None if held_out is None else measured
        return Run(objective, descent, state, source, epochs, at_epoch, watchers)

    def _seed(self) -> tuple[int, Resumption | None]:
        """Return the run's seed, and where the run is kept; a run that goes on has its old seed."""
        seed = validation.seed_from(self.random_state)
        if self.checkpoint is None:
            return seed, None
        resumption = Resumption(self.checkpoint)
        return resumption.seed(seed), resumption

    def _partial_fit(self, X, y, sample_weight):
        """Take one pass over ``X``, from the present weights and, if it is still the same
        optimiser, its present state.
        """
        with computing_in(self.precision), over(self.devices):
            with self._unchanged_on_error():
                run = self._prepare_pass(X, y, sample_weight)
            self._run(run)
            self._paused = self.optimizer, run.state
        return self

    def _prepare_pass(self, X, y, sample_weight) -> Run:
        self._check_numbers()
        first = not hasattr(self, "weights_")
        X = self._matrix(X, reset=first)
        targets = self._known_targets(y)
        validation.check_same_length(X, targets)
        weight = validation.check_weights(sample_weight, len(X), self._dtype)
        if first:
            seed = validation.seed_from(self.random_state)
            self.history_ = {}
            self._build(X, targets, weight, seed)
        descent = self._descent(len(X), partial=True)
        paused_with, state = getattr(self, "_paused", None) or (None, None)
        if state is None or paused_with != self.optimizer:
            seed = validation.seed_from(self.random_state)
            state = fresh_state(self.weights_, self.statistics_, descent.optimizer, seed)
        state = replace(
            state,
            weights=self.weights_,
            statistics=self.statistics_,
            batch=np.int32(0),  # an interrupted pass is over: these are other data
            totals=no_totals(self._dtype),
        )
        source = self._source(X, targets, weight, descent, int(state.key[1]))
        epochs = int(state.epoch) + 1
        watchers = self._watchers(partial=True)
        return Run(self._objective(), descent, state, source, epochs, None, watchers)

    def _check_numbers(self) -> None:
        warn_if_not_had(self.precision)
        for name in ("learning_rate", "clip_norm"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0)
        for name in ("batch_size", "max_epochs", "early_stopping"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), at_least=1, whole=True)
        if self.average_weights is not None:
            check_number("average_weights", self.average_weights, above=0, below=1)
        check_number("validation_fraction", self.validation_fraction, at_least=0, below=1)

    def _matrix(self, X: Any, *, reset: bool) -> np.ndarray:
        """Return raw input as the array (n, ...) that the network takes."""
        if self.encoder is None:
            check = validation.check_samples if self._any_rank else validation.check_matrix
            return check(self, X, self._dtype, reset=reset)
        if reset:
            self.encoder_ = self.encoder.fit(X)
            self.n_features_in_ = self.encoder_.input_width
        return self.encoder_.transform(X).astype(self._dtype, copy=False)

    def _build(
        self, X: np.ndarray, targets: np.ndarray, weight: np.ndarray | None, seed: int
    ) -> None:
        """Make the network and its initial weights."""
        self.input_shape_ = input_shape = tuple(X.shape[1:])
        self.loss_ = loss(self._usual_loss(targets) if self.loss == AUTO else self.loss)
        self._check_loss(targets)
        self.network_ = self._network(input_shape, self._outputs)
        found = self.network_.output_shape(input_shape, "network")
        if found != (self._outputs,):
            raise InputError(
                f"The network expected to end in {self._outputs} scores a sample, as y asks, got "
                f"samples of shape {found}. End it with Dense({self._outputs})."
            )
        rng = np.random.default_rng(seed)
        self.weights_: Weights
        self.statistics_: Weights
        initial = self.network_.initialize(rng, input_shape)
        self._adapt(initial[1], X, weight)
        self.weights_, self.statistics_ = jax.tree.map(lambda W: W.astype(self._dtype), initial)

    def _adapt(self, statistics: Weights, X: np.ndarray, weight: np.ndarray | None) -> None:
        """Set statistics that are learned from the data before the first step."""

    def _check_loss(self, targets: np.ndarray) -> None:
        wanted = loss(self._usual_loss(targets)).target
        if self.loss_.target != wanted:
            fitting = [name for name, kind in LOSSES.items() if kind.target == wanted]
            raise InputError(
                f"loss expected one of {', '.join(fitting)} for these targets ({wanted}), "
                f"got {self.loss!r}."
            )

    def _objective(self) -> Objective:
        strength = penalty(self.penalty, self.alpha, self.l1_ratio)
        metric = METRICS[self.loss_.target]
        return Objective(self._computed, self.loss_, metric, strength, self._mixup)

    @property
    def _computed(self) -> Layer:
        """The network in the precision that is computed in."""
        return in_precision(self.network_, self.precision)

    @property
    def _mixup(self) -> float:
        """The strength of mixup."""
        return 0.0

    def _descent(self, samples: int, *, partial: bool) -> Descent:
        method = optimizer(self._optimizer_name(samples, partial=partial))
        rate = self._usual_rate(method) if self.learning_rate is None else self.learning_rate
        shape = schedule("constant" if partial else self.schedule)
        average = None if partial else self.average_weights
        return Descent(method, float(rate), shape, self.clip_norm, average)

    def _usual_epochs(self, steps: int) -> int:
        """Return how many passes a fit takes where the user names none."""
        return int(np.clip(-(-STEPS // steps), FEWEST_EPOCHS, MOST_EPOCHS))

    def _usual_rate(self, method: Optimizer) -> float:
        return method.learning_rate

    def _optimizer_name(self, samples: int, *, partial: bool) -> Any:
        return self.optimizer

    def _source(self, X, targets, weight, descent: Descent, seed: int) -> Source:
        """Return where minibatches come from."""
        weight = self._class_weights(targets, weight)
        return self._array_source(X, targets, weight, descent, seed)

    def _array_source(self, X, targets, weight, descent: Descent, seed: int) -> ArraySource:
        batch = None if descent.optimizer.full_batch else self.batch_size or 128
        steps = 1 if self.network_.convolves else BLOCK_STEPS
        return ArraySource.of(X, targets, weight, batch_size=batch, seed=seed, block_steps=steps)

    def _takes(self, input_shape: Shape) -> bool:
        """Whether samples of this shape are what the encoder or the features make."""
        encoder = getattr(self, "encoder_", None)
        width = self.n_features_in_ if encoder is None else len(encoder.output_names)
        return math.prod(input_shape) == width

    def _validation(self, data: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None] | None:
        if data is None:
            return None
        if not isinstance(data, tuple | list) or len(data) not in (2, 3):
            raise InputError(
                "validation_data expected a tuple (X, y) or (X, y, sample_weight), "
                f"got {type(data).__name__}."
            )
        X = self._matrix(data[0], reset=False)
        targets = self._known_targets(data[1])
        validation.check_same_length(X, targets)
        weight = data[2] if len(data) == 3 else None
        return X, targets, validation.check_weights(weight, len(X), self._dtype)

    def _hold_out(self, X, targets, weight, seed: int):
        """Split off the validation fraction at random, evenly over the classes."""
        rng = np.random.default_rng((seed, 1))
        stratum = targets if targets.ndim == 1 else np.zeros(len(X))
        order = np.lexsort((rng.random(len(X)), stratum))
        share = np.arange(len(X) + 1) * self.validation_fraction
        taken = np.diff(np.floor(share)) > 0
        train, test = order[~taken], order[taken]
        if not len(test):
            raise InputError(
                f"early_stopping expected at least one row to hold out, got {len(X)} rows at "
                f"validation_fraction={self.validation_fraction}. Pass validation_data."
            )
        parts = [None if weight is None else weight[rows] for rows in (train, test)]
        held_out = (X[test], targets[test], parts[1])
        return X[train], targets[train], parts[0], held_out

    def _watchers(self, *, partial: bool = False) -> list[Callback]:
        watchers = [fresh_copy(callback) for callback in self.callbacks or ()]
        if self.early_stopping is not None and not partial:
            watchers.append(EarlyStopping(self.early_stopping))
        if self.schedule == PLATEAU and not partial:
            watchers.append(ReduceOnPlateau())
        return watchers + self._progress()

    def _progress(self) -> list[Callback]:
        return [ProgressBar()] if self.verbose and on_a_terminal() else []

    def _run(self, run: Run) -> None:
        """Train, and keep what there is however it ends."""
        try:
            run.train()
        finally:
            run.state = _to_numpy(run.state)
            self.interrupted_ = run.interrupted
            self._paused: tuple[Any, TrainingState] | None = None
            self._keep(run.state.served, run.state.statistics)
            for name, values in run.history.items():
                self.history_.setdefault(name, []).extend(values)
            vars(self).pop("watched_", None)
            if (watched := watched_by(run.callbacks)) is not None:
                self.watched_ = watched

    def _keep(self, weights: Weights, statistics: Weights) -> None:
        """Take weights and statistics, from the first layer to the last."""
        shapes = self.network_.weight_shapes(self.input_shape_)
        self.weights_, self.statistics_ = map(in_order, (weights, statistics), shapes)

    # Using

    def _check_fitted(self) -> None:
        if not hasattr(self, "weights_"):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError(
                f"This {type(self).__name__} is not fitted yet. Call fit before predicting."
            )

    def _scores(self, X: Any, *, probabilities: bool = False) -> np.ndarray:
        """Return scores (n, K), or the loss's probabilities of them."""
        self._check_fitted()
        link = self.loss_ if probabilities else None
        if by_parts.come_by_parts(X, None):
            with computing_in(self.precision):
                return by_parts.scores(self, X, link)
        matrix = self._matrix(X, reset=False)
        with computing_in(self.precision):
            return scores(self._computed, self.weights_, self.statistics_, matrix, link)

    def evaluate(self, X, y=None, sample_weight=None) -> dict[str, float]:
        """Return the mean loss and the metric on data, by their names in ``history_``.

        ``X`` may be a stream or an iterable of batches, as in `fit`; ``y`` is then left out.

        Raises
        ------
        ValueError
            For unusable data, labels unseen in training among it.
        """
        self._check_fitted()
        with computing_in(self.precision):
            parts: Any
            if by_parts.come_by_parts(X, y):
                parts = by_parts.parts(self, X, sample_weight)
            else:
                parts = [self._validation((X, y, sample_weight))]
            return evaluate_parts(self._objective(), self.weights_, self.statistics_, parts)

    def plan(self, X, y, sample_weight=None) -> tuple[Plan, int]:
        """Return what `fit` would cost, and its steps at most; nothing is trained or changed.

        Returns
        -------
        plan : Plan
            See `lamina.inspection.plan`.
        steps : int
            Epochs times steps an epoch.

        Raises
        ------
        ValueError
            For unusable data or parameters, as in `fit`.
        """
        from lamina.inspection.plan import plan

        before = dict(vars(self))
        try:
            with computing_in(self.precision):
                self.checkpoint = None
                run = self._prepare(X, y, sample_weight, None)
            costs = plan(
                self.network_, self.input_shape_, run.source.batch_size, run.descent.optimizer
            )
        finally:
            vars(self).clear()
            vars(self).update(before)
        return costs, run.epochs * run.source.steps_per_epoch

    def as_trained(self, X, y) -> tuple[Layer, Loss, Weights, Weights, Any, np.ndarray]:
        """Return network, loss, weights, statistics, and ``X``, ``y`` as they enter training.

        What `lamina.inspection` looks at.
        """
        self._check_fitted()
        X, targets, _ = self._validation((X, y))  # type: ignore
        return self._computed, self.loss_, self.weights_, self.statistics_, X, targets

    def around(
        self,
        network: Layer,
        weights: Weights,
        statistics: Weights,
        X: Any,
        y: Any,
        epochs: int | None = None,
    ):
        """Return a fitted copy around another network, trained on for some epochs.

        Parameters
        ----------
        network : Layer
            From the same samples to as many scores.
        weights, statistics : nested dict of arrays
            Its own.
        X, y : arrays
            As `as_trained` returns them.
        epochs : int, optional
            How long, 0 for not at all; None is about 1,500 steps, in 3 to 50 epochs. The learning
            rate falls to 0 along a cosine from half of the estimator's, or of the optimiser's usual
            one if that is less.
        """
        other = copy(self)
        vars(other).pop("watched_", None)
        other.network_, other.history_ = network, {k: list(v) for k, v in self.history_.items()}
        other._keep(weights, statistics)
        if epochs != 0:
            with computing_in(self.precision):
                # Not a subclass's own, which may be by stages of the network that it had.
                descent = NetworkEstimator._descent(other, len(X), partial=False)
                rate = min(descent.learning_rate, descent.optimizer.learning_rate) / 2
                descent = replace(
                    descent, learning_rate=rate, schedule=schedule("cosine"), average=None
                )
                state = fresh_state(other.weights_, other.statistics_, descent.optimizer, seed=0)
                source = other._source(X, y, None, descent, seed=0)
                usual = int(np.clip(-(-TUNING_STEPS // source.steps_per_epoch), 3, 50))
                epochs = usual if epochs is None else epochs
                shown = self._progress()
                run = Run(other._objective(), descent, state, source, epochs, callbacks=shown)
                other._run(run)
                if run.interrupted:
                    raise KeyboardInterrupt
        return other

    def compressed(self, X, y, budget: float = 0.25, method: str = AUTO, epochs: int | None = None):
        """Return a smaller fitted model; see `lamina.inspection.compress`.

        Parameters
        ----------
        X, y
            Data as `fit` takes them; never those to test on.
        budget : float in (0, 1)
            The share of the numbers that it may have.
        method : {"auto", "svd", "units", "prune"}
            How; auto takes what measures best.
        epochs : int, optional
            How long the smaller network is trained on; None is about 1,500 steps.
        """
        from lamina.inspection.compression import compress

        return compress(self, X, y, budget, method, epochs).model

    def as_backbone(self, drop: int = 1) -> Backbone:
        """Return the network without its last layers, for `TransferClassifier` to train on from.

        Parameters
        ----------
        drop : int
            How many of the last layers with a matrix to leave out.
        """
        from lamina.estimators.backbones import backbone_of

        return backbone_of(self, drop)

    def save(self, path: str | Path) -> None:
        """Write the fitted model to one ``.safetensors`` file; read it with `lamina.load`.

        The file holds weights, constructor parameters, what was learned of the data and the
        history. A callback, an optax transformation or a generator is not data and is left out.
        """
        from lamina.estimators.persistence import save

        save(self, path)


def _no_classes(classes: Any) -> None:
    if classes is not None:
        raise InputError(
            f"classes expected batches, whose labels are not known before training, got "
            f"{classes!r} beside arrays or a stream. Leave it out."
        )


def _names_of(y: Any) -> tuple[str, ...] | None:
    """Return the names of a pandas Series or DataFrame's columns, None for anything else."""
    if hasattr(y, "columns"):
        return tuple(map(str, y.columns))
    name = getattr(y, "name", None)
    return None if name is None else (str(name),)


def _to_numpy(state: TrainingState) -> TrainingState:
    return jax.tree.map(to_numpy, state)
