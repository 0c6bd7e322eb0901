"""Known architectures, their weights in PyTorch's files, and how to train on from them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from lamina.models.architecture import Architecture, Maker, Preprocessing
from lamina.models.efficientnet_lite0 import efficientnet_lite0
from lamina.models.mobilenet_v2 import mobilenet_v2
from lamina.models.resnet import resnet18, resnet34, resnet50

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Preprocessing",
    "efficientnet_lite0",
    "mobilenet_v2",
    "recognised",
    "resnet18",
    "resnet34",
    "resnet50",
]

ARCHITECTURES: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (efficientnet_lite0, mobilenet_v2, resnet18, resnet34, resnet50)
}


@lru_cache(1)
def _known() -> list[tuple[str, set[tuple[str, tuple[int, ...]]]]]:
    """Return each architecture's names and shapes, but the scores', in each library."""
    from lamina.models.torch_names import places

    found = []
    for name, maker in ARCHITECTURES.items():
        architecture = maker()
        for library in architecture.names:
            arrays = {(p.theirs, p.shape) for p in places(architecture, library)[:-2]}
            found.append((name, arrays))
    return found


def recognised(arrays: Mapping[str, np.ndarray]) -> Architecture | None:
    """Return the architecture whose weights these mostly are, with its scores; None for none.

    Parameters
    ----------
    arrays : mapping of str to array
        By PyTorch's names.
    """
    given = {(name, tuple(array.shape)) for name, array in arrays.items()}

    def likeness(row: tuple[str, set]) -> float:
        return len(row[1] & given) / len(row[1] | given)

    best = max(_known(), key=likeness)
    if likeness(best) < 0.3:
        return None
    made = ARCHITECTURES[best[0]]
    last = [f"{names[-1]}.weight" for names in made().names.values()]
    outputs = next((arrays[name].shape[0] for name in last if name in arrays), None)
    return made() if outputs is None else made(outputs)
