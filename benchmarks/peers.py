"""One function a peer: train a network with Adam the way its own users write it.

Each takes the task and NumPy arrays, does all that a user's call does, and returns the trained
weights. The hand-written loops (PyTorch, JAX) do no more than descend; Lamina, scikit-learn
and skorch also keep account of the loss, as their `fit` always does.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from benchmarks.emulation import compute_in_bfloat16
from benchmarks.perceptron import Perceptron
from benchmarks.task import LEARNING_RATE, SEED, Network, Peer, Shape, Task, Weights, cores


def lamina_model(task: Task, precision: str = "float32") -> Any:
    """Return Lamina's estimator, not fitted."""
    return task.network.lamina(
        precision=precision,
        optimizer="adam",
        learning_rate=LEARNING_RATE,
        schedule="constant",
        penalty=None,
        batch_size=task.batch,
        max_epochs=task.epochs,
        random_state=SEED,
        verbose=0,
    )


def fit_lamina(task: Task, X: np.ndarray, y: np.ndarray) -> Weights:
    return task.network.lamina_weights(lamina_model(task).fit(X, y))


def fit_lamina_in_half(task: Task, X: np.ndarray, y: np.ndarray) -> Weights:
    """As `fit_lamina` in bfloat16, emulated where the processor lacks it: not to be timed."""
    compute_in_bfloat16()
    return task.network.lamina_weights(lamina_model(task, "bfloat16").fit(X, y))


def fit_scikit_learn(task: Task, X: np.ndarray, y: np.ndarray) -> Weights:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    assert isinstance(task.network, Perceptron), "it trains no other networks"
    model = MLPClassifier(
        task.network.hidden,
        alpha=0,
        batch_size=task.batch,
        learning_rate_init=LEARNING_RATE,
        max_iter=task.epochs,
        n_iter_no_change=task.epochs + 1,
        tol=0,
        random_state=SEED,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    return list(zip(model.coefs_, model.intercepts_, strict=True))


def torch_module(network: Network, weights: Weights, sample: Shape) -> Any:
    """Return a module with these weights, all cores at work."""
    import torch

    torch.set_num_threads(cores())
    torch.manual_seed(SEED)
    return network.torch(weights, sample)


def _torch_start(task: Task, sample: Shape) -> Any:
    return torch_module(task.network, task.network.initial(sample), sample)


def fit_torch(
    task: Task, X: np.ndarray, y: np.ndarray, *, channels_last: bool = False, **adam: Any
) -> Weights:
    import torch

    network, sample = task.network, X.shape[1:]
    module, inputs = _torch_start(task, sample), network.torch_inputs(X)
    if channels_last:
        module.to(memory_format=torch.channels_last)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        gather = inputs.__getitem__  # index_select would give channels first
    else:
        gather = partial(torch.index_select, inputs.contiguous(), 0)
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE, **adam)
    criterion = torch.nn.CrossEntropyLoss()
    targets = torch.from_numpy(y)
    for _ in range(task.epochs):
        for rows in torch.randperm(len(inputs)).split(task.batch):
            optimizer.zero_grad()
            criterion(module(gather(rows)), targets.index_select(0, rows)).backward()
            optimizer.step()
    return network.torch_weights(module, sample)


def fit_skorch(task: Task, X: np.ndarray, y: np.ndarray) -> Weights:
    import torch
    from skorch import NeuralNetClassifier

    net = NeuralNetClassifier(
        _torch_start(task, X.shape[1:]),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=LEARNING_RATE,
        max_epochs=task.epochs,
        batch_size=task.batch,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks="disable",
        verbose=0,
    )
    return task.network.torch_weights(net.fit(X, y).module_, X.shape[1:])


@lru_cache
def _jax_programs(network: Network) -> tuple[Any, Any, Any]:
    """Return the optimiser, a compiled step, and compiled steps over the rows of ``order``."""
    import jax
    import optax

    adam = optax.adam(LEARNING_RATE)

    def mean_loss(weights, X, y):
        scores = network.jax(weights, X)
        return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()

    def step(carry, X, y, rows):
        weights, moments = carry
        gradients = jax.grad(mean_loss)(weights, X[rows], y[rows])
        updates, moments = adam.update(gradients, moments)
        return optax.apply_updates(weights, updates), moments

    def steps(carry, X, y, order):
        return jax.lax.scan(lambda c, rows: (step(c, X, y, rows), None), carry, order)[0]

    return adam, jax.jit(step, donate_argnums=0), jax.jit(steps, donate_argnums=0)


def fit_jax(task: Task, X: np.ndarray, y: np.ndarray, *, scan: bool) -> Weights:
    import jax

    adam, step, steps = _jax_programs(task.network)
    weights = jax.device_put(task.network.initial(X.shape[1:]))
    carry = weights, adam.init(weights)
    inputs, targets = jax.device_put((X, y.astype(np.int32)))
    rng = np.random.default_rng(SEED)
    whole = len(X) - len(X) % task.batch
    for _ in range(task.epochs):
        order = rng.permutation(len(X)).astype(np.int32)
        if scan:
            carry = steps(carry, inputs, targets, order[:whole].reshape(-1, task.batch))
            rest = [order[whole:]] if whole < len(X) else []
        else:
            rest = np.split(order, range(task.batch, len(X), task.batch))
        for rows in rest:
            carry = step(carry, inputs, targets, rows)
    return [tuple(np.asarray(array) for array in layer) for layer in carry[0]]


_TORCH, _JAX = ("torch",), ("jax", "optax")
LAMINA = Peer(
    "Lamina",
    "Lamina",
    ("lamina.estimators.perceptron", "lamina.estimators.linear", "lamina.estimators.network"),
    fit_lamina,
)
LAMINA_IN_HALF = replace(LAMINA, name="Lamina, bfloat16", fit=fit_lamina_in_half)
SCIKIT_LEARN = Peer(
    "scikit-learn MLPClassifier",
    "scikit-learn",
    ("sklearn.neural_network",),
    fit_scikit_learn,
    linear=False,
)


def _torch_peer(name: str, **how: Any) -> Peer:
    return Peer(f"PyTorch eager, {name}", "PyTorch eager", _TORCH, partial(fit_torch, **how))


TORCH = (_torch_peer("Adam"), _torch_peer("Adam(fused=True)", fused=True))
CHANNELS_LAST = (
    _torch_peer("Adam, channels_last", channels_last=True),
    _torch_peer("Adam(fused=True), channels_last", channels_last=True, fused=True),
)
SKORCH = Peer("skorch NeuralNetClassifier", "skorch", ("torch", "skorch"), fit_skorch)
JAX_STEPS = Peer("JAX + optax, jitted steps", "JAX + optax", _JAX, partial(fit_jax, scan=False))
JAX_SCAN = Peer("JAX + optax, lax.scan an epoch", "JAX + optax", _JAX, partial(fit_jax, scan=True))

PEERS = (SCIKIT_LEARN, *TORCH, SKORCH, JAX_STEPS, JAX_SCAN)
"""Who trains dense networks."""
IMAGE_PEERS = (*TORCH, *CHANNELS_LAST, JAX_STEPS)
"""Who trains convolutional networks: on a CPU, XLA's convolution is slow inside a scan."""
DEEP_PEERS = (TORCH[1], CHANNELS_LAST[1])
"""Who trains deep convolutional networks in bearable time: a step of XLA's is very slow."""
SEQUENCE_PEERS = (*TORCH, JAX_STEPS)
"""Who trains recurrent networks."""
KINDS = tuple(dict.fromkeys(peer.kind for peer in PEERS))
