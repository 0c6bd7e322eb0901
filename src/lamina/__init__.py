"""Lamina: deep learning as linear algebra.

Names are imported when they are first used, so that ``import lamina`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAYERS = (
    "Activation",
    "AveragePool1D",
    "AveragePool2D",
    "BatchNorm",
    "Conv1D",
    "Conv2D",
    "ConvTranspose1D",
    "ConvTranspose2D",
    "Cutout",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "LayerNorm",
    "Sequences",
    "Embedding",
    "EachStep",
    "RNN",
    "LSTM",
    "GRU",
    "MaxPool1D",
    "MaxPool2D",
    "Parallel",
    "RandomFlip",
    "RandomShift",
    "Reshape",
    "Residual",
    "Resize",
    "Sequential",
    "SpatialDropout",
    "Standardize",
    "squeeze_excitation",
)
_HOME = {
    "ConvClassifier": "estimators.convolutional",
    "ConvRegressor": "estimators.convolutional",
    "CharacterModel": "estimators.language",
    "Checkpoint": "formats.checkpoints",
    "Forecaster": "estimators.forecaster",
    "ImplicitFactorization": "estimators.implicit",
    "RatingFactorization": "estimators.ratings",
    "LinearClassifier": "estimators.linear",
    "LinearRegressor": "estimators.linear",
    "MLPClassifier": "estimators.perceptron",
    "MLPRegressor": "estimators.perceptron",
    "RecurrentClassifier": "estimators.recurrent",
    "RecurrentRegressor": "estimators.recurrent",
    "NetworkClassifier": "estimators.network",
    "NetworkRegressor": "estimators.network",
    "NonnegativeFactorization": "estimators.topics",
    "TruncatedSVD": "estimators.topics",
    "TensorBoard": "training.tensorboard",
    "TransferClassifier": "estimators.transfer",
    "load": "estimators.persistence",
    "export_onnx": "estimators.onnx_export",
    "import_onnx": "estimators.onnx_import",
    "export_torch": "estimators.torch_weights",
    "import_torch": "estimators.torch_weights",
    "Watch": "training.watch",
    "use_compilation_cache": "cache",
}

_HOME |= dict.fromkeys(_LAYERS, "layers")
__all__ = [*_HOME, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from lamina.cache import use_compilation_cache as use_compilation_cache
    from lamina.estimators.convolutional import ConvClassifier as ConvClassifier
    from lamina.estimators.convolutional import ConvRegressor as ConvRegressor
    from lamina.estimators.forecaster import Forecaster as Forecaster
    from lamina.estimators.implicit import ImplicitFactorization as ImplicitFactorization
    from lamina.estimators.language import CharacterModel as CharacterModel
    from lamina.estimators.linear import LinearClassifier as LinearClassifier
    from lamina.estimators.linear import LinearRegressor as LinearRegressor
    from lamina.estimators.network import NetworkClassifier as NetworkClassifier
    from lamina.estimators.network import NetworkRegressor as NetworkRegressor
    from lamina.estimators.onnx_export import export_onnx as export_onnx
    from lamina.estimators.onnx_import import import_onnx as import_onnx
    from lamina.estimators.perceptron import MLPClassifier as MLPClassifier
    from lamina.estimators.perceptron import MLPRegressor as MLPRegressor
    from lamina.estimators.persistence import load as load
    from lamina.estimators.ratings import RatingFactorization as RatingFactorization
    from lamina.estimators.recurrent import RecurrentClassifier as RecurrentClassifier
    from lamina.estimators.recurrent import RecurrentRegressor as RecurrentRegressor
    from lamina.estimators.topics import NonnegativeFactorization as NonnegativeFactorization
    from lamina.estimators.topics import TruncatedSVD as TruncatedSVD
    from lamina.estimators.torch_weights import export_torch as export_torch
    from lamina.estimators.torch_weights import import_torch as import_torch
    from lamina.estimators.transfer import TransferClassifier as TransferClassifier
    from lamina.formats.checkpoints import Checkpoint as Checkpoint
    from lamina.layers import GRU as GRU
    from lamina.layers import LSTM as LSTM
    from lamina.layers import RNN as RNN
    from lamina.layers import Activation as Activation
    from lamina.layers import AveragePool1D as AveragePool1D
    from lamina.layers import AveragePool2D as AveragePool2D
    from lamina.layers import BatchNorm as BatchNorm
    from lamina.layers import Conv1D as Conv1D
    from lamina.layers import Conv2D as Conv2D
    from lamina.layers import ConvTranspose1D as ConvTranspose1D
    from lamina.layers import ConvTranspose2D as ConvTranspose2D
    from lamina.layers import Cutout as Cutout
    from lamina.layers import Dense as Dense
    from lamina.layers import Dropout as Dropout
    from lamina.layers import EachStep as EachStep
    from lamina.layers import Embedding as Embedding
    from lamina.layers import Flatten as Flatten
    from lamina.layers import GlobalAveragePool as GlobalAveragePool
    from lamina.layers import LayerNorm as LayerNorm
    from lamina.layers import MaxPool1D as MaxPool1D
    from lamina.layers import MaxPool2D as MaxPool2D
    from lamina.layers import Parallel as Parallel
    from lamina.layers import RandomFlip as RandomFlip
    from lamina.layers import RandomShift as RandomShift
    from lamina.layers import Reshape as Reshape
    from lamina.layers import Residual as Residual
    from lamina.layers import Resize as Resize
    from lamina.layers import Sequences as Sequences
    from lamina.layers import Sequential as Sequential
    from lamina.layers import SpatialDropout as SpatialDropout
    from lamina.layers import Standardize as Standardize
    from lamina.layers import squeeze_excitation as squeeze_excitation
    from lamina.training.tensorboard import TensorBoard as TensorBoard
    from lamina.training.watch import Watch as Watch


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lamina' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"lamina.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
