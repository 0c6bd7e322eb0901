"""A network's weights by PyTorch's names and shapes, in and out.

==============  ====================================  ========================================
layer           ours                                  PyTorch's
==============  ====================================  ========================================
Dense           W (m, k), b                           weight (k, m), bias
Conv            W (window, c, k), b                   weight (k, c, window), bias
ConvTranspose   W (window, c, k), b                   weight (c, k, window), bias
BatchNorm       gain, shift, mean, variance           weight, bias, running_mean, running_var
LayerNorm       gain, shift                           weight, bias
Embedding       W (codes, width)                      weight (codes, width)
RNN, LSTM, GRU  W_x (m, g·h), W_h (h, g·h), b, b_hn   weight_ih_l0 (g·h, m), weight_hh_l0,
                                                      bias_ih_l0, bias_hh_l0, …_reverse
==============  ====================================  ========================================

The gates stand in the same order. PyTorch has two biases, which act as their sum but for the GRU's
last, which the reset gate multiplies: ``b_hn``. After `Flatten` PyTorch counts channels first, so
the rows of the next `Dense` are reordered.

Sources: the documentation of torch.nn.LSTM, GRU, RNN, Linear, Conv2d and BatchNorm2d.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from lamina.errors import FileFormatError, InputError
from lamina.layers.composite import Composite
from lamina.layers.convolution import Conv1D, Conv2D, ConvTranspose1D, ConvTranspose2D
from lamina.layers.dense import Dense
from lamina.layers.embedding import Embedding
from lamina.layers.layer import Layer, Shape, Weights
from lamina.layers.normalization import BatchNorm, LayerNorm, Standardize
from lamina.layers.pointwise import Flatten
from lamina.layers.recurrent import DIRECTIONS, Recurrent

Arrays = dict[str, np.ndarray]
_LEVEL = re.compile(r"(?:weight|bias)_[ih]h_l(\d+)(?:_reverse)?")
_COUNTER = "num_batches_tracked"
_SCALED = {"weight": "gain", "bias": "shift"}
_RUNNING = {"running_mean": "mean", "running_var": "variance"}


class Leaf(NamedTuple):
    """A layer with weights, and where it stands.

    Parameters
    ----------
    path : str
        Its path in the network, as ``body/dense_0``.
    layer : Layer
        Itself.
    shape : tuple of int
        One sample's shape as it reaches the layer.
    image : tuple of int, or None
        The samples' shape before the `Flatten` in front of it.
    """

    path: str
    layer: Layer
    shape: Shape
    image: Shape | None


def leaves(network: Layer, shape: Shape, path: str = "") -> Iterator[Leaf]:
    """Yield the layers that have weights, in order; `Standardize` has none that PyTorch knows."""
    image = None
    parts = network.wired(shape) if isinstance(network, Composite) else [(path, network, shape)]
    for name, part, reached in parts:
        where = f"{path}/{name}" if path and isinstance(network, Composite) else name
        if isinstance(part, Composite):
            yield from leaves(part, reached, where)
            image = None
        elif isinstance(part, Flatten):
            image = reached if len(reached) > 1 else image
        elif any(part.weight_shapes(reached)) and not isinstance(part, Standardize):
            yield Leaf(where or part.kind, part, reached, image)
            image = None


def to_torch(network: Layer, weights: Weights, statistics: Weights, shape: Shape) -> Arrays:
    """Return the weights by PyTorch's names: each layer a module named by its path.

    Parameters
    ----------
    network : Layer
        Of `lamina.layers`.
    weights, statistics : dict
        The network's.
    shape : tuple of int
        One sample's shape.
    """
    named = {}
    for leaf in leaves(network, shape):
        own = _at(weights, leaf, network), _at(statistics, leaf, network)
        for key, array in _module(leaf, *own).items():
            named[f"{leaf.path.replace('/', '.')}.{key}"] = array
    return named


def from_torch(
    network: Layer, shape: Shape, arrays: Mapping[str, Any], names: Mapping[str, str] | None = None
) -> tuple[Weights, Weights]:
    """Return weights and statistics from a state dict.

    Parameters
    ----------
    network : Layer
        Of `lamina.layers`; its layers with weights meet the file's modules in order, or by name
        where the names are the same.
    shape : tuple of int
        One sample's shape.
    arrays : mapping of str to array
        From `lamina.formats.read_weights`.
    names : mapping of str to str, optional
        For each path in the network the module's name; ``lstm[1]`` is the second layer of a stacked
        module.

    Raises
    ------
    FileFormatError
        For names that are missing or left over, and shapes that differ.
    """
    found = list(leaves(network, shape))
    modules = _modules(arrays)
    chosen = _chosen(found, list(modules), names)
    weights, statistics = network.initialize(np.random.default_rng(0), shape)
    expected: dict[str, tuple[int, ...]] = {}
    for leaf in found:
        own = _at(weights, leaf, network), _at(statistics, leaf, network)
        keys = modules.get(chosen[leaf.path], {})
        for key, array in _module(leaf, *own).items():
            optional = key == _COUNTER or (isinstance(leaf.layer, Recurrent) and "bias" in key)
            if key in keys or not optional:
                expected[keys.get(key, f"{chosen[leaf.path]}.{key}")] = array.shape
    _check(expected, arrays)
    for leaf in found:
        keys = modules[chosen[leaf.path]]
        module = {key: np.asarray(arrays[name], np.float32) for key, name in keys.items()}
        _take(leaf, module, _at(weights, leaf, network), _at(statistics, leaf, network))
    return weights, statistics


def _modules(arrays: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return, by module and level of a stack, what each array is in it and its whole name."""
    modules: dict[str, dict[str, str]] = {}
    for name in arrays:
        module, _, key = name.rpartition(".")
        level = _LEVEL.fullmatch(key)
        if level is not None:
            number = int(level[1])
            key = key.replace(f"_l{number}", "_l0", 1)
            module = f"{module}[{number}]" if number else module
        modules.setdefault(module, {})[key] = name
    return modules


def _chosen(
    found: list[Leaf], modules: list[str], names: Mapping[str, str] | None
) -> dict[str, str]:
    """Return the module of each layer."""
    paths = [leaf.path for leaf in found]
    told = {path: name.removesuffix("[0]") for path, name in (names or {}).items()}
    strange = [path for path in told if path not in paths]
    if strange:
        raise InputError(
            f"names expected paths of layers with weights ({', '.join(paths)}), got {strange[0]!r}."
        )
    same = {path: path.replace("/", ".") for path in paths}
    if set(same.values()) <= set(modules):
        return same | told
    rest = [path for path in paths if path not in told]
    free = [module for module in modules if module not in told.values()]
    if len(rest) != len(free):
        raise FileFormatError(
            f"The file expected a module for each layer with weights, {_counted(rest)}; got "
            f"{_counted(free)}. Say which is which in the layout's names."
        )
    return told | dict(zip(rest, free, strict=True))


def _counted(names: list[str]) -> str:
    more = ", …" if len(names) > 5 else ""
    return f"{len(names)} ({', '.join(name or '(no name)' for name in names[:5])}{more})"


def _check(expected: Mapping[str, tuple[int, ...]], arrays: Mapping[str, Any]) -> None:
    missing = [name for name in expected if name not in arrays]
    unexpected = [name for name in arrays if name not in expected]
    if missing or unexpected:
        wrong = [("missing", missing), ("unexpected", unexpected)]
        told = [f"{word} {_counted(names)}" for word, names in wrong if names]
        raise FileFormatError(
            f"The file expected the {len(expected)} arrays of its layers, got "
            f"{' and '.join(told)}. Change the layout, or its names."
        )
    for name, shape in expected.items():
        if np.shape(arrays[name]) != shape:
            raise FileFormatError(
                f"{name} expected shape {shape}, as the layout has it, got "
                f"{np.shape(arrays[name])}. Change the layout."
            )


def _at(tree: Weights, leaf: Leaf, network: Layer) -> Weights:
    """Return a layer's own arrays; empty where it has none."""
    for name in leaf.path.split("/") if isinstance(network, Composite) else ():
        tree = tree.get(name, {})
    return tree


def _module(leaf: Leaf, weights: Weights, statistics: Weights) -> Arrays:
    """Return a layer's arrays as the module has them."""
    layer = leaf.layer
    if isinstance(layer, Recurrent):
        return _recurrent_module(leaf, weights)
    if isinstance(layer, BatchNorm | LayerNorm):
        found = {key: weights[ours] for key, ours in _SCALED.items()}
        if isinstance(layer, BatchNorm):
            found |= {key: statistics[ours] for key, ours in _RUNNING.items()}
            found[_COUNTER] = np.array(0, np.int64)
        return found
    found = {"weight": _turned(leaf, weights["W"])}
    return found | ({"bias": weights["b"]} if "b" in weights else {})


def _take(leaf: Leaf, module: Arrays, weights: Weights, statistics: Weights) -> None:
    """Put a module's arrays into a layer's."""
    layer = leaf.layer
    if isinstance(layer, Recurrent):
        _take_recurrent(layer, module, weights)
    elif isinstance(layer, BatchNorm | LayerNorm):
        weights.update({ours: module[key] for key, ours in _SCALED.items()})
        if isinstance(layer, BatchNorm):
            statistics.update({ours: module[key] for key, ours in _RUNNING.items()})
    else:
        weights["W"] = np.ascontiguousarray(_turned_back(leaf, module["weight"]))
        if "b" in weights:
            weights["b"] = module["bias"]


def _turned(leaf: Leaf, W: np.ndarray) -> np.ndarray:
    if isinstance(leaf.layer, Dense):
        if leaf.image is not None:  # rows (h, w, c) to (c, h, w)
            cube = W.reshape(*leaf.image, W.shape[1])
            W = np.moveaxis(cube, -2, 0).reshape(W.shape)
        return W.T
    if isinstance(leaf.layer, Conv1D | Conv2D):
        return np.moveaxis(W, (-1, -2), (0, 1))
    if isinstance(leaf.layer, ConvTranspose1D | ConvTranspose2D):
        return np.moveaxis(W, (-2, -1), (0, 1))
    if isinstance(leaf.layer, Embedding):
        return W
    raise InputError(
        f"PyTorch's names expected layers that PyTorch has, got {leaf.path}: "
        f"{type(leaf.layer).__name__}. Leave it out."
    )


def _turned_back(leaf: Leaf, weight: np.ndarray) -> np.ndarray:
    if isinstance(leaf.layer, Dense):
        W = weight.T
        if leaf.image is not None:
            *sides, channels = leaf.image
            cube = W.reshape(channels, *sides, W.shape[1])
            W = np.moveaxis(cube, 0, -2).reshape(math.prod(leaf.image), -1)
        return W
    if isinstance(leaf.layer, Conv1D | Conv2D):
        return np.moveaxis(weight, (0, 1), (-1, -2))
    if isinstance(leaf.layer, ConvTranspose1D | ConvTranspose2D):
        return np.moveaxis(weight, (0, 1), (-2, -1))
    return weight


def _sides(layer: Recurrent, weights: Weights) -> list[tuple[str, Any]]:
    if not layer.bidirectional:
        return [("", weights)]
    return list(zip(("", "_reverse"), (weights[side] for side in DIRECTIONS), strict=True))


def _recurrent_module(leaf: Leaf, weights: Weights) -> Arrays:
    layer = leaf.layer
    assert isinstance(layer, Recurrent), "asked for recurrent layers alone"
    if layer.initial != "zeros" or layer.reverse:
        raise InputError(
            f"PyTorch's names expected a layer that reads forward from zeros, got {leaf.path} with "
            f"reverse={layer.reverse}, initial={layer.initial!r}. Export it as ONNX instead."
        )
    module = {}
    for suffix, own in _sides(layer, weights):
        of_state = np.zeros_like(own["b"])
        if "b_hn" in own:
            of_state[2 * layer.units :] = own["b_hn"]
        module[f"weight_ih_l0{suffix}"] = own["W_x"].T
        module[f"weight_hh_l0{suffix}"] = own["W_h"].T
        module[f"bias_ih_l0{suffix}"] = own["b"]
        module[f"bias_hh_l0{suffix}"] = of_state
    return module


def _take_recurrent(layer: Recurrent, module: Mapping[str, Any], weights: Weights) -> None:
    for suffix, own in _sides(layer, weights):
        own["W_x"] = module[f"weight_ih_l0{suffix}"].T.copy()
        own["W_h"] = module[f"weight_hh_l0{suffix}"].T.copy()
        none = np.zeros_like(own["b"])
        of_input = module.get(f"bias_ih_l0{suffix}", none)
        of_state = module.get(f"bias_hh_l0{suffix}", none)
        own["b"] = of_input + of_state
        if "b_hn" in own:
            last = slice(2 * layer.units, None)
            own["b"][last], own["b_hn"] = of_input[last], of_state[last].copy()
