"""Layers, and how they compose."""

from lamina.functions.penalties import Penalty
from lamina.layers.dense import Dense
from lamina.layers.layer import PREDICTING, Context, Layer
from lamina.layers.pointwise import Activation, Dropout, Flatten
from lamina.layers.sequential import Sequential

__all__ = [
    "PREDICTING",
    "Activation",
    "Context",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "Penalty",
    "Sequential",
]
