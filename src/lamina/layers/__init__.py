"""Layers, and how they compose."""

from lamina.functions.penalties import Penalty
from lamina.layers.augmentation import Cutout, RandomFlip, RandomShift
from lamina.layers.composition import Parallel, Residual, squeeze_excitation
from lamina.layers.convolution import Conv1D, Conv2D, ConvTranspose1D, ConvTranspose2D
from lamina.layers.dense import Dense
from lamina.layers.each_step import EachStep
from lamina.layers.embedding import Embedding
from lamina.layers.layer import PREDICTING, Context, Layer
from lamina.layers.normalization import BatchNorm, LayerNorm, Standardize
from lamina.layers.pointwise import Activation, Dropout, Flatten, Reshape, SpatialDropout
from lamina.layers.pooling import (
    AveragePool1D,
    AveragePool2D,
    GlobalAveragePool,
    MaxPool1D,
    MaxPool2D,
)
from lamina.layers.recurrent import GRU, LSTM, RNN
from lamina.layers.resize import Resize
from lamina.layers.sequences import Sequences
from lamina.layers.sequential import Sequential

__all__ = [
    "GRU",
    "LSTM",
    "PREDICTING",
    "RNN",
    "Activation",
    "AveragePool1D",
    "AveragePool2D",
    "BatchNorm",
    "Context",
    "Conv1D",
    "Conv2D",
    "ConvTranspose1D",
    "ConvTranspose2D",
    "Cutout",
    "Dense",
    "Dropout",
    "EachStep",
    "Embedding",
    "Flatten",
    "GlobalAveragePool",
    "Layer",
    "LayerNorm",
    "MaxPool1D",
    "MaxPool2D",
    "Parallel",
    "Penalty",
    "RandomFlip",
    "RandomShift",
    "Reshape",
    "Residual",
    "Resize",
    "Sequences",
    "Sequential",
    "SpatialDropout",
    "Standardize",
    "squeeze_excitation",
]
