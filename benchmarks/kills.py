"""A training process killed again and again with SIGKILL, and what is left each time.

``python -m benchmarks.kills --kills 20``. A process trains with ``checkpoint=``; another kills it,
in turns within the write of a file and at a random moment (while Python starts, while checkpoints
are read, between steps). After each kill every checkpoint must be readable, and the newest no older
than before. The last process is left to end: its weights and history must equal those of a run that
was never disturbed, bit for bit. It exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lamina.errors import FileFormatError
from lamina.formats.model_file import read_model

ROWS, BATCH, EPOCHS_A_KILL = 1500, 8, 6
MOST_STEPS = 4 * ROWS // BATCH
POLL, WRITE = 0.0002, 0.003
"""Seconds from one look at the folder to the next, and about as many as writing a file takes."""


def train(folder: str, out: str, epochs: str) -> None:
    """Train with dropout and checkpoints, going on from those in ``folder``; save in ``out``."""
    from lamina import Checkpoint, MLPClassifier, use_compilation_cache

    use_compilation_cache()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, 64)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    MLPClassifier(
        hidden=(384, 384),
        dropout=0.2,
        batch_size=BATCH,
        max_epochs=int(epochs),
        random_state=0,
        checkpoint=Checkpoint(folder, every_steps=1),
        verbose=0,
    ).fit(X, y).save(out)


def start(folder: Path, out: Path, kills: int) -> subprocess.Popen[bytes]:
    """Start `train` in a process of its own, for as long as so many kills need."""
    told = [str(folder), str(out), str(EPOCHS_A_KILL * (kills + 1))]
    return subprocess.Popen([sys.executable, "-m", "benchmarks.kills", "--train", *told])


def drafts(folder: Path) -> list[Path]:
    """Return the files that are being written, or were when their process was killed."""
    return [path for path in folder.glob(".*.part") if path.name != ".probe.part"]


def wait_for_draft(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Return as soon as a file is being written, or the process has ended."""
    while process.poll() is None and not drafts(folder):
        time.sleep(POLL)


def wait(process: subprocess.Popen[bytes], folder: Path, seconds: float) -> None:
    """Return after so many seconds, sooner if most of the epochs for a kill are over."""
    until, far = time.monotonic() + seconds, newest(folder) + MOST_STEPS
    while process.poll() is None and time.monotonic() < until and newest(folder) < far:
        time.sleep(POLL)


def newest(folder: Path) -> int:
    """Return the step of the newest checkpoint, told by its name."""
    return max((int(path.stem[5:]) for path in folder.glob("step-*")), default=0)


def stop_within_write(process: subprocess.Popen[bytes], folder: Path, rng: random.Random) -> None:
    """Stop the process (SIGSTOP) where a file is half-written, or return when it has ended."""
    seen = set(drafts(folder))
    while process.poll() is None:
        if new := set(drafts(folder)) - seen:
            time.sleep(rng.uniform(0, WRITE))
            process.send_signal(signal.SIGSTOP)
            if not all(map(is_whole, new & set(drafts(folder)))):
                return
            process.send_signal(signal.SIGCONT)
            seen |= new
        time.sleep(POLL)


def steps(folder: Path) -> list[int]:
    """Return the steps of all checkpoints; `FileFormatError` for one that is not whole."""
    found = sorted(folder.glob("step-*"))
    return [int(read_model(path)[0]["step"]) for path in found]


def is_whole(draft: Path) -> bool:
    """Tell whether a draft was complete, and only its renaming was prevented."""
    try:
        read_model(draft)
    except FileFormatError:
        return False
    return True


def difference(one: Path, other: Path) -> str | None:
    """Return what two models differ in, None where they are equal bit for bit, times apart."""
    (document, arrays), (others, theirs) = read_model(one), read_model(other)
    if arrays.keys() != theirs.keys():
        return "the names of their arrays"
    for name, array in arrays.items():
        if array.tobytes() != theirs[name].tobytes():
            return name
    histories = [{**each["history"], "seconds": None} for each in (document, others)]
    return None if histories[0] == histories[1] else "their histories"


def killed(folder: Path, out: Path, kills: int, seed: int, startup: float) -> tuple[int, int]:
    """Kill `train` so often and look at the folder; return the kills, and those in a write."""
    rng, before, in_writes = random.Random(seed), 0, 0
    for number in range(1, kills + 1):
        process, seconds = start(folder, out, kills), rng.uniform(0, startup)
        if number % 2:
            stop_within_write(process, folder, rng)
            moment = "within a write        "
        else:
            wait(process, folder, seconds)
            moment = f"{seconds:5.2f} s or some epochs"
        process.kill()
        if process.wait() == 0:
            print("The run ended before it was killed: more epochs are needed.")
            return number - 1, in_writes
        left, cut = steps(folder), [draft for draft in drafts(folder) if not is_whole(draft)]
        in_writes += bool(cut)
        print(
            f"kill {number:2}: {moment}; checkpoints at {left}, {len(cut)} half-written", flush=True
        )
        if newest(folder) < before:
            raise FileFormatError(f"The checkpoint at step {before} is gone.")
        before = newest(folder)
    return kills, in_writes


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill and compare; return the exit status."""
    chosen = parser().parse_args(arguments)
    if chosen.train:
        train(*chosen.train)
        return 0
    with TemporaryDirectory(dir=chosen.folder) as place:
        root = Path(place)
        whole, went_on = root / "whole.safetensors", root / "killed.safetensors"
        began, undisturbed = time.monotonic(), start(root / "whole", whole, chosen.kills)
        wait_for_draft(undisturbed, root / "whole")
        startup = time.monotonic() - began
        if undisturbed.wait() != 0:
            return 1
        kills, in_writes = killed(root / "killed", went_on, chosen.kills, chosen.seed, startup)
        if start(root / "killed", went_on, chosen.kills).wait() != 0:
            return 1
        found = difference(whole, went_on)
        same = "equal bit for bit" if found is None else f"DIFFERENT in {found}"
        print(
            f"{kills} of {chosen.kills} kills, {in_writes} of them within a write; weights {same}"
        )
        return int(found is not None or kills < chosen.kills)


def parser() -> argparse.ArgumentParser:
    """Return what the command line may say."""
    found = argparse.ArgumentParser("python -m benchmarks.kills", description=__doc__)
    found.add_argument("--kills", type=int, default=20, help="how often (default: 20)")
    found.add_argument("--seed", type=int, default=0, help="of the moments")
    found.add_argument("--folder", type=Path, help="where to write; a temporary folder if left out")
    found.add_argument("--train", nargs=3, help=argparse.SUPPRESS)
    return found


if __name__ == "__main__":
    sys.exit(main())
