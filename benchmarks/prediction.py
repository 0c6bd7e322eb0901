"""Case (i): scores of many images by a trained convolutional network."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import numpy as np

from benchmarks.case import Finding, Options, missing
from benchmarks.interleave import Ratio, interleaved, seconds
from benchmarks.networks import CASES, Training
from benchmarks.peers import lamina_model, torch_module
from benchmarks.task import Network, Weights

LAMINA = "Lamina"
BATCHES = (None, 256, 1000)
"""How many images PyTorch takes at once; None is all."""

TOLERANCE = 1e-4
"""The most by which a peer's scores may differ from Lamina's."""

Predict = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Prediction:
    """The case: Lamina trains for one epoch, then all score the same images by its weights.

    Parameters
    ----------
    name : str
        What ``--only`` calls it.
    training : Training
        The network, and the data to train it on; its ``samples`` are those of the training.
    samples : int
        How many images are scored.
    """

    name: str
    training: Training
    samples: int

    def measure(self, options: Options) -> Finding:
        """Time all peers in turns."""
        samples = self.samples // 10 if options.quick else self.samples
        rounds = 1 if options.quick else options.rounds
        X, y, source = replace(self.training, samples=samples).data(options.data)
        few, task = slice(self.training.samples), replace(self.training.task, epochs=1)
        model = lamina_model(task).fit(X[few], y[few])
        weights = task.network.lamina_weights(model)
        runs: dict[str, Predict] = {LAMINA: partial(model.decision_function, X)}
        if not missing(("torch",)):
            runs |= torch_runs(task.network, weights, X)
        scores = {name: run() for name, run in runs.items()}  # the warm-up
        apart = {name: float(abs(found - scores[LAMINA]).max()) for name, found in scores.items()}
        title = f"({self.name}) prediction, {task.network.title(X.shape[1:])}"
        check_scores(title, apart)
        found = interleaved({name: seconds(run) for name, run in runs.items()}, rounds)
        rows = [
            (name, f"{1e3 * median(times):,.1f}", *Ratio.of(times, found[LAMINA]).cells,
             f"{apart[name]:.1e}")
            for name, times in found.items()
        ]  # fmt: skip
        if missing(("torch",)):
            rows.append(("PyTorch eager", "not installed", "", "", ""))
        text = (
            f"Scores of {len(X):,} images at once, from NumPy to NumPy ({source}), by the network "
            f"that Lamina has trained on the first {len(X[few]):,} for one epoch. Lamina by "
            "`decision_function`; PyTorch under `torch.inference_mode()` with the same weights, in "
            f"one batch and in smaller ones. {rounds} rounds. *Difference*: the greatest between "
            f"a score and Lamina's; the run stops beyond {TOLERANCE}."
        )
        header = ("", "ms", "ratio", "min – max", "difference")
        return Finding(title, text, header, tuple(rows))


def torch_runs(network: Network, weights: Weights, X: np.ndarray) -> dict[str, Predict]:
    """Return PyTorch's runs by name, in both memory formats."""
    runs: dict[str, Predict] = {}
    for channels_last in (False, True):
        for batch in BATCHES:
            size = f"batches of {batch}" if batch else "one batch"
            name = f"PyTorch eager, {size}" + (", channels_last" if channels_last else "")
            runs[name] = torch_run(network, weights, X, batch or len(X), channels_last)
    return runs


def torch_run(
    network: Network, weights: Weights, X: np.ndarray, batch: int, channels_last: bool
) -> Predict:
    """Return PyTorch's run in batches of ``batch``."""
    import torch

    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    module = torch_module(network, weights, X.shape[1:]).to(memory_format=memory_format).eval()

    def run() -> np.ndarray:
        with torch.inference_mode():
            inputs = network.torch_inputs(X).contiguous(memory_format=memory_format)
            return torch.cat([module(part) for part in inputs.split(batch)]).numpy()

    return run


def check_scores(title: str, apart: dict[str, float]) -> None:
    """Stop where a peer scores other than Lamina: it has another network."""
    for name, difference in apart.items():
        if not difference < TOLERANCE:
            sys.exit(
                f"{title} expected scores within {TOLERANCE} of Lamina's, got {difference:.1e} "
                f"from {name}. Are their networks the same?"
            )


CASE = Prediction("i", CASES["h"], 10_000)
