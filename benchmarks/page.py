"""The page: docs/BENCHMARKS.md from what the cases found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.case import Finding, Options
from benchmarks.peers import KINDS

COMMAND = "python -m benchmarks"

BUSY = 0.1
"""The share of the machine beyond which other programs decide the result."""

HOW_TO_READ = """\
Each case runs in a process of its own. Within it all peers take turns (A B C A B C …) after one
warm-up round, which compiles and is left out, so that whatever slows the machine slows them alike.
**Ratio** is the ratio of medians over rounds, *peer time / Lamina time*: **above 1, Lamina is
faster**; 2.00 means that the peer takes twice as long. *min – max* is the spread of that ratio over
single rounds: where it straddles 1, the two are equal as far as this machine can tell. Ratios carry
over to other machines better than times do.

Every peer trains the same network on the same samples: float32, batches of the same size in a new
random order each epoch (the last, smaller batch included), Adam at rate 0.001, no penalty, all
cores. A time is that of a whole `fit`, data set-up included, divided by its epochs; programs are
compiled already. *Of peak* is the share of what the machine's own product of float32 matrices does
(NumPy's, 1536 × 1536, the best of ten), were a step nothing but three products a layer: Winograd's
algorithm can pass 100%. *Final training loss* is computed from each peer's weights by one function:
the run stops where a peer's is not near Lamina's, so nobody has an easier task.

- **Lamina**: `MLPClassifier`, `LinearClassifier` where there is no hidden layer, and
  `NetworkClassifier(network=Sequential([...]))` for convolutions and recurrence. As always it also
  sums loss and accuracy, takes the gradient norm, and checks that each step stays finite.
- **scikit-learn**: `MLPClassifier(solver="adam", alpha=0)`. It cannot leave the hidden layer out;
  its `SGDClassifier` and `LogisticRegression` solve the linear problem by other methods than
  minibatch Adam, so the linear case has no such row. It trains dense networks only.
- **PyTorch eager**: the usual loop, tensors in memory, `randperm` order, `index_select` batches;
  with Adam as it comes, and with `Adam(fused=True)`; images also in the `channels_last` memory
  format. Recurrence is `nn.LSTM`, `nn.GRU` or `nn.RNN`, with both of their biases. It keeps no
  account of the loss.
- **skorch**: `NeuralNetClassifier` with shuffling on, no validation split, no callbacks; here for
  dense networks.
- **JAX + optax**: a hand-written loop over a jitted step with donated weights and batches gathered
  inside; and, for dense networks, a `lax.scan` over each epoch. Convolutions are
  `lax.conv_general_dilated` and `lax.reduce_window`, recurrence is a plain `lax.scan`; gradients
  are JAX's own. It keeps no account of the loss.

PyTorch, skorch and JAX start from the same weights as Lamina; scikit-learn from its own."""


def page(findings: Sequence[Finding], options: Options, where: str) -> str:
    """Return the page in Markdown."""
    parts = ["# Benchmarks", f"Written by `{COMMAND}`; do not edit.", where, "## How to read"]
    parts.append(HOW_TO_READ)
    trained = [finding for finding in findings if finding.summary]
    if trained:
        rows = [
            (finding.title, *(ratio_cell(finding.summary.get(kind)) for kind in KINDS))
            for finding in trained
        ]
        parts += ["## Training in one table", "Ratio to the fastest form of each peer."]
        parts.append(table(("", *KINDS), rows))
    for finding in findings:
        text = f"{finding.text} {disturbance(finding)}".rstrip()
        parts += [f"## {finding.title}", text, table(finding.header, finding.rows)]
    parts += ["## Run it", f"```sh\n{COMMAND}{arguments(options)}\n```", RUN]
    return "\n\n".join(parts) + "\n"


RUN = """\
From the root of the repository, with `pip install -e '.[oracles]'`; on an idle machine, as other
work shows in the spread. `--only a,b` takes some cases, `--quick` only sees that they run; both
print the page instead of writing it."""


def arguments(options: Options) -> str:
    data = " --data DIR" if options.data else ""
    return f" --rounds {options.rounds}{data}"


def disturbance(finding: Finding) -> str:
    """Return how busy other programs were, with a warning where that decides the result."""
    others = finding.others
    if others is None or not finding.timed:
        return ""
    said = f"Other programs used {others:.0%} of the machine meanwhile."
    return said if others <= BUSY else f"**{said} Do not trust these numbers: measure again.**"


def ratio_cell(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table: the first column to the left, the others to the right."""
    header = list(header)
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
