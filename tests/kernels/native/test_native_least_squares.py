"""The native solver against its reference, for any number of columns."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from lamina.kernels import native
from lamina.kernels.least_squares import _solve_diagonal as reference

pytestmark = pytest.mark.skipif(
    not native.is_active(), reason=f"native kernels are not in use: {native.explanation()}"
)


def operands(counts, k, d, weighted, seed=0):
    rng = np.random.default_rng(seed)
    indices = [rng.permutation(k)[:count] for count in counts]
    entries, n = sum(counts), len(counts)
    arrays = {
        "Y": rng.normal(size=(k, d)),
        "weight": rng.uniform(0.5, 2, entries) if weighted else None,
        "rhs": rng.normal(size=entries),
        "ridge": rng.uniform(0.5, 2, n),
        "p": rng.uniform(0.5, 2, d),
        "q": rng.uniform(0.5, 2, d),
        "start": None,
    }
    floats = {
        name: None if array is None else jnp.asarray(array, jnp.float32)
        for name, array in arrays.items()
    }
    indices = jnp.asarray(np.concatenate([*indices, []]), jnp.int32)
    return floats | {"indptr": np.append(0, np.cumsum(counts)), "indices": indices}


def in_float64(arguments):
    """Solve row by row with NumPy."""
    Y, r, ridge, p, q = (
        np.asarray(arguments[name], np.float64) for name in ("Y", "rhs", "ridge", "p", "q")
    )
    w = np.ones(len(r)) if arguments["weight"] is None else np.asarray(arguments["weight"])
    X = np.zeros((len(ridge), Y.shape[1]))
    for u in range(len(X)):
        row = slice(*arguments["indptr"][u : u + 2])
        P = Y[np.asarray(arguments["indices"])[row]]
        A = (P.T * w[row]) @ P + np.diag(p + ridge[u] * q)
        X[u] = np.linalg.solve(A, P.T @ r[row])
    return X


@settings(max_examples=12, deadline=None)
@given(
    counts=st.lists(st.integers(0, 50), max_size=6),
    d=st.integers(1, 33),
    weighted=st.booleans(),
    solver=st.sampled_from(["exact", "cg"]),
)
def test_any_number_of_columns_and_entries(counts, d, weighted, solver):
    arguments = operands(counts, 50, d, weighted)
    X = native.solve_diagonal(**arguments, solver=solver, steps=4 * d)
    expected = in_float64(arguments)
    assert_allclose(X, expected, rtol=0, atol=1e-4 * np.abs(expected).max(initial=1e-6))


@pytest.mark.parametrize("solver", ["exact", "cg"])
def test_few_steps_are_the_references(solver):
    arguments = operands([3, 0, 14, 7, 16], 50, 20, weighted=True)
    start = np.random.default_rng(1).normal(size=(5, 20))
    arguments["start"] = jnp.asarray(start, jnp.float32)
    ours = native.solve_diagonal(**arguments, solver=solver, steps=2)
    theirs = reference(**arguments, solver=solver, steps=2)
    assert_allclose(ours, theirs, rtol=0, atol=2e-5 * np.abs(theirs).max())


def test_rows_larger_than_a_panel():
    """A panel holds 2¹⁸ numbers: this row comes in three parts, at each step anew."""
    arguments = operands([3000, 10], 3000, 200, weighted=True)
    expected = in_float64(arguments)
    for solver in ("exact", "cg"):
        X = native.solve_diagonal(**arguments, solver=solver, steps=100)
        assert_allclose(X, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_a_singular_row_gets_one_of_its_solutions():
    """Two entries, four unknowns, no ridge: what is asked for is met, and nothing is infinite."""
    arguments = operands([2], 2, 4, weighted=False)
    arguments |= {"p": jnp.zeros(4), "q": jnp.zeros(4)}
    X = np.asarray(native.solve_diagonal(**arguments, solver="exact", steps=0))
    products = np.asarray(arguments["Y"])[np.asarray(arguments["indices"])] @ X[0]
    assert_allclose(products, arguments["rhs"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("wrong", [{"indices": jnp.array([0, 9], jnp.int32)},
                                   {"indptr": np.array([0, 3])}])  # fmt: skip
def test_does_not_read_beyond_its_arrays(wrong):
    arguments = operands([2], 5, 3, weighted=False)
    with pytest.raises(Exception, match="names rows that Y does not have"):
        np.asarray(native.solve_diagonal(**arguments | wrong, solver="cg", steps=1))
