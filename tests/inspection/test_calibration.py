"""Calibration against cases worked by hand, and against a model that tells the truth."""

import numpy as np
import pytest

from lamina.errors import InputError
from lamina.inspection import calibration


def test_a_case_by_hand():
    confidence = [0.9, 0.6, 0.8, 0.6, 0.7, 0.8]
    right = [1, 0, 0, 1, 1, 1]
    found = calibration(confidence, right, bins=3)  # 0.6 0.6 | 0.7 0.8 | 0.8 0.9
    np.testing.assert_allclose(found.confidence, [0.6, 0.75, 0.85])
    np.testing.assert_allclose(found.accuracy, [0.5, 0.5, 1.0])
    assert found.counts.tolist() == [2, 2, 2]
    assert found.error == pytest.approx((0.1 + 0.25 + 0.15) / 3)
    assert found.overconfident  # 0.1 + 0.25 - 0.15 > 0


def test_counts_weigh_the_bins():
    found = calibration([0.5, 0.6, 0.9], [1, 1, 0], bins=2)  # two rows, then one
    assert found.counts.tolist() == [2, 1]
    assert found.error == pytest.approx((2 * 0.45 + 1 * 0.9) / 3)
    assert not calibration([0.5, 0.6], [1, 1], bins=2).overconfident


def test_an_honest_model_has_no_error():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 50_000)
    right = rng.random(50_000) < confidence
    honest, boasting = calibration(confidence, right), calibration(confidence**0.5, right)
    assert len(honest.counts) == 10
    assert honest.error < 0.012  # two standard errors of ten bins of 5,000 rows
    assert boasting.error == pytest.approx(np.mean(confidence**0.5 - confidence), abs=0.012)


def test_fewer_rows_than_bins():
    assert calibration([0.9], [True]).counts.tolist() == [1]
    with pytest.raises(InputError, match=r"got shapes \(0,\) and \(0,\)"):
        calibration([], [])
    with pytest.raises(InputError, match=r"got shapes \(2,\) and \(1,\)"):
        calibration([0.5, 0.6], [True])
