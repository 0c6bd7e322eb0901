"""Keras' recurrent weights, in and out, as ``layer.get_weights()`` lists them.

=========  =========  ==========================  ================  ==========================
layer      kernel     recurrent_kernel            gates             bias
=========  =========  ==========================  ================  ==========================
SimpleRNN  (m, h)     (h, h)                      one               (h,)
LSTM       (m, 4h)    (h, 4h)                     i, f, c, o        (4h,)
GRU        (m, 3h)    (h, 3h)                     z, r, h           (2, 3h): input's, state's
=========  =========  ==========================  ================  ==========================

The LSTM's gates stand as ours do; the GRU's first two are exchanged. Our GRU is Keras' with
``reset_after=True``, its default; its two rows of biases act as their sum but for the last gate's.
A `Bidirectional` lists the forward layer's three arrays, then the backward layer's.

Source: keras/src/layers/rnn/{lstm,gru,simple_rnn}.py, the method ``call`` of each cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.errors import InputError
from lamina.layers.layer import Weights
from lamina.layers.recurrent import DIRECTIONS, Recurrent

_EXCHANGED = (1, 0, 2)


def from_keras(layer: Recurrent, arrays: Sequence[Any]) -> Weights:
    """Return a layer's weights from Keras' list.

    Parameters
    ----------
    layer : RNN, LSTM or GRU
        With as many units, and the same activation.
    arrays : sequence of array
        ``layer.get_weights()``: kernel, recurrent kernel and, if there is one, bias; of a
        `Bidirectional` both layers', one after the other.

    Raises
    ------
    InputError
        For another number of arrays or other shapes; a GRU's bias (3h,) is one of
        ``reset_after=False``, which we do not have.
    """
    arrays = [np.asarray(array, np.float32) for array in arrays]
    if not layer.bidirectional:
        return _side(layer, arrays)
    half = len(arrays) // 2
    both = zip(DIRECTIONS, (arrays[:half], arrays[half:]), strict=True)
    return {side: _side(layer, part) for side, part in both}


def to_keras(layer: Recurrent, weights: Weights) -> list[np.ndarray]:
    """Return a layer's weights as ``layer.set_weights`` takes them."""
    if layer.initial != "zeros" or layer.reverse:
        raise InputError(
            "Keras' weights expected a layer that reads forward from zeros, got one with "
            f"reverse={layer.reverse}, initial={layer.initial!r}. Set go_backwards=True there."
        )
    if layer.bidirectional:
        return [array for side in DIRECTIONS for array in _listed(layer, weights[side])]
    return _listed(layer, weights)


def _side(layer: Recurrent, arrays: Sequence[np.ndarray]) -> Weights:
    kind, h = type(layer).__name__, layer.units
    if len(arrays) not in (2, 3):
        raise InputError(
            f"{kind} expected kernel, recurrent kernel and bias, in each direction, got "
            f"{len(arrays)} arrays. Pass layer.get_weights()."
        )
    kernel, recurrent = arrays[:2]
    wide = {"gru": 3, "lstm": 4}.get(layer.kind, 1) * h
    rows = 2 if layer.kind == "gru" else 1
    bias = arrays[2] if len(arrays) == 3 else np.zeros((rows, wide), np.float32)
    expected = [("kernel", kernel, (*kernel.shape[:1], wide))]
    expected += [("recurrent kernel", recurrent, (h, wide))]
    expected += [("bias", bias, (2, wide) if rows == 2 else (wide,))] if len(arrays) == 3 else []
    for name, array, shape in expected:
        if array.shape != shape:
            more = ""
            if name == "bias" and array.shape == (wide,):
                more = " That is reset_after=False, whose reset gate comes before the product."
            raise InputError(f"{kind} {name} expected shape {shape}, got {array.shape}.{more}")
    if layer.kind == "gru":
        kernel, recurrent, bias = (_exchanged(array, h) for array in (kernel, recurrent, bias))
    total = bias.reshape(rows, wide).sum(axis=0)
    weights = {"W_x": kernel, "W_h": recurrent, "b": total}
    if layer.kind == "gru":
        weights["b"][2 * h :] = bias[0, 2 * h :]
        weights["b_hn"] = bias[1, 2 * h :].copy()
    return weights


def _listed(layer: Recurrent, weights: Weights) -> list[np.ndarray]:
    if layer.kind != "gru":
        return [weights["W_x"], weights["W_h"], weights["b"]]
    of_state = np.zeros_like(weights["b"])
    of_state[2 * layer.units :] = weights["b_hn"]
    bias = np.stack([weights["b"], of_state])
    return [_exchanged(array, layer.units) for array in (weights["W_x"], weights["W_h"], bias)]


def _exchanged(array: np.ndarray, h: int) -> np.ndarray:
    """Return columns (…, 3h) with the first two gates exchanged."""
    blocks = [array[..., gate * h : (gate + 1) * h] for gate in _EXCHANGED]
    return np.concatenate(blocks, axis=-1)
