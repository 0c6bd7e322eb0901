"""A novel read a character at a time: bits per character, ours and PyTorch's from the same start.

Herman Melville's Moby-Dick, of which the last tenth is never trained on. PyTorch gets the same
initial weights, the same windows in the same order, as many steps, and the same Adam, clipping and
schedule. Run it: ``python docs/language.py [EPOCHS [DROPOUT]]``, with the text in the folder that
LAMINA_DATA_DIR names. Without PyTorch, or with dropout, whose masks are drawn differently, our side
alone is measured.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lamina import CharacterModel, use_compilation_cache
from lamina.estimators.language import windows
from lamina.training.callbacks import Callback
from lamina.training.schedules import cosine

STREAMS, SEED, HELD_OUT = 32, 0, 0.1
OPENING = "CHAPTER 1. Loomings."


def novel() -> str:
    """Return the novel once: the file holds it twice, in slightly different form."""
    path = Path(os.environ.get("LAMINA_DATA_DIR", "data")) / "moby-dick" / "moby-dick.txt"
    if not path.exists():
        raise SystemExit(f"There is no {path}: let LAMINA_DATA_DIR name the folder of moby-dick.")
    text = path.read_text(encoding="utf-8")
    return text[: text.index(OPENING, len(OPENING))]


class Initial(Callback):
    """Keeps a copy of the weights before the first step."""

    weights: dict[str, Any] = {}  # noqa: RUF012  shared with the copy that the run gets

    def on_start(self, run) -> None:
        """Copy them."""
        self.weights.update(jax.tree.map(np.array, run.state.weights))


def ours(text: str, epochs: int, dropout: float) -> tuple[CharacterModel, float]:
    """Return a trained model and the minutes that it took."""
    began = time.perf_counter()
    model = CharacterModel(
        hidden=(256,),
        dropout=dropout,
        batch_size=STREAMS,
        max_epochs=epochs,
        callbacks=[Initial()],
        random_state=SEED,
    ).fit(text)
    return model, (time.perf_counter() - began) / 60


def torchs(model: CharacterModel, text: str, epochs: int) -> tuple[float, float]:
    """Return PyTorch's bits per character on the held-out part, and the minutes of training."""
    import torch

    initial = Initial.weights
    lstm, head = initial["lstm_0"], initial["each_step_0"]["layer"]
    E, W, b = torch.from_numpy(initial["embedding_0"]["W"]), head["W"], head["b"]
    net = torch.nn.ModuleDict(
        {
            "embedding": torch.nn.Embedding.from_pretrained(E.clone(), freeze=False),
            "lstm": torch.nn.LSTM(E.shape[1], 256, batch_first=True),
            "head": torch.nn.Linear(256, len(b)),
        }
    )
    with torch.no_grad():
        given = (lstm["W_x"].T, lstm["W_h"].T, lstm["b"], 0 * lstm["b"], W.T, b)
        for parameter, array in zip(list(net.parameters())[1:], given, strict=True):
            parameter.copy_(torch.from_numpy(np.array(array)))

    def scores(X, state=None):
        states, state = net["lstm"](net["embedding"](X), state)
        return net["head"](states), state

    edge = len(text) - round(HELD_OUT * len(text))
    codes, held_out = (
        model.vocabulary_.encode(part, unknown="replace").astype(np.int64)
        for part in (text[:edge], text[edge:])
    )
    X, y = (torch.from_numpy(a.copy()) for a in windows(codes, STREAMS, model.window))
    steps = len(X) // STREAMS
    rates = model.learning_rate * cosine(np.arange(epochs * steps) / (epochs * steps - 1))
    optimizer = torch.optim.Adam(net.parameters())
    began, state = time.perf_counter(), None
    for step, rate in enumerate(rates):
        at = step % steps * STREAMS
        state = None if state is None or at == 0 else tuple(part.detach() for part in state)
        found, state = scores(X[at : at + STREAMS], state)
        loss = torch.nn.functional.cross_entropy(
            found.flatten(0, 1), y[at : at + STREAMS].flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), model.clip_norm)
        optimizer.param_groups[0]["lr"] = float(rate)
        optimizer.step()
    minutes = (time.perf_counter() - began) / 60
    with torch.no_grad():
        found, _ = scores(torch.from_numpy(held_out[None, :-1]))
        nats = torch.nn.functional.cross_entropy(found[0], torch.from_numpy(held_out[1:]))
    return float(nats) / math.log(2), minutes


def main(epochs: int, dropout: float) -> None:
    """Print both sides' bits per character, and what the model writes."""
    use_compilation_cache()
    text = novel()
    model, minutes = ours(text, epochs, dropout)
    print(f"{len(text):,} characters, {epochs} readings, LSTM of 256 units, dropout {dropout}")
    print(f"Lamina:  {model.history_['val_bits_per_code'][-1]:.3f} bits, {minutes:.1f} minutes")
    if not dropout and find_spec("torch"):
        bits, minutes = torchs(model, text, epochs)
        print(f"PyTorch: {bits:.3f} bits, {minutes:.1f} minutes")
    print(model.generate("Call me", length=400, temperature=0.8, seed=0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("epochs", type=int, nargs="?", default=10)
    parser.add_argument("dropout", type=float, nargs="?", default=0.0)
    main(**vars(parser.parse_args()))
