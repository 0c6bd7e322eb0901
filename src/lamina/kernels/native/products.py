"""The native convolution as products of matrices, ``native/products.cc``: where channels are deep.

Winograd's algorithm takes 4/9 of the multiplications of 3×3 filters, and gives up two or three bits
of the result's 24; patches take as many as there are, but in larger matrices than the windows of a
small image are.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from lamina.kernels.native.library import NONE, call, or_none, static
from lamina.kernels.patches import Geometry


class Form(NamedTuple):
    """What one call of the C++ kernel does: ``σ(X ∗ W + b)``.

    Parameters
    ----------
    geometry : Geometry
        With explicit padding, without groups.
    relu : bool
        Whether σ is relu; else it is linear.
    winograd : bool
        Whether by Winograd's algorithm, for filters 3×3 at every place; else by patches, for whole
        vectors of channels.
    """

    geometry: Geometry
    relu: bool
    winograd: bool

    def attributes(self) -> dict[str, Any]:
        """Return what the C++ kernel is told."""
        return {**place(self.geometry), "relu": self.relu, "winograd": self.winograd}


def place(geometry: Geometry) -> dict[str, Any]:
    """Return what every C++ convolution is told of where its windows stand."""
    (top, _), (left, _) = geometry.padding
    return {"stride": geometry.stride, "dilation": geometry.dilation, "origin": (top, left)}


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def convolve(form: Form, X: Any, W: Any, b: Any) -> Any:
    """Return ``σ(X ∗ W + b)``."""
    size = form.geometry.output_size(X.shape[1:3], W.shape[:2])
    A = jax.ShapeDtypeStruct((X.shape[0], *size, W.shape[3]), jnp.float32)
    return call("products_forward", A, X, W, or_none(b), **form.attributes())


def _forward(form, X, W, b):
    wants = static(X.perturbed), static(W.perturbed), static(b is not None and b.perturbed)
    X, W, b = (a if a is None else a.value for a in (X, W, b))
    A = convolve(form, X, W, b)
    return A, (X, W, A if form.relu else None, wants)


def _backward(form, saved, dA):
    X, W, A, wants = saved
    if isinstance(dA, SymbolicZero):
        return None, None, None
    shapes = X.shape, W.shape, W.shape[3:]
    results = [
        jax.ShapeDtypeStruct(NONE if want is None else shape, jnp.float32)
        for shape, want in zip(shapes, wants, strict=True)
    ]
    found = call("products_backward", results, X, W, or_none(A), dA, **form.attributes())
    return tuple(None if want is None else d for d, want in zip(found, wants, strict=True))


convolve.defvjp(_forward, _backward, symbolic_zeros=True)
