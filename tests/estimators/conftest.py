"""Data sets, a count of compilations, and new processes."""

import subprocess
import sys

import numpy as np
import pytest


@pytest.fixture(scope="session", autouse=True)
def _cached(compiled_programs):
    """Compile programs once for all of these tests."""


@pytest.fixture(scope="session")
def digits():
    """Return scikit-learn's digits, pixels from 0 to 1: (1797, 64) and ten classes."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


@pytest.fixture(scope="session")
def iris():
    """Return Fisher's iris standardised: (150, 4) and three classes."""
    from sklearn.datasets import load_iris

    X, y = load_iris(return_X_y=True)
    return ((X - X.mean(axis=0)) / X.std(axis=0)).astype(np.float32), y


@pytest.fixture(scope="session")
def diabetes():
    """Return scikit-learn's diabetes, columns standardised: (442, 10) and real targets."""
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True)
    return X / X.std(axis=0), y


@pytest.fixture(scope="session")
def two_labels():
    """Return points in a square and two yes-or-no labels: right half, upper half."""
    X = np.random.default_rng(0).uniform(-1, 1, (400, 2)).astype(np.float32)
    return X, (X > 0).astype(np.int64)


@pytest.fixture
def compilations():
    """Return the list of what is compiled while the test runs, read from the cache or not."""
    import jax.monitoring

    names = []

    def note(event, duration, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(details.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(note)
    yield names
    jax.monitoring.unregister_event_duration_listener(note)


@pytest.fixture
def in_new_process(tmp_path):
    """Return a function that runs Python code in a new process and returns what it printed."""

    def run(code, *arguments):
        command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    return run
