"""These tests look at values, each of a program of its own: compiling is most of their time."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _quickly(compiled_quickly):
    """Compile with few optimisations."""
