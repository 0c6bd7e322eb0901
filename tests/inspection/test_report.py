"""The report as a file: whole, escaped, alone, and true to the model's figures."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits, load_iris

from lamina import (
    CharacterModel,
    LinearClassifier,
    LinearRegressor,
    MLPClassifier,
    RatingFactorization,
    Watch,
)
from lamina.errors import InputError
from lamina.formats.image_encoder import ImageEncoder
from lamina.inspection import Health, Verdict, report
from lamina.inspection.page.images import figure_as_svg
from lamina.inspection.page.markup import escaped, join, tag

NOTHING = Health((), ())
HOSTILE = '<script>alert("x")</script>'
VOID = {"br", "img", "meta"}


class Page(HTMLParser):
    """A page's elements, if they are nested as they should be."""

    def __init__(self, path):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A model of digits, its report, and rows that it was not trained on."""
    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 8, 8, 1).astype(np.float32) / 16
    model = MLPClassifier(
        hidden=(32,), encoder=ImageEncoder(), callbacks=[Watch(every=1)], max_epochs=3,
        random_state=0, verbose=0,
    ).fit(X[:1200], y[:1200])  # fmt: skip
    path = report(model, X[1200:], y[1200:], tmp_path_factory.mktemp("page") / "digits.html")
    return model, X[1200:], y[1200:], Page(path)


def test_every_part_is_there_and_linked(digits):
    *_, page = digits
    names = [
        "health", "learning", "predictions", "worst-mistakes", "matrices", "gradients", "cost",
    ]  # fmt: skip
    assert [section["id"] for section in page.of("section")] == names
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"][1:] for a in page.of("a")]
    targets += [a["xlink:href"][1:] for a in page.of("use")]
    targets += re.findall(r"url\(#([^)]+)\)", page.source)
    assert set(targets) <= set(ids)
    assert {"matrix-dense-0-W", "matrix-dense-1-W"} <= set(ids)


def test_the_page_needs_nothing_else(digits):
    *_, page = digits
    assert not page.of("link")
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.of("img"))
    names = ("src", "href", "xlink:href")
    for _, attributes in page.elements:
        for name in names:
            assert not attributes.get(name, "#").startswith(("http", "//", "file"))
    assert "@import" not in page.source
    (policy,) = [m["content"] for m in page.of("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none';")


def test_everyone_is_told_what_pictures_show(digits):
    *_, page = digits
    assert all(image["alt"] for image in page.of("img"))
    drawings = page.of("svg")
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in drawings)
    labels = [svg["aria-label"] for svg in drawings]
    assert len(labels) == len(set(labels))
    assert all(th.get("scope") for th in page.of("th")[1:] if "class" not in th)
    assert dict(page.elements)["html"] == {"lang": "en"}
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert max(np.diff(levels)) <= 1  # no heading is skipped


def test_figures_are_the_models(digits):
    model, X, y, page = digits
    shown = " ".join(page.texts)
    assert f"{model.score(X, y):.2%}" in shown
    assert f"{model.history_['loss'][-1]:.4g}" in shown
    numbers = sum(W.size for layer in model.weights_.values() for W in layer.values())
    assert f"{numbers:,}" in shown
    assert "0x" not in shown  # no address of a callback
    assert len(page.source) < 1_000_000
    found = model.predict(X)
    wrong = [f"{a} taken for {b}" for a, b in zip(y, found, strict=True) if a != b]
    told = [text for text in page.texts if " taken for " in text]
    assert len(told) == min(12, len(wrong))
    assert set(told) <= set(wrong)


def test_one_model_is_one_page(digits, tmp_path):
    model, X, y, page = digits
    again = report(model, X, y, tmp_path / "again.html").read_text(encoding="utf-8")
    assert again == page.source


def test_names_from_data_are_only_text(tmp_path):
    X, y = load_iris(return_X_y=True)
    columns = [HOSTILE, "'\"><img src=x onerror=alert(1)>", "$a", "\x00\u202e"]
    frame = pd.DataFrame(X, columns=columns)
    classes = np.array([HOSTILE, "</style><b>", "$\\frac$"])[y]
    model = LinearClassifier(max_epochs=2, random_state=0, verbose=0).fit(frame, classes)
    file = tmp_path / "r.html"
    fault = Verdict("<q>fault", "<em>where", 1.0, "<em>share", "<em>low", "<em>change it")
    told = {"title": "<u>title", "data": "<i>data", "names": ["<s>row"] * 150}
    told["judged"] = Health((fault,), ())
    page = Page(report(model, frame, classes, file, mistakes=2, **told))
    assert len(page.of("script")) == 1
    for name in ("b", "em", "i", "q", "s", "u"):
        assert not page.of(name)
    assert not [image for image in page.of("img") if "onerror" in image]
    shown = {*columns[:3], *classes, "<u>title", "<s>row", "<q>fault in <em>where"}
    assert shown <= set(page.texts)  # as text they are all there
    assert " of <i>data" in " ".join(page.texts)
    assert not {"\x00", "\u202e"} & set(page.source)
    assert sum(" taken for " in text for text in page.texts) == 2


def test_verdicts_lead_to_what_they_are_about(digits, tmp_path):
    model, *_ = digits
    places = {"dense_0": True, "dense_1/W": True, "training": False}
    faults = [Verdict("fault", where, 1.0, "share of units,", "low", "Mend.") for where in places]
    page = Page(report(model, path=tmp_path / "r.html", judged=Health(tuple(faults), ())))
    linked = re.findall(r'Fault in <a href="#matrix-dense-(\d)-W">', page.source)
    assert linked == ["0", "1"]
    assert "Fault in training" in page.source
    assert page.texts.count("Share of units: 1; healthy is low.") == 3
    card = page.source[page.source.index('id="matrix-dense-1-W"') :]
    assert "Mend." in card[: card.index("</article>")]  # in the matrix's own card too


def test_names_of_targets_are_only_text(tmp_path):
    X, _ = load_iris(return_X_y=True)
    model = LinearRegressor(max_epochs=2, random_state=0, verbose=0)
    target = pd.Series(X[:, 0], name=HOSTILE)
    file = tmp_path / "r.html"
    page = Page(report(model.fit(X, target), X, target, file, mistakes=0, judged=NOTHING))
    assert len(page.of("script")) == 1
    assert f"{HOSTILE}: errors" in page.texts
    assert "worst-mistakes" not in [section["id"] for section in page.of("section")]


def test_a_model_alone_has_a_page(tmp_path):
    text = "the cat sat on the mat, the rat sat on the cat. " * 40
    model = CharacterModel(hidden=(8,), window=16, max_epochs=1, random_state=0, verbose=0)
    model.fit(text)
    page = Page(report(model, path=tmp_path / "text.html"))
    sections = [section["id"] for section in page.of("section")]
    assert sections == ["health", "learning", "matrices", "gradients", "cost"]
    with pytest.raises(InputError, match=r"expected a classifier or regressor .* CharacterModel"):
        report(model, text, text, tmp_path / "text.html")


def test_bad_calls_are_refused(digits, tmp_path):
    model, X, y, _ = digits
    file = tmp_path / "r.html"
    with pytest.raises(InputError, match="expected a fitted network, got MLPClassifier"):
        report(MLPClassifier(), X, y, file)
    with pytest.raises(InputError, match="expected a fitted network, got RatingFactorization"):
        report(RatingFactorization(), path=file)
    with pytest.raises(InputError, match="X and y together"):
        report(model, X, path=file)
    with pytest.raises(InputError, match="names expected one for each row of X, got 2"):
        report(model, X, y, file, names=["a", "b"])
    with pytest.raises(InputError, match="mistakes expected a whole number at least 0; got -1"):
        report(model, X, y, file, mistakes=-1)
    with pytest.raises(InputError, match="can be written to, got: No such file"):
        report(model, X, y, tmp_path / "no" / "r.html")
    assert not list(tmp_path.iterdir())


def test_markup_escapes_all_but_markup():
    bold = tag("b", "a & b")
    assert join("<", bold, None, ["'", bold]) == ("&lt;<b>a &amp; b</b>&#x27;<b>a &amp; b</b>")
    assert tag("a", href='"', aria_label="x", hidden=True, title=None, id=False) == (
        '<a href="&quot;" aria-label="x" hidden></a>'
    )
    assert tag("img", src="s") == '<img src="s">'
    assert escaped("a\nb\x1b\ud800\u200d") == "a\nb��\u200d"


def test_figures_become_drawings_that_take_the_pages_colours():
    figure = Figure(figsize=(3, 2))
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1])
    axis.imshow(np.arange(6).reshape(2, 3), interpolation="none", cmap="RdBu_r")
    axis.set_title("a < b", parse_math=False)
    one, two = figure_as_svg(figure, "one"), figure_as_svg(figure, "two")
    assert one.startswith('<svg viewBox="0 0 216 144" style="width: 288px" role="img"')
    assert "currentColor" in one
    assert "var(--first)" in one
    assert not re.search("#(000000|1f77b4|ffffff)", one)
    assert "a &lt; b" in one  # still text
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]
    (data,) = re.findall(r"base64,([^\"]+)", one)
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.mode == "P"  # a palette, and yet every colour as it was
    expected = axis.images[0].to_rgba(np.arange(6).reshape(2, 3), bytes=True)[..., :3]
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), expected)
