"""Lamina: deep learning as linear algebra.

Names are imported when they are first used, so that ``import lamina`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Activation": "layers",
    "Dense": "layers",
    "Dropout": "layers",
    "Flatten": "layers",
    "Sequential": "layers",
    "LinearClassifier": "estimators.linear",
    "LinearRegressor": "estimators.linear",
    "MLPClassifier": "estimators.perceptron",
    "MLPRegressor": "estimators.perceptron",
    "NetworkClassifier": "estimators.network",
    "NetworkRegressor": "estimators.network",
    "load": "estimators.persistence",
    "use_compilation_cache": "cache",
}

__all__ = [*_HOME, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from lamina.cache import use_compilation_cache as use_compilation_cache
    from lamina.estimators.linear import LinearClassifier as LinearClassifier
    from lamina.estimators.linear import LinearRegressor as LinearRegressor
    from lamina.estimators.network import NetworkClassifier as NetworkClassifier
    from lamina.estimators.network import NetworkRegressor as NetworkRegressor
    from lamina.estimators.perceptron import MLPClassifier as MLPClassifier
    from lamina.estimators.perceptron import MLPRegressor as MLPRegressor
    from lamina.estimators.persistence import load as load
    from lamina.layers import Activation as Activation
    from lamina.layers import Dense as Dense
    from lamina.layers import Dropout as Dropout
    from lamina.layers import Flatten as Flatten
    from lamina.layers import Sequential as Sequential


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lamina' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"lamina.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
