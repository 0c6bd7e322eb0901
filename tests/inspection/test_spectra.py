"""Spectra against NumPy, closed forms and samples of known laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import InputError
from lamina.inspection.spectra import (
    fit_tail,
    leading_singular_values,
    random_edges,
    singular_values,
    spectra,
    spectrum,
)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 100))
def test_figures_are_numpys(m, k, seed):
    W = np.random.default_rng(seed).normal(size=(m, k)).astype(np.float32)
    found, sigma = spectrum(W), np.linalg.svd(W.astype(np.float64), compute_uv=False)
    np.testing.assert_allclose(found.values, sigma, atol=2e-8 * sigma[0], rtol=1e-6)
    assert found.spectral == pytest.approx(np.linalg.norm(W, 2), rel=1e-5)
    assert found.frobenius == pytest.approx(np.linalg.norm(W), rel=1e-5)
    p = sigma / sigma.sum()
    assert found.effective_rank == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-5)
    if sigma[-1] > 1e-3 * sigma[0]:
        assert found.condition == pytest.approx(np.linalg.cond(W.astype(float)), rel=1e-3)


def test_worked_by_hand():
    W = np.array([[3.0, 0, 0], [0, 4, 0]])
    found = spectrum(W, initial=np.array([[3.0, 0, 0], [0, 0, 4]]))
    np.testing.assert_allclose(found.values, [4, 3])
    assert found.stable_rank == pytest.approx(25 / 16)
    assert found.condition == pytest.approx(4 / 3)
    assert found.effective_rank == pytest.approx(7 / (4 ** (4 / 7) * 3 ** (3 / 7)))
    assert found.zeros == pytest.approx(4 / 6)
    assert found.moved == pytest.approx(np.sqrt(32) / 5)


def test_limits():
    nothing = spectrum(np.zeros((3, 2)))
    assert (nothing.stable_rank, nothing.effective_rank, nothing.condition) == (0, 0, np.inf)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(30, 30)))[0]
    found = spectrum(turn)
    assert found.stable_rank == pytest.approx(30)
    assert found.effective_rank == pytest.approx(30)
    assert found.condition == pytest.approx(1)


def test_a_convolution_is_its_patch_matrix():
    W = np.random.default_rng(0).normal(size=(3, 3, 2, 5))
    paths = {s.path: s for s in spectra({"conv_0": {"W": W, "b": np.zeros(5)}})}
    assert list(paths) == ["conv_0/W"]
    np.testing.assert_allclose(
        paths["conv_0/W"].values, np.linalg.svd(W.reshape(18, 5), compute_uv=False)
    )


@pytest.mark.parametrize("decay", [0.0, 0.5, 2.0])
def test_randomised_values_are_within_their_stated_error(decay):
    rng = np.random.default_rng(1)
    left, right = (np.linalg.qr(rng.normal(size=(n, 120)))[0] for n in (300, 200))
    sigma = np.arange(1, 121) ** -decay
    W = (left * sigma) @ right.T
    values, missed = leading_singular_values(W, 10)
    assert (values <= sigma[:10] * (1 + 1e-7)).all()  # a projection never lengthens
    assert (sigma[:10] <= np.hypot(values, missed)).all()
    assert sigma[26] <= missed < 3 * sigma[26]  # a basis of 26 vectors leaves that out


def test_randomised_is_exact_where_the_rank_is_small():
    rng = np.random.default_rng(2)
    W = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 300))
    found = spectrum(W, method="randomized")
    np.testing.assert_allclose(found.values[:5], singular_values(W)[:5], rtol=1e-10)
    assert found.missed < 1e-6 * found.spectral
    assert found.error[0] < 1e-9
    assert (found.effective_rank, found.condition, found.tail) == (None, None, None)


@pytest.mark.parametrize("exponent", [2.0, 3.5])
def test_the_exponent_of_a_power_law_is_found(exponent):
    rng = np.random.default_rng(0)
    sample = 2.0 * rng.uniform(size=20_000) ** (-1 / (exponent - 1))
    noise = rng.uniform(0.1, 2.0, size=5_000)
    tail = fit_tail(np.concatenate([sample, noise]))
    assert tail.exponent == pytest.approx(exponent, rel=0.05)
    assert tail.distance < 0.02
    law = fit_tail(sample)  # maximum likelihood at its start, Clauset et al. equation 3.1
    above = sample[sample >= law.start]
    assert law.exponent == pytest.approx(1 + len(above) / np.log(above / law.start).sum())


def test_no_tail_without_values():
    assert fit_tail(np.ones(50)) is None
    assert fit_tail(np.array([1.0, 2.0, 3.0])) is None
    assert fit_tail(np.array([])) is None


def test_a_random_matrix_stays_within_its_edges():
    W = np.random.default_rng(0).normal(scale=0.3, size=(600, 200))
    found = spectrum(W)
    low, high = random_edges(found.shape, found.frobenius)
    assert found.values[-1] == pytest.approx(low, rel=0.02)
    assert found.values[0] == pytest.approx(high, rel=0.02)


@pytest.mark.parametrize("W", [np.ones(3), np.zeros((0, 2)), np.array([[1.0, np.nan]])])
def test_what_has_no_spectrum(W):
    with pytest.raises(InputError, match="expected a matrix of finite numbers"):
        spectrum(W)
