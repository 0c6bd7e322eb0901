"""The native convolution: that of `lamina.kernels.convolution`, run by two C++ kernels.

Both make ``pool(σ(X ∗ W + b))`` with σ linear or relu and pooling by windows that tile the image.
``native/convolution.cc`` takes all shapes, tap by tap; ``native/products.cc`` makes products of
matrices, by Winograd's algorithm or of patches, of those shapes where that is faster. What is asked
beyond that is put after it: another increasing σ after max pooling, which commutes with it; any
other σ, and pooling by windows that overlap, after the sums. In bfloat16
``native/half_convolution.cc`` does all that the first one does.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from lamina.functions.activations import ACTIVATIONS
from lamina.kernels.native.library import NONE, call, named, or_none, static
from lamina.kernels.patches import VALID, Geometry, Pair
from lamina.kernels.pooling import pooled

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from lamina.kernels.pooling import Pooling

WHOLE = 16
"""The floats of the longest vector: products of matrices are of so many channels, or a multiple."""
MANY_CELLS = 256
"""Cells of X ∗ W from which on Winograd's algorithm was the faster one: its filters are made anew
in each call."""
MANY_TILES, LESS_WORK = 128, 0.8
"""Tiles of 4×4 results from which on they were faster than those of 2×2, whose filters are made
sooner, and the most of their multiplications, some of them for cells beyond the image."""
MANY_WEIGHTS = 1 << 17
"""Of filters that are read for each row of a small image again: from half a megabyte on, products
with patches, which read them for some dozens of windows at once, were the faster ones."""
WINOGRADS = (2, 2)
"""The pooling windows that Winograd's tiles are made of."""
NARROW = 16
"""Filters of a group, a tile's columns: groups of fewer are convolved in float32."""
INSIDE = ("linear", "relu")
"""The activations that the C++ kernels know."""
MOST_CELLS, MOST_GIVERS = 255, 8
"""Of a pooling window: a winner's place is saved in a byte, and one value of it says none; of a
mean after relu, a bit says which cells gave to it."""


class Call(NamedTuple):
    """What one call of the C++ kernel does: ``pool(σ(X ∗ W + b))``.

    Parameters
    ----------
    geometry : Geometry
        With explicit padding.
    relu : bool
        Whether σ is relu; else it is linear.
    window : pair of int
        Of pooling that tiles; (1, 1) for none.
    average : bool
        Whether means are taken; else maxima.
    side : int or None
        By products of matrices: the results a side of Winograd's tiles, 2 or 4, for 3×3 filters at
        every place and windows of (1, 1) or (2, 2); 0 for patches, for whole vectors of channels
        without pooling. None for sums over taps.
    """

    geometry: Geometry
    relu: bool
    window: Pair = (1, 1)
    average: bool = False
    side: int | None = None

    @property
    def pools(self) -> bool:
        """Tell whether it pools."""
        return self.window != (1, 1)

    def output_shape(self, X: Any, W: Any) -> tuple[int, ...]:
        """Return the shape (n, h', w', k) of the result."""
        size = self.geometry.output_size(X.shape[1:3], W.shape[:2])
        cells = (size[axis] // self.window[axis] for axis in (0, 1))
        return (X.shape[0], *cells, W.shape[3])

    def attributes(self) -> dict[str, Any]:
        """Return what the C++ kernel is told."""
        (top, _), (left, _) = self.geometry.padding
        return {
            "stride": self.geometry.stride,
            "dilation": self.geometry.dilation,
            "origin": (top, left),
            "window": self.window,
            "groups": self.geometry.groups,
            "relu": self.relu,
            "average": self.average,
            **({} if self.side is None else {"side": self.side}),
        }

    def kernel(self, direction: str, X: Any) -> str:
        """Return the name of the C++ kernel for a direction, ``forward`` or ``backward``."""
        return (
            named(f"convolution_{direction}", X) if self.side is None else f"products_{direction}"
        )


def supports(X: Any, W: Any, b: Any, geometry: Geometry) -> bool:
    """Tell whether `convolution` takes these: of one dtype, and a window fits into the image."""
    size = geometry.output_size(X.shape[1:3], W.shape[:2])
    return (
        all(a is None or jnp.result_type(a) == W.dtype for a in (X, W, b))
        and min(size) >= 1
        and X.shape[3] == W.shape[2] * geometry.groups
        and W.shape[3] % geometry.groups == 0
    )


def convolution(
    X: Float[Array, "n h w c"],
    W: Float[Array, "i j c2 k"],
    b: Float[Array, " k"] | None,
    activation: str,
    geometry: Geometry,
    pooling: Pooling | None,
) -> Float[Array, "n h2 w2 k"]:
    """Return ``pool(σ(X ∗ W + b))``; see `lamina.kernels.convolution.convolution`."""
    if W.dtype == jnp.bfloat16 and geometry.groups > 1 and W.shape[3] < NARROW * geometry.groups:
        b = None if b is None else b.astype(jnp.float32)
        X, wide = X.astype(jnp.float32), W.astype(jnp.float32)
        A = convolution(X, wide, b, activation, geometry, pooling)
        return A.astype(W.dtype)
    sigma = ACTIVATIONS[activation]
    pads = geometry.pads((X.shape[1], X.shape[2]), (W.shape[0], W.shape[1]))
    inside = activation in INSIDE
    todo = Call(geometry._replace(padding=pads), activation == "relu")
    if pooling is not None:
        todo = _pooling_too(todo, X, W, activation, pooling)
    todo = todo._replace(side=_side(todo, X, W))
    A: Any = convolve(todo, X, W, b)
    later = None if todo.pools else pooling
    if later is not None and later.kind == "max" and sigma.increasing and not inside:
        return sigma(pooled(A, later))
    A = A if inside else sigma(A)
    return A if later is None else pooled(A, later)


def _side(todo: Call, X: Any, W: Any) -> int | None:
    """Return by which products of matrices a convolution is faster than by its taps, or None."""
    (stride, _, dilation, groups), (i, j, c, k) = todo.geometry, W.shape
    if todo.window not in ((1, 1), WINOGRADS) or groups != 1 or c % WHOLE or W.dtype != jnp.float32:
        return None
    n, down, right, _ = todo.output_shape(X, W)
    down, right = down * todo.window[0], right * todo.window[1]
    cells = n * down * right
    if (i, j) == (3, 3) and stride == dilation == (1, 1) and k >= WHOLE and cells >= MANY_CELLS:
        small, large = (n * -(-down // side) * -(-right // side) for side in (2, 4))
        return 4 if large >= MANY_TILES and 36 * large <= LESS_WORK * 16 * small else 2
    return None if todo.pools or W.size < MANY_WEIGHTS else 0


def _pooling_too(todo: Call, X: Any, W: Any, activation: str, pooling: Pooling) -> Call:
    """Return the call that pools too, or ``todo`` where the C++ kernel cannot or had better not."""
    cells = math.prod(pooling.window)
    if tuple(pooling.window) != tuple(pooling.stride) or cells == 1:
        return todo
    if pooling.padding not in (VALID, ((0, 0), (0, 0))):
        return todo
    if pooling.kind == "max":
        suits = ACTIVATIONS[activation].increasing and cells <= MOST_CELLS
    else:  # XLA's means after products of matrices are faster than these after the taps
        few = cells <= MOST_GIVERS or not todo.relu
        inside = tuple(pooling.window) == WINOGRADS or _side(todo, X, W) is None
        suits = activation in INSIDE and few and inside
    both = todo._replace(window=pooling.window, average=pooling.kind != "max")
    fits = 0 not in both.output_shape(X, W)[1:3]  # else there is nothing to pool
    return both if suits and fits else todo


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def convolve(todo: Call, X: Any, W: Any, b: Any) -> Any:
    """Return ``pool(σ(X ∗ W + b))`` by one call of a C++ kernel."""
    return _convolved(todo, X, W, b, keep=False)[0]


def _convolved(todo, X, W, b, keep):
    """Return A, and with ``keep`` the winners' places or the givers, where something is pooled."""
    shape = todo.output_shape(X, W)
    keep = keep and todo.pools and (todo.relu or not todo.average)
    results = (
        jax.ShapeDtypeStruct(shape, X.dtype),
        jax.ShapeDtypeStruct(shape if keep else NONE, jnp.uint8),
    )
    return call(todo.kernel("forward", X), results, X, W, or_none(b, X.dtype), **todo.attributes())


def _forward(todo, X, W, b):
    wants = static(X.perturbed), static(W.perturbed or (b is not None and b.perturbed))
    X, W, b = (a if a is None else a.value for a in (X, W, b))
    A, places = _convolved(todo, X, W, b, keep=True)
    seen = A if todo.relu and not todo.pools else None
    return A, (X, W, static(b is not None), seen, places, wants)


def _backward(todo, residuals, dA):
    X, W, has_b, A, places, wants = residuals
    wants_dX, wants_dW, has_b = (flag is not None for flag in (*wants, has_b))
    if isinstance(dA, SymbolicZero):
        return None, None, None
    shapes = X.shape if wants_dX else NONE, W.shape if wants_dW else NONE
    shapes += (W.shape[3:] if has_b else NONE,)
    results = [jax.ShapeDtypeStruct(shape, X.dtype) for shape in shapes]
    arguments = X, W, or_none(A, X.dtype), places, dA
    dX, dW, db = call(todo.kernel("backward", X), results, *arguments, **todo.attributes())
    return (dX if wants_dX else None), (dW if wants_dW else None), (db if has_b else None)


convolve.defvjp(_forward, _backward, symbolic_zeros=True)
