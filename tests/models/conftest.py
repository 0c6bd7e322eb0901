"""Compiled programs, kept for all of these tests."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cached(compiled_programs):
    """Compile programs once for all of these tests."""
