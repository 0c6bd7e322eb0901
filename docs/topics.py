"""Print the topics of a novel's chapters, for docs/topics.md: nonnegative factorisation and SVD.

Herman Melville's Moby-Dick; a document is a chapter, a term a word. Run it: ``python
docs/topics.py``, with moby-dick/moby-dick.txt in the folder that LAMINA_DATA_DIR names.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import non_negative_factorization
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from lamina import NonnegativeFactorization, TruncatedSVD
from lamina.factorization.nonnegative import LOSSES, Penalty, factorize, initial_factors

OPENING = "CHAPTER 1. Loomings."
TOPICS, TERMS, ROUNDS, ITERATIONS = 8, 8, 9, 50
SOLVERS = {"frobenius": "cd", "kullback-leibler": "mu"}


def chapters() -> dict[str, str]:
    """Return the chapters' texts by title; of the novel's two copies in the file, the first."""
    path = Path(os.environ["LAMINA_DATA_DIR"]) / "moby-dick" / "moby-dick.txt"
    text = path.read_text(encoding="utf-8")
    text = text[: text.index(OPENING, len(OPENING))]
    parts = re.split(r"^CHAPTER (\d+\. [^.\n]+).*$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def beside_scikit_learn(X: Any, loss: str) -> str:
    """Return times and losses of as many iterations of both, in turns, from one start."""
    X = X.astype(np.float64)
    Wt, H = initial_factors(X, TOPICS, "nndsvda", np.random.default_rng(0))
    objective, none = LOSSES[loss](X), (Penalty(), Penalty())
    settings = {"init": "custom", "solver": SOLVERS[loss], "beta_loss": loss}
    seconds: list[tuple[float, float]] = []
    for _ in range(ROUNDS + 1):  # the first round warms up
        began = time.perf_counter()
        ours = factorize(LOSSES[loss](X), Wt, H, none, max_iter=ITERATIONS, tol=0)
        between = time.perf_counter()
        W, theirs, _ = non_negative_factorization(
            X, Wt.T.copy(), H.copy(), TOPICS, max_iter=ITERATIONS, tol=0, **settings
        )
        seconds.append((between - began, time.perf_counter() - between))
    mine, other = np.median(seconds[1:], axis=0)
    values = objective.value(ours.Wt, ours.H), objective.value(np.ascontiguousarray(W.T), theirs)
    return (
        f"  {ITERATIONS} iterations from one start: scikit-learn takes {other / mine:.1f} times as "
        f"long; loss {values[0]:.3f}, scikit-learn's {values[1]:.3f}"
    )


def main() -> None:
    """Factorise the document-term matrix three ways and print what was found."""
    warnings.filterwarnings("ignore", "Maximum number of iterations")
    found = chapters()
    titles = list(found)
    vectorizer = CountVectorizer(stop_words="english", min_df=5, max_df=0.4)
    counts = vectorizer.fit_transform(found.values())
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    names = vectorizer.get_feature_names_out()
    n, m = counts.shape
    print(f"{n} chapters, {m} terms, {counts.nnz / (n * m):.1%} of the matrix is not zero")
    for loss, X in (("frobenius", weighted), ("kullback-leibler", counts)):
        model = NonnegativeFactorization(n_components=TOPICS, loss=loss, random_state=0)
        W = model.fit_transform(X)
        print(f"\n{loss}, {model.n_iter_} iterations")
        for topic, terms in enumerate(model.top_terms(names, TERMS)):
            chapter = titles[int(np.argmax(W[:, topic]))]
            print(f"  {' '.join(terms):<72} {chapter}")
        print(beside_scikit_learn(X, loss))
    svd = TruncatedSVD(n_components=100, random_state=0)
    Z = svd.fit_transform(weighted)
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    share = svd.explained_variance_ratio_.sum()
    print(f"\nTruncatedSVD: 100 components hold {share:.0%} of the variance; nearest chapters")
    for number in ("32. Cetology", "41. Moby Dick", "135. The Chase"):
        chapter = titles.index(number)
        others = np.argsort(-(Z @ Z[chapter]))[1:4]
        print(f"  {number}: {'; '.join(titles[other] for other in others)}")


if __name__ == "__main__":
    main()
