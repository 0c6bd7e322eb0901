"""TensorBoard's event files, read back record by record, hold the run's own figures."""

import struct
import sys

import numpy as np
import pytest

from lamina.errors import InputError
from lamina.layers import Dense, Sequential
from lamina.training.callbacks import fresh_copy
from lamina.training.tensorboard import TensorBoard

NETWORK = Sequential([Dense(2)])


def events(folder):
    """Return the events in a folder's files: length and digest, an event, its digest, and again."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.glob("events.*")):
        rest = file.read_bytes()
        while rest:
            (length,) = struct.unpack("<Q", rest[:8])
            found.append(Event.FromString(rest[12 : 12 + length]))
            rest = rest[16 + length :]
    return found


def values(folder, kind):
    """Return {name: {epoch: value}}."""
    found = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.HasField(kind):
                found.setdefault(value.tag, {})[event.step] = getattr(value, kind)
    return found


@pytest.fixture
def trained(start_run, regression):
    """A run that such a callback watches."""

    def train(callback, epochs=3, **settings):
        X, y, weights = regression
        callbacks = [fresh_copy(callback)]
        run = start_run(
            NETWORK, X, y, weights=weights, epochs=epochs, callbacks=callbacks, **settings
        )
        run.train()
        return run

    return train


def test_scalars_are_those_of_the_history(trained, tmp_path):
    run = trained(TensorBoard(tmp_path))
    scalars = values(tmp_path, "simple_value")
    assert set(scalars) == set(run.history) - {"epoch"}
    for name, by_epoch in scalars.items():
        assert list(by_epoch) == [1, 2, 3]
        np.testing.assert_allclose(list(by_epoch.values()), run.history[name], rtol=1e-6)
    assert values(tmp_path, "histo") == {}


def test_a_figure_and_its_validation_share_a_chart(trained, regression, tmp_path):
    X, y, _ = regression
    trained(TensorBoard(tmp_path), validation=(X, y, None))
    names = set(values(tmp_path, "simple_value"))
    assert {"loss/training", "loss/validation"} <= names
    assert not {"loss", "val_loss"} & names


def test_histograms_hold_every_weight(trained, tmp_path):
    run = trained(TensorBoard(tmp_path, histograms=3))
    found = values(tmp_path, "histo")
    assert set(found) == {"dense_0/W", "dense_0/b"}
    W = np.asarray(run.state.weights["dense_0"]["W"], float)
    assert list(found["dense_0/W"]) == [1, 3]
    last = found["dense_0/W"][3]
    assert last.num == W.size
    assert (last.min, last.max) == (W.min(), W.max())
    np.testing.assert_allclose([last.sum, last.sum_squares], [W.sum(), (W**2).sum()], rtol=1e-6)


def test_a_run_that_goes_on_hides_what_came_after(trained, tmp_path):
    run = trained(TensorBoard(tmp_path / "whole"))
    trained(TensorBoard(tmp_path / "rest"), state=run.state, epochs=4)
    starts = {
        name: [e.step for e in events(tmp_path / name) if e.session_log.status == 1]
        for name in ("whole", "rest")
    }
    # TensorBoard drops what earlier files in the folder say of this epoch and later ones
    assert starts == {"whole": [1], "rest": [4]}
    assert list(values(tmp_path / "rest", "simple_value")["loss"]) == [4]


def test_bad_settings_are_refused(trained, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="histograms expected a whole number at least 1; got 0"):
        TensorBoard(tmp_path, histograms=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"expected a folder that can be written to, got .*file"):
        trained(TensorBoard(tmp_path / "file"))
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(InputError, match=r"pip install 'lamina\[tensorboard\]'"):
        trained(TensorBoard(tmp_path))
