"""A language model: a recurrent network that tells the next character, or word, from those before.

``p(x_{t+1} | x_1 … x_t) = softmax(h_t W + b)``, with ``h_t`` the state of recurrent layers that
have read the text so far. Training reads it as a few streams side by side, a window of steps at a
time: gradients stop at a window's edge, states do not (truncated backpropagation through time).

Sources: Graves 2013, Generating sequences with recurrent neural networks; Williams and Peng 1990.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lamina.errors import InputError, check_choice, check_number
from lamina.estimators.base import NetworkEstimator
from lamina.estimators.recurrent import stack
from lamina.formats.vocabulary import Vocabulary
from lamina.functions.losses import NextCode
from lamina.layers.dense import Dense
from lamina.layers.each_step import EachStep
from lamina.layers.embedding import Embedding
from lamina.layers.layer import Layer, Shape, Weights
from lamina.layers.pointwise import Dropout
from lamina.layers.recurrent import Recurrent
from lamina.layers.sequential import Sequential
from lamina.placement import over
from lamina.training.batches import ArraySource
from lamina.training.callbacks import Callback, Record
from lamina.training.loop import Run
from lamina.training.precision import computing_in, in_precision
from lamina.training.program import continuing_program
from lamina.training.state import TrainingState, fresh_state

MOST_TOKENS = 10_000
"""How many characters or words have a code of their own."""

STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 5000, 5, 200
"""How long a fit with ``max_epochs=None`` is: about so many steps, within these bounds."""

LEAST_STEPS = 8
"""Steps an epoch has at least: a short text is cut into fewer streams."""

READ_AT_ONCE = 256
"""Steps in a call where a text is only read."""


@dataclass(kw_only=True, eq=False, repr=False)
class CharacterModel(NetworkEstimator):
    """A language model over the characters of a text, or over its words.

    Parameters
    ----------
    cell : {"lstm", "gru", "rnn", "rnn_relu"}
        The recurrent layers' kind.
    hidden : sequence of int
        Units of each recurrent layer.
    embedding : int
        The size of the vector for each character.
    dropout : float in [0, 1)
        The share of each layer's outputs dropped in training.
    level : {"char", "word"}
        What the text is made of; words are what stands between white space.
    window : int
        Steps over which gradients are followed back.
    batch_size : int, optional
        Streams that are read side by side; None is 32. A short text has fewer.
    max_epochs : int, optional
        Readings of the text; None is about 5,000 steps, at least 5 and at most 200 readings.
    validation_fraction : float in [0, 1)
        The share of the text, at its end, that is never trained on and measured after each epoch;
        0 trains on all of it.
    **others
        See `NetworkEstimator`.

    Attributes
    ----------
    vocabulary_ : Vocabulary
        The characters, or words, and their codes.

    Examples
    --------
    >>> from lamina import CharacterModel
    >>> model = CharacterModel(hidden=(32,), window=16, random_state=0)
    >>> model.fit("the cat sat on the mat. " * 100)
    CharacterModel(random_state=0, hidden=(32,), window=16)
    >>> model.generate("the c", length=8, temperature=0.1, seed=0)
    'at sat o'
    """

    cell: str = "lstm"
    hidden: Sequence[int] = (256,)
    embedding: int = 64
    dropout: float = 0.0
    level: str = "char"
    window: int = 64
    learning_rate: float | None = 4e-3
    schedule: Any = "cosine"
    clip_norm: float | None = 1.0
    batch_size: int | None = None

    @property
    def _outputs(self) -> int:
        return len(self.vocabulary_)

    @property
    def _target(self) -> str:
        return "codes"

    def _learned(self) -> dict[str, Any]:
        return {"vocabulary": self.vocabulary_.to_document()}

    def _adopt(self, learned: dict[str, Any]) -> None:
        self.vocabulary_ = Vocabulary.from_document(learned["vocabulary"])

    def _takes(self, input_shape: Shape) -> bool:
        return len(input_shape) == 1

    def fit(self, text: str):  # type: ignore[override]
        """Train on a text.

        Parameters
        ----------
        text : str
            Read from its beginning to its end in each epoch.

        Raises
        ------
        InputError
            For a text shorter than two windows.
        """
        with computing_in(self.precision), over(self.devices):
            with self._unchanged_on_error():
                run = self._prepare_text(text)
            try:
                self._run(run)
            finally:
                self.network_ = self._carrying(0)
                self.statistics_: Weights = {}
        return self

    def _prepare_text(self, text: str) -> Run:
        self._check_numbers()
        check_number("window", self.window, at_least=1, whole=True)
        if not isinstance(text, str):
            raise InputError(f"fit expected a text (str), got {type(text).__name__}.")
        check_choice("level", self.level, ("char", "word"))
        edge = len(text) - round(self.validation_fraction * len(text))
        self.vocabulary_ = Vocabulary(self.level).fit(text[:edge], most=MOST_TOKENS)  # type: ignore
        codes, held_out = (
            self.vocabulary_.encode(part, unknown="replace") for part in (text[:edge], text[edge:])
        )
        if len(codes) <= 2 * self.window:
            raise InputError(
                f"fit expected a text of more than two windows of {self.window} steps, got "
                f"{len(codes)} to train on. Use a smaller window."
            )
        fewest = max(1, (len(codes) - 1) // (LEAST_STEPS * self.window))
        streams = min(self.batch_size or 32, fewest)
        seed, resumption = self._seed()
        self.n_features_in_ = 1
        self.history_: dict[str, list[float]] = {}
        self.input_shape_ = (self.window,)
        self.loss_ = NextCode()
        self.target_names_ = None
        self.network_ = self._carrying(streams)
        rng = np.random.default_rng(seed)
        self.weights_, self.statistics_ = self.network_.initialize(rng, self.input_shape_)
        descent = self._descent(len(codes), partial=False)
        state = fresh_state(
            self.weights_, self.statistics_, descent.optimizer, seed, descent.average is not None
        )
        X, y = windows(codes, streams, self.window)
        source = ArraySource.of(X, y, None, batch_size=streams, shuffle=False, seed=seed)
        watchers = [_FreshStates(), *self._watchers()]
        at_epoch = None if len(held_out) < 2 else lambda state: self._read(held_out, state)
        usual = int(np.clip(-(-STEPS // source.steps_per_epoch), FEWEST_EPOCHS, MOST_EPOCHS))
        epochs = self.max_epochs or usual
        run = Run(self._objective(), descent, state, source, epochs, at_epoch, watchers)
        if resumption is not None:
            resumption.attach(run, self, seed, codes, held_out)
        return run

    def _carrying(self, rows: int) -> Sequential:
        """Return the network with states that so many streams carry on."""
        recurrent = stack(
            self.cell, self.hidden, bidirectional=False, output="all", dropout=self.dropout
        )
        layers: list[Layer] = [
            replace(layer, carry=rows) if isinstance(layer, Recurrent) else layer
            for layer in recurrent
        ]
        if self.dropout:
            layers.append(EachStep(Dropout(self.dropout)))
        head = EachStep(Dense(self._outputs, init="glorot"))
        return Sequential([Embedding(self._outputs, self.embedding), *layers, head])

    # Using

    def _read(self, codes: np.ndarray, state: TrainingState | None = None) -> Record:
        """Return the mean cross-entropy and bits of a text's codes, each told from all before."""
        weights = self.weights_ if state is None else state.served
        network = in_precision(self._carrying(1), self.precision)
        _, carried = network.initialize(np.random.default_rng(0), (1,))
        program = continuing_program(network)
        total = 0.0
        for start in range(0, len(codes) - 1, READ_AT_ONCE):
            part = codes[start : start + READ_AT_ONCE + 1]
            padded = np.zeros((1, READ_AT_ONCE), np.int32)
            padded[0, : len(part) - 1] = part[:-1]
            scores, carried = program(weights, carried, padded)
            log_p = _log_softmax(np.asarray(scores[0, : len(part) - 1], np.float64))
            total -= float(log_p[np.arange(len(part) - 1), part[1:]].sum())
        nats = total / (len(codes) - 1)
        return {"loss": nats, "bits_per_code": nats / math.log(2)}

    def evaluate(self, text: str) -> dict[str, float]:  # type: ignore[override]
        """Return the loss (nats) and the bits a character, or word, over a text read in order."""
        self._check_fitted()
        codes = self.vocabulary_.encode(text, unknown="replace")
        if len(codes) < 2:
            raise InputError("evaluate expected a text of at least two characters, got less.")
        with computing_in(self.precision):
            return self._read(codes)

    def generate(
        self,
        prompt: str = "",
        length: int = 200,
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int | None = None,
        unknown: str = "error",
    ) -> str:
        """Return a text that goes on after ``prompt``.

        Parameters
        ----------
        prompt : str
            What is read first; a random character where empty.
        length : int
            Characters, or words, to write.
        temperature : float > 0
            What scores are divided by: below 1 is surer, above 1 is bolder.
        top_k : int, optional
            Choose among the k likeliest alone.
        seed : int, optional
            The same seed writes the same text.
        unknown : {"error", "replace"}
            What to do with characters of the prompt that training never saw.

        Raises
        ------
        InputError
            For an unseen character, a temperature of 0 or less, or an impossible length or top_k.
        """
        self._check_fitted()
        check_number("length", length, at_least=1, whole=True)
        check_number("temperature", temperature, above=0)
        if top_k is not None:
            check_number("top_k", top_k, at_least=1, whole=True)
        rng = np.random.default_rng(seed)
        codes = self.vocabulary_.encode(prompt, unknown=unknown)  # type: ignore
        if not len(codes):
            codes = rng.integers(len(self.vocabulary_.tokens), size=1)
        network = in_precision(self._carrying(1), self.precision)
        _, carried = network.initialize(np.random.default_rng(0), (1,))
        program = continuing_program(network)
        written: list[int] = []
        with computing_in(self.precision):
            for code in codes[:-1]:
                _, carried = program(self.weights_, carried, np.array([[code]], np.int32))
            code = codes[-1]
            for _ in range(length):
                scores, carried = program(self.weights_, carried, np.array([[code]], np.int32))
                known = np.asarray(scores[0, 0, :-1], np.float64)  # the last is the unknown
                code = _drawn(known / temperature, top_k, rng)
                written.append(code)
        return self.vocabulary_.decode(np.array(written, np.int32))


def windows(codes: np.ndarray, streams: int, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (X, y), each (steps · streams, window): minibatch i holds window i of every stream.

    Parameters
    ----------
    codes : int array of shape (n,)
        A text; what is left at its end is not used.
    streams : int
        Into how many even parts it is cut, one a row of each minibatch.
    window : int
        Steps of a row; y is X one step later.
    """
    steps = (len(codes) - 1) // (streams * window)
    used = streams * steps * window

    def laid(part: np.ndarray) -> np.ndarray:
        return part.reshape(streams, steps, window).swapaxes(0, 1).reshape(-1, window)

    return laid(codes[:used]), laid(codes[1 : used + 1])


class _FreshStates(Callback):
    """Start each epoch with empty states: the text begins anew."""

    def on_epoch(self, run: Run, record: Record) -> None:
        import jax

        run.change_state(statistics=jax.tree.map(np.zeros_like, run.state.statistics))


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _drawn(scores: np.ndarray, top_k: int | None, rng: np.random.Generator) -> int:
    """Return a code drawn by the softmax of its scores."""
    if top_k is not None and top_k < len(scores):
        scores = np.where(scores >= np.partition(scores, -top_k)[-top_k], scores, -np.inf)
    return int(rng.choice(len(scores), p=np.exp(_log_softmax(scores))))
