"""Runs that are killed go on as if nothing had happened."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lamina import CharacterModel, Checkpoint, MLPClassifier, load
from lamina.errors import FileFormatError, InputError
from lamina.formats.checkpoints import CheckpointFolder
from lamina.formats.model_file import write_model
from lamina.training.callbacks import Callback, EarlyStopping, MetricsFile

X = np.random.default_rng(0).normal(size=(700, 5)).astype(np.float32)
Y = (X @ np.random.default_rng(1).normal(size=(5, 3))).argmax(axis=1)
SETTINGS = {"hidden": (8,), "dropout": 0.2, "batch_size": 4, "max_epochs": 4, "random_state": 3}


class KilledError(Exception):
    """Stands for the end of the process."""


class KilledAt(Callback):
    """Ends the run after so many blocks, as a signal that cannot be caught would."""

    def __init__(self, blocks):
        self.blocks = blocks

    def on_block(self, run, totals):
        self.blocks -= 1
        if self.blocks < 0:
            raise KilledError


def same(one, other):
    """Assert that two fitted estimators are equal bit for bit, times apart."""
    jax.tree.map(assert_array_equal, one.weights_, other.weights_)
    for name, values in one.history_.items():
        if name != "seconds":
            assert values == other.history_[name], name


@pytest.fixture(scope="module")
def whole():
    """Return the model of a run that was never stopped."""
    return MLPClassifier(**SETTINGS).fit(X, Y)


@pytest.mark.parametrize("blocks", [0, 1, 5])
def test_a_run_that_died_goes_on_bit_for_bit(blocks, whole, tmp_path):
    kept = {"checkpoint": Checkpoint(tmp_path, every_steps=1), **SETTINGS}
    with pytest.raises(KilledError):
        MLPClassifier(**kept, callbacks=[KilledAt(blocks)]).fit(X, Y)
    same(MLPClassifier(**kept).fit(X, Y), whole)


def test_a_run_goes_on_in_the_middle_of_an_epoch(tmp_path):
    settings = {**SETTINGS, "batch_size": 2, "max_epochs": 2}
    through = MLPClassifier(**settings).fit(X, Y)
    settings["checkpoint"] = Checkpoint(tmp_path, every_steps=100)
    with pytest.raises(KilledError):
        MLPClassifier(**settings, callbacks=[KilledAt(1)]).fit(X, Y)
    until = time.monotonic() + 60
    while not (kept := [path.stem for path in tmp_path.glob("step-*")]):  # still being written
        assert time.monotonic() < until
    assert kept == ["step-0000000256"]
    same(MLPClassifier(**settings).fit(X, Y), through)


def test_two_runs_are_not_kept_in_one_folder(whole, tmp_path):
    other, kept = CheckpointFolder(Checkpoint(tmp_path)), {**SETTINGS, "checkpoint": tmp_path}
    other.hold()
    with pytest.raises(InputError, match="expected one run at a time, got another"):
        MLPClassifier(**kept).fit(X, Y)
    other.release()
    same(MLPClassifier(**kept).fit(X, Y), whole)


def test_a_finished_run_is_not_gone_through_again(whole, tmp_path):
    kept = {**SETTINGS, "checkpoint": tmp_path}
    same(MLPClassifier(**kept).fit(X, Y), whole)
    same(MLPClassifier(**kept, callbacks=[KilledAt(0)]).fit(X, Y), whole)
    with pytest.raises(FileFormatError, match="callbacks none, got EarlyStopping"):
        MLPClassifier(**kept, callbacks=[EarlyStopping(3)]).fit(X, Y)


def test_the_seed_is_the_first_runs_where_none_is_told(tmp_path):
    kept = {**SETTINGS, "random_state": None, "early_stopping": 2, "checkpoint": tmp_path}
    first = MLPClassifier(**kept).fit(X, Y)
    same(MLPClassifier(**kept).fit(X, Y), first)


def test_early_stopping_goes_on_waiting_and_restores_its_best(tmp_path):
    settings = {**SETTINGS, "max_epochs": 12, "learning_rate": 0.1}
    validation = (X[:100], Y[::-1][:100])  # nothing to learn: the best is early

    def fit(*callbacks, **more):
        model = MLPClassifier(**settings, **more, callbacks=[*callbacks, EarlyStopping(3)])
        return model.fit(X, Y, validation_data=validation)

    through = fit()
    assert len(through.history_["loss"]) < 12
    with pytest.raises(KilledError):
        fit(KilledAt(6), checkpoint=tmp_path)
    same(fit(checkpoint=tmp_path), through)
    same(fit(checkpoint=tmp_path), through)


def test_a_language_model_goes_on_with_its_states(tmp_path):
    text = "the cat sat on the mat. the dog ate the cat's hat. " * 60
    settings = {"hidden": (8,), "window": 8, "batch_size": 2, "max_epochs": 2, "random_state": 0}
    through = CharacterModel(**settings).fit(text)
    settings["checkpoint"] = Checkpoint(tmp_path, every_steps=1)
    with pytest.raises(KilledError):
        CharacterModel(**settings, callbacks=[KilledAt(1)]).fit(text)
    same(CharacterModel(**settings).fit(text), through)


def test_another_run_is_refused(tmp_path):
    kept = {**SETTINGS, "checkpoint": tmp_path}
    MLPClassifier(**kept).fit(X, Y)
    with pytest.raises(InputError, match=r"another max_epochs \(4, this run's is 5\)"):
        MLPClassifier(**{**kept, "max_epochs": 5}).fit(X, Y)
    with pytest.raises(InputError, match="another data"):
        MLPClassifier(**kept).fit(X + 1, Y)


def test_how_many_are_kept(tmp_path):
    class Steps(Callback):
        def __init__(self):
            self.seen = []

        def on_epoch(self, run, record):
            self.seen.append((int(run.state.step), record["loss"]))

    checkpoint = Checkpoint(tmp_path, keep=2)
    seen = Steps()
    settings = {**SETTINGS, "max_epochs": 6, "learning_rate": 0.3}
    model = MLPClassifier(**settings, checkpoint=checkpoint, callbacks=[seen]).fit(X, Y)
    losses = model.history_["loss"]
    best, steps = int(np.argmin(losses)), -(-len(X) // 4)
    kept = sorted(int(path.stem[5:]) for path in tmp_path.glob("step-*"))
    assert kept == sorted({5 * steps, 6 * steps, (best + 1) * steps})


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:-1] + b"x"]
)
def test_a_damaged_checkpoint_leaves_the_one_before_it(damage, whole, tmp_path):
    kept = {**SETTINGS, "checkpoint": Checkpoint(tmp_path, keep=3)}
    MLPClassifier(**kept).fit(X, Y)
    newest = max(tmp_path.glob("step-*"))
    newest.write_bytes(damage(newest.read_bytes()))
    with pytest.warns(UserWarning, match="The checkpoint before it is taken"):
        same(MLPClassifier(**kept).fit(X, Y), whole)
    for path in tmp_path.glob("step-*"):
        path.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="before it"),
        pytest.raises(FileFormatError, match="Empty the folder"),
    ):
        MLPClassifier(**kept).fit(X, Y)


def test_a_damaged_one_does_not_count_among_those_kept(tmp_path):
    validation = (X[:100], Y[::-1][:100])  # nothing to learn: the best is early

    def fit(*callbacks, **more):
        model = MLPClassifier(**SETTINGS, learning_rate=0.1, callbacks=callbacks, **more)
        return model.fit(X, Y, validation_data=validation)

    through = fit()
    assert np.argmin(through.history_["val_loss"]) == 0
    fit(checkpoint=Checkpoint(tmp_path, keep=9))
    first, second, third, newest = sorted(tmp_path.glob("step-*"))
    newest.write_bytes(b"")
    for path in (first, third):
        path.unlink()
    with pytest.warns(UserWarning, match="before it"), pytest.raises(KilledError):
        fit(KilledAt(2), checkpoint=Checkpoint(tmp_path, keep=1))
    until = time.monotonic() + 60
    while second.exists():  # until the third has been written, after which it is not needed
        assert time.monotonic() < until
    with pytest.warns(UserWarning, match="before it"):
        same(fit(checkpoint=Checkpoint(tmp_path, keep=1)), through)


def test_nothing_is_written_twice(whole, tmp_path, monkeypatch):
    written = []

    def noting(path, document, arrays):
        written.append(path.name)
        write_model(path, document, arrays)

    monkeypatch.setattr("lamina.formats.checkpoints.write_model", noting)
    for folder, every in (("epochs", None), ("steps", 100)):
        checkpoint = Checkpoint(tmp_path / folder, every_steps=every, every_seconds=None)
        same(MLPClassifier(**SETTINGS, checkpoint=checkpoint).fit(X, Y), whole)
        assert len(written) == len(set(written)) >= 4
        written.clear()


def test_a_folder_that_cannot_be_written_to_is_told_before_training(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="expected a place that can be written to"):
        MLPClassifier(**SETTINGS, checkpoint=tmp_path / "file" / "run").fit(X, Y)


class FullDisk:
    """Stands for `os.fsync`: says that the disk is full from the n-th file on."""

    def __init__(self, files):
        self.left = files

    def __call__(self, number):
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_does_not_end_the_run(whole, tmp_path, monkeypatch):
    """It is told once, nothing half-written stays, and the run goes on from what is there."""
    monkeypatch.setattr("lamina.formats.files.os.fsync", FullDisk(2))
    kept = {**SETTINGS, "checkpoint": tmp_path}
    with pytest.warns(UserWarning, match="No checkpoint was written: .*No space left") as told:
        same(MLPClassifier(**kept).fit(X, Y), whole)
    assert len(told) == 1
    monkeypatch.undo()
    assert sorted(path.name[:5] for path in tmp_path.iterdir()) == ["step-", "step-"]
    seen = []
    same(MLPClassifier(**kept, callbacks=[seen.append]).fit(X, Y), whole)
    assert [record["epoch"] for record in seen] == [3, 4]


def test_a_full_disk_does_not_end_the_run_for_its_metrics(whole, tmp_path, monkeypatch):
    class Full(MetricsFile):
        def on_start(self, run):
            super().on_start(run)
            self.path = Path("/dev/full")

    if not Path("/dev/full").exists():
        pytest.skip("a full disk is /dev/full")
    with pytest.warns(UserWarning, match="are not written to /dev/full: No space left"):
        same(MLPClassifier(**SETTINGS, callbacks=[Full(tmp_path / "f.jsonl")]).fit(X, Y), whole)


def test_metrics_go_on_where_they_were(whole, tmp_path):
    file, folder = tmp_path / "figures.jsonl", tmp_path / "run"
    kept = {**SETTINGS, "checkpoint": folder}
    with pytest.raises(KilledError):
        MLPClassifier(**kept, callbacks=[MetricsFile(file), KilledAt(5)]).fit(X, Y)
    assert len(file.read_text().splitlines()) == 2
    MLPClassifier(**kept, callbacks=[MetricsFile(file)]).fit(X, Y)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["loss"] for line in lines] == whole.history_["loss"]


def test_not_a_checkpoint():
    with pytest.raises(InputError, match="checkpoint expected a folder"):
        MLPClassifier(checkpoint=3).fit(X, Y)


SCRIPT = """
import sys, numpy as np
from lamina import Checkpoint, MLPClassifier, use_compilation_cache
use_compilation_cache()
X = np.random.default_rng(0).normal(size=(3000, 20)).astype("float32")
y = (X[:, 0] > 0).astype(int)
model = MLPClassifier(hidden=(64, 64), batch_size=8, max_epochs=40, random_state=0,
                      checkpoint=Checkpoint(sys.argv[1], every_steps=50), verbose=0)
model.fit(X, y).save(sys.argv[2])
"""


def test_sigterm_again_and_again(tmp_path):
    """A process is asked to end at random moments; its last one ends where an undisturbed does."""

    def start(folder, out):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / folder), str(tmp_path / out)]
        return subprocess.Popen(command, env=os.environ, stderr=subprocess.DEVNULL)

    undisturbed = start("whole", "whole.safetensors")
    assert undisturbed.wait(300) == 0
    rng, ended = np.random.default_rng(0), 0
    while True:
        process = start("ended", "ended.safetensors")
        before = set((tmp_path / "ended").glob("step-*"))
        while process.poll() is None and set((tmp_path / "ended").glob("step-*")) <= before:
            time.sleep(0.01)
        try:
            assert process.wait(rng.uniform(0, 0.3)) == 0
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) in (-signal.SIGTERM, 0)
            ended += 1
    assert ended >= 1
    same(*(load(tmp_path / name) for name in ("whole.safetensors", "ended.safetensors")))


def test_sigkill_within_writes(tmp_path):
    """The script that kills 20 times, here twice; it tells whether all went well."""
    command = [sys.executable, "-m", "benchmarks.kills", "--kills", "2", "--folder", str(tmp_path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    told = r"2 of 2 kills, [12] of them within a write; weights equal bit for bit"
    assert re.search(told, done.stdout)
