"""What must hold in a process of its own: imports stay light, and seeds mean the same there."""

import hashlib

import numpy as np

from lamina import MLPClassifier

FIT_AND_PREDICT = """
import sys
import numpy as np
import lamina

heavy = ("jax", "sklearn", "pandas", "matplotlib", "optax", "scipy.stats")
assert not any(name in sys.modules for name in heavy), "import lamina is not light"
with np.load(sys.argv[1]) as data:
    X, y = data["X"], data["y"]
model = lamina.MLPClassifier(hidden=(16,), dropout=0.1, max_epochs=3, random_state=7).fit(X, y)
model.predict(X), model.score(X, y)
P = model.predict_proba(X)
model.save(sys.argv[2])
lamina.load(sys.argv[2]).predict(X)
loaded = [name for name in ("sklearn", "pandas", "matplotlib", "optax") if name in sys.modules]
assert not loaded, f"fit, predict, save and load imported {loaded}"
import hashlib
print(hashlib.sha256(P.tobytes()).hexdigest())
"""


def test_fit_and_predict_import_neither_scikit_learn_nor_pandas(digits, tmp_path, in_new_process):
    X, y = digits
    np.savez(tmp_path / "digits.npz", X=X, y=y)
    printed = in_new_process(
        FIT_AND_PREDICT, tmp_path / "digits.npz", tmp_path / "digits.safetensors"
    )
    # and the same seed gives the same bits there as here
    model = MLPClassifier(hidden=(16,), dropout=0.1, max_epochs=3, random_state=7).fit(X, y)
    here = hashlib.sha256(model.predict_proba(X).tobytes()).hexdigest()
    assert printed.strip() == here


INTERRUPTED = """
import os, signal, warnings
import numpy as np
from lamina import MLPClassifier

def press_control_c(record):
    if record["epoch"] == 2:
        os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
X = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
y = (X[:, 0] > 0).astype(int)
settings = {"hidden": (8,), "max_epochs": 500, "random_state": 0, "checkpoint": "run1"}
model = MLPClassifier(**settings, callbacks=[press_control_c])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model.fit(X, y)
print(len(model.history_["loss"]), caught[0].message, model.predict(X).shape)
"""


def test_control_c_keeps_a_usable_model(in_new_process):
    printed = in_new_process(INTERRUPTED)
    assert printed.startswith("2 Training was interrupted in epoch 3 of 500")
    assert "goes on from run1 (lamina fit … --resume run1)" in printed
    assert printed.strip().endswith("(500,)")
