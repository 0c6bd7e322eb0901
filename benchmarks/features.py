"""Case (o): features of large images by a known backbone, what tuning a head takes once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from benchmarks.case import Finding, Options, missing
from benchmarks.interleave import Ratio, interleaved, seconds
from benchmarks.prediction import LAMINA, check_scores
from benchmarks.task import SEED

BATCHES = (32, 128)
"""How many images PyTorch takes at once."""

Features = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Extraction:
    """The case: the same weights, drawn at random, for the same images.

    Parameters
    ----------
    name : str
        What ``--only`` calls it.
    architecture : str
        A known one.
    samples, side : int
        How many images, and their height and width.
    """

    name: str
    architecture: str
    samples: int
    side: int

    def measure(self, options: Options) -> Finding:
        """Time all peers in turns."""
        samples, rounds = (8, 1) if options.quick else (self.samples, options.rounds)
        title = f"({self.name}) features of {samples:,} images, {self.architecture}"
        header = ("", "s", "ratio", "min – max", "difference")
        if missing(("torch",)):
            return Finding(title, "PyTorch, which draws the weights, is not installed.", header, ())
        X = np.random.default_rng(SEED).normal(size=(samples, self.side, self.side, 3))
        runs = self.runs(X.astype(np.float32))
        features = {name: run() for name, run in runs.items()}  # the warm-up
        most = abs(features[LAMINA]).max()
        apart = {
            name: float(abs(found - features[LAMINA]).max() / most)
            for name, found in features.items()
        }
        check_scores(title, apart)
        found = interleaved({name: seconds(run) for name, run in runs.items()}, rounds)
        rows = [
            (name, f"{median(times):.1f}", *Ratio.of(times, found[LAMINA]).cells,
             f"{apart[name]:.1e}")
            for name, times in found.items()
        ]  # fmt: skip
        text = (
            f"Images of {self.side}×{self.side}×3, from NumPy to NumPy, by the same random "
            'weights: what `TransferClassifier(tune="head")` computes once and then solves the '
            "scores from. PyTorch in inference mode, in batches and both memory formats. "
            f"{rounds} rounds. *Difference*: the greatest, over the greatest feature."
        )
        return Finding(title, text, header, tuple(rows))

    def runs(self, X: np.ndarray) -> dict[str, Features]:
        """Return the runs of all peers by name."""
        from lamina.models import ARCHITECTURES
        from lamina.models.backbone import of_architecture
        from lamina.models.tuning import features, joined
        from tests.models.torch_references import reference

        module = reference(self.architecture, 10)
        arrays = {name: array.numpy() for name, array in module.state_dict().items()}
        architecture = ARCHITECTURES[self.architecture](10)
        backbone = of_architecture(architecture, *architecture.from_torch(arrays))
        layers = replace(backbone, preprocessing=None).layers(X.shape[1:])
        runs: dict[str, Features] = {LAMINA: partial(features, joined(layers), X)}
        for channels_last in (False, True):
            for batch in BATCHES:
                name = f"PyTorch eager, batches of {batch}"
                name += ", channels_last" if channels_last else ""
                runs[name] = torch_run(module, X, batch, channels_last)
        return runs


def torch_run(module: Any, X: np.ndarray, batch: int, channels_last: bool) -> Features:
    """Return PyTorch's run in batches of ``batch``."""
    import torch

    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    module = deepcopy(module).to(memory_format=memory_format)

    def run() -> np.ndarray:
        made = []
        with torch.inference_mode():
            for part in torch.from_numpy(X).permute(0, 3, 1, 2).split(batch):
                stages = module.stages(part.contiguous(memory_format=memory_format))
                made.append(deque(stages, maxlen=1).pop().mean((2, 3)))
            return torch.cat(made).numpy()

    return run


CASE = Extraction("o", "efficientnet_lite0", 500, 224)
