"""Convolution as one kernel: ``A = pool(σ(P W + b))``, where P holds the patches of X.

With filters ``W`` (i, j, c, k) read as the matrix (i·j·c, k) of their columns, and ``P =
patches(X)`` (n·h'·w', i·j·c), a convolution and its backward rule are those of a dense layer::

    Y = P W + 1 bᵀ        dW = Pᵀ dY        dP = dY Wᵀ        db = dYᵀ 1

and ``dX`` adds up the entries of ``dP`` that came from the same cell, which is again a convolution,
of dY with the filters turned by half a circle. XLA never lays P out: it walks the windows, which
saves i·j times the memory. Only where there are so few channels that its loops are mostly
overhead is the product with patches the faster one.

Convolution, bias, activation and pooling are one function because that is where fusion pays: on a
CPU a native kernel, ``native/convolution.cc``, takes its place in float32 and keeps what lies
between in cache; it is differentiated in reverse only. What follows is its reference.

Source: Goodfellow, Bengio and Courville, Deep Learning, chapter 9; Chellapilla et al. 2006.
"""

from __future__ import annotations

import math
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lamina.functions.activations import ACTIVATIONS
from lamina.kernels import native
from lamina.kernels.patches import PLAIN, SAME, Geometry, Pair, patches
from lamina.kernels.pooling import Pooling, pooled

if TYPE_CHECKING:
    from jaxtyping import Array, Float

FEW_CHANNELS = 2
"""Up to so many input channels the product with patches is faster than XLA's convolution."""

_AXES = ("NHWC", "HWIO", "NHWC")
_LEFT_TO_YNN = ("REDUCE", "INDIVIDUAL_DOT")
_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": ",".join(
        f"LIBRARY_FUSION_TYPE_{kind}" for kind in _LEFT_TO_YNN
    )
}


def convolution(
    X: Float[Array, "n h w c"],
    W: Float[Array, "i j c2 k"],
    b: Float[Array, " k"] | None = None,
    activation: str = "linear",
    geometry: Geometry = PLAIN,
    pooling: Pooling | None = None,
) -> Float[Array, "n h2 w2 k"]:
    """Return ``pool(σ(X ∗ W + b))``.

    Parameters
    ----------
    X : array of shape (n, h, w, c)
        Images.
    W : array of shape (i, j, c / groups, k)
        Filters.
    b : array of shape (k,), or None
        Bias.
    activation : str
        The name of σ, a key of `lamina.functions.activations.ACTIVATIONS`.
    geometry : Geometry
        Stride, padding, dilation and groups.
    pooling : Pooling, optional
        What is pooled after σ.

    Returns
    -------
    array of shape (n, h', w', k)
        See `Geometry.output_size`; then the pooling's. In the dtype of W, in which the product is
        taken.

    Notes
    -----
    As everywhere in deep learning this is the cross-correlation: filters are not turned.
    """
    X = jnp.asarray(X, W.dtype)
    if native.supports_convolution(X, W, b, geometry) and native.is_faster(
        "convolution", *work(X, W, geometry), W.dtype
    ):
        return native.convolution(X, W, b, activation, geometry, pooling)
    return _convolution(X, W, b, activation, geometry, pooling)


def work(X: Any, W: Any, geometry: Geometry) -> tuple[str, int]:
    """Return the kind of a convolution, and its number of multiplications."""
    size = geometry.output_size(X.shape[1:3], W.shape[:2])
    if geometry.groups > 1:
        kind = "groups"
    else:
        kind = "few channels" if W.shape[2] <= FEW_CHANNELS else "many channels"
    return kind, X.shape[0] * math.prod((*size, *W.shape))


def _convolution(X: Any, W: Any, b: Any, activation: Any, geometry: Any, pooling: Any) -> Any:
    """Return what `convolution` does, by XLA."""
    Y = _product(X, W, geometry)
    sigma = ACTIVATIONS[activation]
    if pooling is not None and pooling.kind == "max" and sigma.increasing:
        # The largest of σ(y + b) is σ(the largest y + b): a quarter of the work.
        return sigma(_shifted(pooled(Y, pooling), b))
    A = sigma(_shifted(Y, b))
    return A if pooling is None else pooled(A, pooling)


def _shifted(Y: Any, b: Any) -> Any:
    return Y if b is None else Y + b[None, None, None, :]


def _product(X: Any, W: Any, geometry: Geometry) -> Any:
    """Return ``X ∗ W``."""
    i, j, c, _ = W.shape
    if c <= FEW_CHANNELS and geometry.groups == 1:
        return _product_with_patches(X, W, geometry)
    return jax.lax.conv_general_dilated(
        X,
        W,
        geometry.stride,
        geometry.pads((X.shape[1], X.shape[2]), (i, j)),
        rhs_dilation=geometry.dilation,
        feature_group_count=geometry.groups,
        dimension_numbers=_AXES,
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product_with_patches(X: Any, W: Any, geometry: Geometry) -> Any:
    i, j, c, k = W.shape
    return patches(X, (i, j), geometry) @ W.reshape(i * j * c, k)


def _patches_forward(X, W, geometry):
    return _product_with_patches(X, W, geometry), (X, W)


def _patches_backward(geometry, saved, dY):
    """``dW = Pᵀ dY``, ``dP = dY Wᵀ``: written out, since XLA copies dY to transpose dWᵀ."""
    X, W = saved
    i, j, c, k = W.shape
    P, of_image = jax.vjp(lambda X: patches(X, (i, j), geometry), X)
    rows = dY.reshape(-1, k)
    dW = P.reshape(-1, i * j * c).T @ rows
    dP = rows @ W.reshape(i * j * c, k).T
    return *of_image(dP.reshape(P.shape)), dW.reshape(W.shape)


_product_with_patches.defvjp(_patches_forward, _patches_backward)


def transposed_convolution(
    X: Float[Array, "n h w c"],
    W: Float[Array, "i j c k"],
    b: Float[Array, " k"] | None = None,
    activation: str = "linear",
    geometry: Geometry = PLAIN,
) -> Float[Array, "n h2 w2 k"]:
    """Return ``σ(Y + b)`` with Y as large as an image whose convolution has X's size.

    Each cell of X puts its multiple of the filter into the output, ``stride`` apart: it is the
    backward rule by X of `convolution` (Zeiler et al. 2010; Dumoulin and Visin 2016).

    Parameters
    ----------
    X : array of shape (n, h, w, c)
        Images.
    W : array of shape (i, j, c, k)
        Filters.
    b, activation
        As for `convolution`.
    geometry : Geometry
        Of the convolution that this turns around, without groups.

    Returns
    -------
    array of shape (n, h', w', k)
        See `transposed_size`.
    """
    X = jnp.asarray(X, W.dtype)
    i, j = W.shape[:2]
    reach = geometry.reach((i, j))
    grown = transposed_size((X.shape[1], X.shape[2]), (i, j), geometry)
    pads = geometry.pads(grown, (i, j))
    around = []
    for axis in (0, 1):
        before = reach[axis] - 1 - pads[axis][0]
        spread = (X.shape[1 + axis] - 1) * geometry.stride[axis] + 1
        around.append((before, grown[axis] + reach[axis] - 1 - spread - before))
    Y = jax.lax.conv_general_dilated(
        X,
        W[::-1, ::-1],
        (1, 1),
        around,
        lhs_dilation=geometry.stride,
        rhs_dilation=geometry.dilation,
        dimension_numbers=_AXES,
    )
    return ACTIVATIONS[activation](_shifted(Y, b))


def transposed_size(size: Pair, window: Pair, geometry: Geometry) -> Pair:
    """Return (h', w') after `transposed_convolution` of an image of ``size``.

    ``size · stride`` for "same"; else the smallest image whose convolution has that size.
    """
    if geometry.padding == SAME:
        return size[0] * geometry.stride[0], size[1] * geometry.stride[1]
    pads, reach = geometry.pads(size, window), geometry.reach(window)
    return tuple(  # type: ignore
        (size[a] - 1) * geometry.stride[a] + reach[a] - sum(pads[a]) for a in (0, 1)
    )


@cache
def compiler_options() -> dict[str, str] | None:
    """Return the XLA options under which convolutions are fastest here, None for the usual ones.

    On a CPU, XLA hands convolutions to a library, YNNPACK, whose training step took up to 1.9 times
    as long as XLA's own; the option keeps the library to what it does well: sums, for which XLA's
    loops take 20 times as long, and products. It is experimental: a JAX that does not know it keeps
    its own way.
    """
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(jnp.negative, compiler_options=_OPTIONS).lower(jnp.float32(0)).compile()
    except Exception:  # whatever this version of XLA says about an option that it lacks
        return None
    return _OPTIONS
