"""What tests share: no silent rank promotion, compiled programs, float64, books' formulas."""

import os

os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
os.environ.setdefault("SCIPY_ARRAY_API", "1")  # scikit-learn's array API checks run only with it

import numpy as np
import pytest

# Two workers may ask for one program at once, and JAX writes its cache files in place: who reads
# half a file is warned and compiles anew.
HALF_WRITTEN = r"ignore:Error (reading|writing) persistent compilation cache entry:UserWarning"


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", HALF_WRITTEN)


@pytest.fixture(scope="session")
def compiled_programs(tmp_path_factory):
    """Keep compiled programs in one folder, shared by xdist's workers and by subprocesses."""
    from lamina import use_compilation_cache

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
            patch.setenv("JAX_COMPILATION_CACHE_DIR", str(shared / "programs"))
        yield use_compilation_cache()


@pytest.fixture
def float64():
    """Compute in float64 for one test."""
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def plain_activations():
    """Return each activation's formula, written independently of Lamina's."""
    import jax.numpy as jnp
    from jax.scipy.special import erf

    def softmax(Y):
        return jnp.exp(Y) / jnp.sum(jnp.exp(Y), axis=-1, keepdims=True)

    return {
        "linear": lambda Y: 1.0 * Y,
        "relu": lambda Y: jnp.where(Y > 0, Y, 0),
        "relu6": lambda Y: jnp.where(Y > 6, 6, jnp.where(Y > 0, Y, 0)),
        "leaky_relu": lambda Y: jnp.where(Y > 0, Y, Y / 100),
        "elu": lambda Y: jnp.where(Y > 0, Y, jnp.exp(Y) - 1),
        "gelu": lambda Y: Y * (1 + erf(Y / np.sqrt(2))) / 2,
        "silu": lambda Y: Y / (1 + jnp.exp(-Y)),
        "softplus": lambda Y: jnp.log(1 + jnp.exp(Y)),
        "sigmoid": lambda Y: 1 / (1 + jnp.exp(-Y)),
        "tanh": lambda Y: (jnp.exp(2 * Y) - 1) / (jnp.exp(2 * Y) + 1),
        "softmax": softmax,
    }


@pytest.fixture(scope="module")
def compiled_quickly():
    """Compile with few of XLA's optimisations: where values count and nothing runs for long."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
