"""The kernels in bfloat16 where there is no AMX: with its instructions in plain C++."""

import os
from pathlib import Path

import pytest

from lamina.kernels import native
from lamina.kernels.native import library

USUAL = Path(__file__).parents[3] / "build" / "emulated"
BUILD = "python native/build.py --emulate-tiles --into build/emulated"


@pytest.fixture
def half(monkeypatch):
    """Native kernels in bfloat16, emulated where there is no AMX; `make test` builds them."""
    if native.is_active_in_half():
        return
    if not native.instruction_set():
        pytest.skip(f"native kernels are not in use: {native.explanation()}")
    folder = Path(os.environ.get("LAMINA_KERNELS_FOLDER") or USUAL)
    try:
        if library._instruction_set(folder, "auto") != "avx512":
            pytest.skip("half precision is written for AVX-512, which this processor lacks")
        emulated = library._Found(library._load(folder / "emulated.so"), "emulated", "emulated")
    except library._UnusableError as error:
        pytest.skip(f"{error}; run {BUILD}")
    monkeypatch.setattr(library, "_found_half", lambda: emulated)
