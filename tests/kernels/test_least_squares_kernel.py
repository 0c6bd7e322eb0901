"""The solver of many rows against normal equations written and solved one by one in float64."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina.errors import InputError
from lamina.kernels.least_squares import solve_rows

KERNELS = ["native", "xla"]


@pytest.fixture(params=KERNELS)
def kernels(request, monkeypatch):
    monkeypatch.setenv("LAMINA_KERNELS", request.param)


def problem(n, k, d, seed=0, weighted=True, biased=False):
    """Return the arguments of a random problem; row 0 has all entries, row 1 none, row 2 one."""
    rng = np.random.default_rng(seed)
    present = rng.random((n, k)) < 0.6
    present[:1], present[1:2], present[2:3] = True, False, False
    present[2:3, :1] = True
    indptr = np.append(0, present.sum(axis=1).cumsum())
    indices = present.nonzero()[1].astype(np.int32)
    Y = rng.normal(size=(k, d))
    if biased:
        Y[:, -1] = 1
    entries = len(indices)
    return {
        "Y": Y.astype(np.float32),
        "indptr": indptr,
        "indices": indices,
        "weight": rng.uniform(0.5, 3, entries).astype(np.float32) if weighted else None,
        "rhs": rng.normal(size=entries).astype(np.float32),
        "ridge": rng.uniform(0.5, 2, n).astype(np.float32),
        "gramian_weight": 0.7,
        "column_ridge": np.append(np.ones(d - 1), 0.25) if biased else None,
    }


def normal_equations(Y, indptr, indices, weight, rhs, ridge, gramian_weight=0.0, column_ridge=None):
    Y, n, d = Y.astype(np.float64), len(indptr) - 1, Y.shape[1]
    X = np.zeros((n, d))
    c = np.ones(d) if column_ridge is None else column_ridge
    for u in range(n):
        entries = range(indptr[u], indptr[u + 1])
        A = gramian_weight * Y.T @ Y + ridge[u] * np.diag(c)
        b = np.zeros(d)
        for e in entries:
            y = Y[indices[e]]
            A += (1 if weight is None else weight[e]) * np.outer(y, y)
            b += rhs[e] * y
        if len(entries):
            X[u] = np.linalg.solve(A, b)
    return X


def assert_near(X, expected, tolerance=1e-4):
    largest = np.abs(expected).max(initial=1e-6)
    assert_allclose(X, expected, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("solver", ["exact", "cg"])
def test_solves_the_normal_equations(kernels, weighted, solver):
    for biased in (True, False):
        for gramian_weight in (0.0, 0.7):
            given = problem(9, 8, 4, weighted=weighted, biased=biased)
            given["gramian_weight"] = gramian_weight
            X = solve_rows(**given, solver=solver, steps=30)
            assert X.dtype == np.float32
            assert_near(X, normal_equations(**given))
            assert not np.asarray(X)[1].any()


def test_a_column_without_ridge(kernels):
    given = problem(9, 8, 4, biased=True)
    given["column_ridge"] = np.append(np.ones(3), 0.0)
    for gramian_weight in (0.0, 0.7):
        given["gramian_weight"] = gramian_weight
        assert_near(solve_rows(**given, solver="exact"), normal_equations(**given))
        assert_near(solve_rows(**given, steps=30), normal_equations(**given))


def test_planted_factors_are_found(kernels):
    """Entries that are X Yᵀ exactly, with hardly any ridge, give X back."""
    given = problem(9, 8, 4, weighted=False)
    planted = np.random.default_rng(1).normal(size=(9, 4))
    rows = np.repeat(np.arange(9), np.diff(given["indptr"]))
    given["rhs"] = np.sum(planted[rows] * given["Y"][given["indices"]], axis=1)
    given |= {"gramian_weight": 0.0, "ridge": np.full(9, 1e-5)}
    X = np.asarray(solve_rows(**given, solver="exact"))
    determined = np.diff(given["indptr"]) > 4
    assert determined.sum() > 3
    assert_near(X[determined], planted[determined], 1e-3)


def test_from_the_solution_no_step_leads_away(kernels):
    given = problem(9, 8, 4)
    X = normal_equations(**given)
    assert_near(solve_rows(**given, start=X, steps=1), X, 1e-5)
    assert_near(solve_rows(**given, start=X, steps=0), X, 1e-6)


def test_each_step_comes_nearer(kernels):
    given = problem(9, 8, 4)
    given["gramian_weight"] = 0.0
    X = normal_equations(**given)
    start = np.random.default_rng(2).normal(size=X.shape)
    errors = [
        np.linalg.norm(np.delete(solve_rows(**given, start=start, steps=steps) - X, 1, axis=0))
        for steps in (0, 1, 3, 6)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 * errors[0]


def test_what_is_not_a_number_stays_in_its_rows(kernels):
    given = problem(9, 8, 4)
    given["rhs"][given["indptr"][4]] = np.nan
    for solver in ("exact", "cg"):
        X = np.asarray(solve_rows(**given, solver=solver))
        assert np.isnan(X[4]).all()
        assert np.isfinite(np.delete(X, 4, axis=0)).all()


def test_factors_that_are_not_numbers_give_none(kernels):
    given = problem(9, 8, 4)
    given["Y"][3, 2] = np.nan
    assert np.isnan(solve_rows(**given)[0]).all()
    given["gramian_weight"] = 0.0
    has_it = [
        3 in given["indices"][a:b] for a, b in zip(*_neighbours(given["indptr"]), strict=True)
    ]
    for solver in ("exact", "cg"):
        X = np.asarray(solve_rows(**given, solver=solver))
        assert_array_equal(np.isnan(X).any(axis=1), has_it)


def _neighbours(indptr):
    return indptr[:-1], indptr[1:]


@pytest.mark.parametrize("solver", ["exact", "cg"])
def test_nothing_to_solve(kernels, solver):
    none = np.zeros(0, np.float32)
    for n, k in ((0, 0), (0, 3), (4, 3)):
        X = solve_rows(
            np.ones((k, 2), np.float32), np.zeros(n + 1, int), np.zeros(0, np.int32), None, none,
            np.ones(n), 1.0, solver=solver,
        )  # fmt: skip
        assert_array_equal(X, np.zeros((n, 2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indptr": np.array([0, 5, 2])}, "indptr expected ascending"),
        ({"indices": np.array([0, 7])}, "indices expected rows of Y, 0 to 2, got 0 to 7"),
        ({"rhs": np.ones(3)}, r"rhs expected shape \(2,\), got \(3,\)"),
        ({"start": np.ones((2, 3))}, r"start expected shape \(1, 2\)"),
        ({"solver": "qr"}, "solver expected one of"),
        ({"steps": -1}, "steps expected a whole number"),
    ],
)
def test_says_what_is_wrong(change, message):
    given = {
        "Y": np.ones((3, 2)), "indptr": np.array([0, 2]), "indices": np.array([0, 1]),
        "weight": None, "rhs": np.ones(2), "ridge": np.ones(1),
    }  # fmt: skip
    with pytest.raises(InputError, match=message):
        solve_rows(**given | change)


def test_two_threads_at_once(kernels):
    problems = [problem(9, 8, 4) | {"ridge": np.full(9, ridge)} for ridge in (1.0, 2.0)]
    expected = [np.asarray(solve_rows(**given)) for given in problems]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            found = pool.map(lambda given: np.asarray(solve_rows(**given)), problems)
            for X, alone in zip(found, expected, strict=True):
                assert_array_equal(X, alone)
