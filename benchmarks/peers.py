"""One function a peer: train a dense network with Adam the way its own users write it.

Each takes the task and NumPy arrays, does all that a user's call does, and returns the trained
``[(W, b), …]``. The hand-written loops (PyTorch, JAX) do no more than descend; Lamina, scikit-learn
and skorch also keep account of the loss, as their `fit` always does.
"""

from __future__ import annotations

import warnings
from functools import lru_cache, partial
from typing import Any

import numpy as np

from benchmarks.task import LEARNING_RATE, SEED, Peer, Task, Weights, cores, initial_weights


def fit_lamina(task: Task, X: np.ndarray, y: np.ndarray) -> Weights:
    from lamina import LinearClassifier, MLPClassifier

    settings: dict[str, Any] = {
        "optimizer": "adam",
        "learning_rate": LEARNING_RATE,
        "schedule": "constant",
        "penalty": None,
        "batch_size": task.batch,
        "max_epochs": task.epochs,
        "random_state": SEED,
        "verbose": 0,
    }
    if task.hidden:
        model = MLPClassifier(hidden=task.hidden, **settings)
    else:
        model = LinearClassifier(**settings)
    model.fit(X, y)
    return [(layer["W"], layer["b"]) for layer in model.weights_.values()]


def fit_scikit_learn(task: Task, X: np.ndarray, y: np.ndarray) -> Weights:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        task.hidden,
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


def _torch_module(task: Task, features: int) -> Any:
    import torch

    torch.set_num_threads(cores())
    torch.manual_seed(SEED)
    layers: list[Any] = []
    for W, b in initial_weights(task, features):
        layer = torch.nn.utils.skip_init(torch.nn.Linear, *W.shape)
        layer.weight.data.copy_(torch.from_numpy(W.T))
        layer.bias.data.copy_(torch.from_numpy(b))
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def _torch_weights(module: Any) -> Weights:
    return [(x.weight.detach().numpy().T, x.bias.detach().numpy()) for x in module[::2]]


def fit_torch(task: Task, X: np.ndarray, y: np.ndarray, **adam: Any) -> Weights:
    import torch

    module = _torch_module(task, X.shape[1])
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE, **adam)
    criterion = torch.nn.CrossEntropyLoss()
    inputs, targets = torch.from_numpy(X), torch.from_numpy(y)
    for _ in range(task.epochs):
        for rows in torch.randperm(len(inputs)).split(task.batch):
            optimizer.zero_grad()
            scores = module(inputs.index_select(0, rows))
            criterion(scores, targets.index_select(0, rows)).backward()
            optimizer.step()
    return _torch_weights(module)


def fit_skorch(task: Task, X: np.ndarray, y: np.ndarray) -> Weights:
    import torch
    from skorch import NeuralNetClassifier

    net = NeuralNetClassifier(
        _torch_module(task, X.shape[1]),
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
    return _torch_weights(net.fit(X, y).module_)


@lru_cache
def _jax_programs() -> tuple[Any, Any, Any]:
    """Return the optimiser, a compiled step, and compiled steps over the rows of ``order``."""
    import jax
    import optax

    adam = optax.adam(LEARNING_RATE)

    def mean_loss(weights, X, y):
        *hidden, (W, b) = weights
        A = X
        for V, c in hidden:
            A = jax.nn.relu(A @ V + c)
        return optax.softmax_cross_entropy_with_integer_labels(A @ W + b, y).mean()

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

    adam, step, steps = _jax_programs()
    weights = jax.device_put(initial_weights(task, X.shape[1]))
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
    return [(np.asarray(W), np.asarray(b)) for W, b in carry[0]]


_TORCH, _JAX = ("torch",), ("jax", "optax")
LAMINA = Peer(
    "Lamina", "Lamina", ("lamina.estimators.perceptron", "lamina.estimators.linear"), fit_lamina
)
PEERS = (
    Peer(
        "scikit-learn MLPClassifier",
        "scikit-learn",
        ("sklearn.neural_network",),
        fit_scikit_learn,
        linear=False,
    ),
    Peer("PyTorch eager, Adam", "PyTorch eager", _TORCH, fit_torch),
    Peer(
        "PyTorch eager, Adam(fused=True)", "PyTorch eager", _TORCH, partial(fit_torch, fused=True)
    ),
    Peer("skorch NeuralNetClassifier", "skorch", ("torch", "skorch"), fit_skorch),
    Peer("JAX + optax, jitted steps", "JAX + optax", _JAX, partial(fit_jax, scan=False)),
    Peer("JAX + optax, lax.scan an epoch", "JAX + optax", _JAX, partial(fit_jax, scan=True)),
)
KINDS = tuple(dict.fromkeys(peer.kind for peer in PEERS))
