"""Truncated SVD and nonnegative factorisation: scikit-learn's contract, and its results."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn import decomposition
from sklearn.utils.estimator_checks import parametrize_with_checks

import lamina
from lamina import NonnegativeFactorization, TruncatedSVD
from lamina.errors import FileFormatError, InputError
from lamina.formats.model_file import read_model, write_model

KINDS = (NonnegativeFactorization, TruncatedSVD)
FROBENIUS, KL = "frobenius", "kullback-leibler"

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", r"Estimator \w+ does not inherit from", UserWarning)
    every_check = parametrize_with_checks(
        [NonnegativeFactorization(), NonnegativeFactorization(loss=KL), TruncatedSVD()]
    )


@every_check
def test_every_check(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def counts():
    """Return 60 documents over 40 terms of three topics, each of which owns some terms."""
    rng = np.random.default_rng(0)
    topics = rng.dirichlet(np.full(40, 0.1), 3)
    shares = rng.dirichlet(np.full(3, 0.3), 60)
    return rng.poisson(shares @ topics * 80).astype(np.float64)


@pytest.mark.parametrize(("loss", "solver"), [(FROBENIUS, "cd"), (KL, "mu")])
@pytest.mark.parametrize("penalty", [{}, {"alpha_W": 1e-3, "alpha_H": 2e-3, "l1_ratio": 0.5}])
def test_the_objective_is_no_worse_than_scikit_learns(counts, loss, solver, penalty):
    """Same objective, same start, same number of iterations."""
    from lamina.factorization.nonnegative import LOSSES, Penalty, factorize, initial_factors

    n, m = counts.shape
    Wt, H = initial_factors(counts, 3, "nndsvda", np.random.default_rng(0))
    theirs = decomposition.NMF(
        3, init="custom", solver=solver, beta_loss=loss, max_iter=30, tol=0, **penalty
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 30 iterations do not converge
        W = theirs.fit_transform(counts, W=Wt.T.copy(), H=H.copy())
    alphas, r = (penalty.get("alpha_W", 0), penalty.get("alpha_H", 0)), penalty.get("l1_ratio", 0)
    penalties = tuple(
        Penalty(a * r * size, a * (1 - r) * size) for a, size in zip(alphas, (m, n), strict=True)
    )
    ours = factorize(LOSSES[loss](counts), Wt, H, penalties, max_iter=30, tol=0)

    def objective(W, H):
        WH = W @ H
        if loss == FROBENIUS:
            value = ((counts - WH) ** 2).sum() / 2
        else:
            seen = counts > 0
            value = (counts[seen] * np.log(counts[seen] / WH[seen])).sum() - counts.sum() + WH.sum()
        parts = zip((W, H), alphas, (m, n), strict=True)
        return value + sum(
            a * size * (r * F.sum() + (1 - r) / 2 * (F**2).sum()) for F, a, size in parts
        )

    assert ours.iterations == 30
    np.testing.assert_allclose(ours.objectives[-1], objective(ours.Wt.T, ours.H), rtol=1e-9)
    expected = objective(W, theirs.components_)
    assert ours.objectives[-1] <= expected * (1 + 1e-6)
    np.testing.assert_allclose(ours.objectives[-1], expected, rtol=1e-5)


@pytest.mark.parametrize("loss", [FROBENIUS, KL])
def test_a_planted_product_is_recovered(loss):
    rng = np.random.default_rng(1)
    W, H = rng.random((50, 3)) * (rng.random((50, 3)) < 0.5), rng.random((3, 20))
    H *= rng.random(H.shape) < 0.6
    X = W @ H
    model = NonnegativeFactorization(
        n_components=3, loss=loss, max_iter=2000, tol=0, random_state=0
    ).fit(X)
    assert np.all(np.diff(model.history_["objective"]) <= 1e-9)
    found = model.components_ / np.linalg.norm(model.components_, axis=1, keepdims=True)
    cosines = (H / np.linalg.norm(H, axis=1, keepdims=True)) @ found.T
    assert (cosines.max(axis=1) > 0.99).all()
    assert model.reconstruction_err_ < 0.02 * np.linalg.norm(X)
    np.testing.assert_allclose(model.inverse_transform(model.transform(X)), X, atol=0.05)


@pytest.mark.parametrize("loss", [FROBENIUS, KL])
def test_one_component_worked_by_hand(loss):
    """Of a matrix of rank one, W H is the matrix; of KL also the independent table's margins."""
    X = np.array([[2.0, 4.0], [3.0, 6.0]])
    if loss == KL:
        X[0, 0] = 5
    model = NonnegativeFactorization(n_components=1, loss=loss, tol=0, random_state=0).fit(X)
    expected = np.outer(X.sum(axis=1), X.sum(axis=0)) / X.sum() if loss == KL else X
    W = model.transform(X)
    np.testing.assert_allclose(model.inverse_transform(W), expected, rtol=1e-6)


@pytest.mark.parametrize("loss", [FROBENIUS, KL])
@pytest.mark.parametrize("kind", [sp.csr_array, sp.csr_matrix, sp.csc_array, sp.coo_array])
def test_sparse_is_dense(counts, loss, kind):
    if kind is not sp.csr_array and loss == KL:
        return
    settings = {"n_components": 3, "loss": loss, "max_iter": 30, "random_state": 0}
    dense, sparse = (NonnegativeFactorization(**settings) for _ in range(2))
    expected, found = dense.fit_transform(counts), sparse.fit_transform(kind(counts))
    np.testing.assert_allclose(sparse.components_, dense.components_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)
    assert sparse.reconstruction_err_ == pytest.approx(dense.reconstruction_err_)


def test_transform_solves_nonnegative_least_squares(counts):
    from scipy.optimize import nnls

    model = NonnegativeFactorization(n_components=3, random_state=0, tol=1e-10, max_iter=5000)
    model.fit(counts)
    expected = [nnls(model.components_.T, x)[0] for x in counts[:10]]
    np.testing.assert_allclose(model.transform(counts[:10]), expected, atol=1e-6)


def test_l1_makes_zeros(counts):
    plain, sparse = (
        NonnegativeFactorization(n_components=3, alpha_W=a, alpha_H=a, l1_ratio=1, random_state=0)
        for a in (0, 0.3)
    )
    zeros = [(model.fit(counts).components_ == 0).mean() for model in (plain, sparse)]
    assert zeros[0] + 0.1 < zeros[1] < 1


def test_sparse_input_is_never_made_dense():
    """A dense copy would take 240 MB."""
    import tracemalloc

    X = sp.random_array((500, 60_000), density=3e-5, rng=np.random.default_rng(0)).tocsr()
    models = [
        NonnegativeFactorization(n_components=2, max_iter=1),
        NonnegativeFactorization(n_components=2, loss=KL, max_iter=1),
        TruncatedSVD(n_components=2, n_iter=1),
    ]
    tracemalloc.start()
    for model in models:
        assert model.fit_transform(X).shape == (500, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6


@pytest.mark.parametrize("shape", [(60, 25), (25, 60)])
def test_svd_is_numpys(shape):
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.normal(size=(size, 8)))[0] for size in shape)
    s = 2.0 ** -np.arange(8)
    X = U * s @ V.T + 1e-6 * rng.normal(size=shape)
    model = TruncatedSVD(n_components=4, random_state=0)
    W = model.fit_transform(X)
    np.testing.assert_allclose(model.singular_values_, s[:4], rtol=1e-4)
    np.testing.assert_allclose(np.abs(model.components_ @ V[:, :4]), np.eye(4), atol=1e-4)
    largest = np.abs(model.components_).argmax(axis=1)
    assert (model.components_[np.arange(4), largest] > 0).all()
    theirs = decomposition.TruncatedSVD(4, algorithm="arpack", random_state=0)
    np.testing.assert_allclose(W, theirs.fit_transform(X), atol=1e-6)
    for name in ("singular_values_", "explained_variance_", "explained_variance_ratio_"):
        np.testing.assert_allclose(getattr(model, name), getattr(theirs, name), rtol=1e-6)
    sparse = TruncatedSVD(n_components=4, random_state=0).fit(sp.csr_array(X))
    np.testing.assert_allclose(sparse.components_, model.components_, atol=1e-9)


def test_top_terms_are_named():
    X = np.array([[3.0, 1.0, 0.0], [6.0, 2.0, 0.0], [0.0, 0.0, 5.0]])
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(X, columns=["whale", "ship", "love"])
    model = NonnegativeFactorization(n_components=2, random_state=0).fit(table)
    assert sorted(terms[0] for terms in model.top_terms(n=2)) == ["love", "whale"]
    assert model.top_terms(["a", "b", "c"], 1) == [
        [{"whale": "a", "love": "c"}[t[0]]] for t in model.top_terms(n=1)
    ]
    with pytest.raises(InputError, match=r"feature_names expected 3 names, .* got 2"):
        model.top_terms(["a", "b"])
    with pytest.raises(InputError, match="got none"):
        TruncatedSVD(n_components=1).fit(X).top_terms()


def test_output_is_a_frame_where_asked_for(counts):
    model = TruncatedSVD(random_state=0).set_output(transform="pandas")
    found = model.fit_transform(counts)
    assert list(found.columns) == ["truncatedsvd0", "truncatedsvd1"]
    model.set_output(transform="default")
    np.testing.assert_array_equal(model.transform(counts), found.to_numpy())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saved_models_come_back(kind, dtype, counts, tmp_path):
    model = kind(n_components=3, random_state=0).fit(counts.astype(dtype))
    model.save(tmp_path / "m.safetensors")
    again = lamina.load(tmp_path / "m.safetensors")
    assert type(again) is kind
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.transform(counts), model.transform(counts))
    for name in ("reconstruction_err_", "n_iter_", "history_", "explained_variance_ratio_"):
        if hasattr(model, name):
            np.testing.assert_array_equal(getattr(again, name), getattr(model, name))


def test_a_file_that_does_not_fit_is_refused(counts, tmp_path):
    path = tmp_path / "m.safetensors"
    NonnegativeFactorization(n_components=3, random_state=0).fit(counts).save(path)
    document, arrays = read_model(path)
    for change in (lambda H: -H, lambda H: H[:2], lambda H: H * np.nan, lambda H: H[0]):
        write_model(path, document, {"components/H": change(arrays["components/H"])})
        with pytest.raises(FileFormatError, match="components/H expected"):
            lamina.load(path)
    write_model(path, document, {})
    with pytest.raises(FileFormatError):
        lamina.load(path)


EYE = np.eye(4)
REFUSED = {
    "negative": (NonnegativeFactorization(), -EYE, "X expected no entry below 0, got -1"),
    "negative and sparse": (NonnegativeFactorization(), sp.csr_array(-EYE), "Negative values"),
    "rank above both sizes": (NonnegativeFactorization(), EYE, "n_components expected at most 4"),
    "nndsvd of too many": (
        NonnegativeFactorization(n_components=5, init="nndsvd"), np.ones((9, 4)), "at most 4 for",
    ),
    "too many triples": (TruncatedSVD(n_components=5), np.ones((9, 4)), "n_features = 4; got 5"),
    "no triples": (TruncatedSVD(n_components=0), EYE, "n_components expected a whole number"),
    "NaN": (TruncatedSVD(), EYE * np.nan, r"Input X contains NaN\. Fill .* rows out\.$"),
    "NaN and sparse": (TruncatedSVD(), sp.csr_array(EYE * np.nan), "Input X contains NaN"),
    "no rows": (TruncatedSVD(), EYE[:0], "Found array with 0 sample"),
    "loss": (NonnegativeFactorization(loss="kl"), EYE, "loss expected one of frobenius"),
    "init": (NonnegativeFactorization(init="nndsvdar"), EYE, "Did you mean 'nndsvda'"),
    "alpha": (NonnegativeFactorization(alpha_W=-1), EYE, "alpha_W expected a number at least 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    model, X, words = REFUSED[case]
    with pytest.raises(InputError, match=words):
        model.fit(X)


def test_inverse_transform_wants_a_column_a_component():
    with pytest.raises(InputError, match="inverse_transform expected 2 columns"):
        TruncatedSVD(random_state=0).fit(EYE).inverse_transform(EYE)


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_are_factors_of_zeros(kind):
    W = kind(n_components=2, random_state=0).fit_transform(np.zeros((4, 3)))
    np.testing.assert_array_equal(W, 0)


def test_a_component_of_zeros_in_one_factor_may_come_back():
    from lamina.factorization.nonnegative import LeastSquares, Penalty, factorize

    X = np.diag([3.0, 2.0])
    Wt, H = np.ones((2, 2)), np.array([[1.0, 0.5], [0.0, 0.0]])
    Wt[1, 0] = 0.1
    none = Penalty(), Penalty()
    found = factorize(LeastSquares(X), Wt, H, none, max_iter=500, tol=0)
    np.testing.assert_allclose(found.Wt.T @ found.H, X, atol=1e-6)
