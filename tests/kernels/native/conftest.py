"""The kernels in bfloat16 where there is no AMX: with its instructions in plain C++."""

from pathlib import Path

import pytest

from lamina.kernels import native
from lamina.kernels.native import library

EMULATED = Path(__file__).parents[3] / "build" / "emulated" / "emulated.so"
BUILD = "python native/build.py --emulate-tiles --into build/emulated"


@pytest.fixture
def half(monkeypatch):
    """Native kernels in bfloat16, emulated where there is no AMX; `make test` builds them."""
    if native.is_active_in_half():
        return
    if native.instruction_set() != "avx512":
        pytest.skip("half precision is written for AVX-512")
    try:
        emulated = library._Found(library._load(EMULATED), "emulated", "emulated")
    except library._UnusableError as error:
        pytest.skip(f"{error}; run {BUILD}")
    monkeypatch.setattr(library, "_found_half", lambda: emulated)
