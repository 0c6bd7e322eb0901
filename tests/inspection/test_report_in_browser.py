"""The report as its reader meets it: in Chromium, by pointer and keyboard, wide and on a phone."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from lamina import LinearClassifier
from lamina.inspection import Health, Verdict, report

HOSTILE = (
    "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
)


def _browser():
    path = Path(__file__).with_name("browser.py")
    spec = importlib.util.spec_from_file_location("browser", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


browser = _browser()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A report of a model whose columns, classes and title are hostile."""
    X, y = load_iris(return_X_y=True)
    frame = pd.DataFrame(X, columns=[HOSTILE, "b", "c", "d"])
    classes = np.array([HOSTILE, "zebra", "Äsche"])[y]
    model = LinearClassifier(max_epochs=2, random_state=0, verbose=0).fit(frame, classes)
    path = tmp_path_factory.mktemp("page") / "report.html"
    fault = Verdict(HOSTILE, f"input column {HOSTILE}", 1.0, "share", "low", "Change it.")
    return report(model, frame, classes, path, title=HOSTILE, judged=Health((fault,), ()))


@pytest.fixture(scope="module")
def chromium():
    """One Chromium for all tests here."""
    if browser.executable() is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with browser.Browser() as running:
        yield running


@pytest.fixture(scope="module")
def page(chromium, file):
    return chromium.open(file)


SORTABLE = "[...document.querySelectorAll('table.sortable')]"
BY_CLASS = f"{SORTABLE}.find(table => table.caption.innerText == 'By class')"


def column(page, number):
    cells = f"[...{BY_CLASS}.tBodies[0].rows].map(row => row.cells[{number}].textContent)"
    return page.run(cells)


def sort_by(page, number):
    page.run(f"{BY_CLASS}.tHead.rows[0].cells[{number}].querySelector('button').click()")
    heads = f"[...{BY_CLASS}.tHead.rows[0].cells].map(cell => cell.getAttribute('aria-sort'))"
    return page.run(heads)


def test_it_opens_without_complaint_and_asks_for_nothing(page, file):
    assert page.complaints == []
    assert page.requests == [file.as_uri()]


def test_hostile_names_stay_text(page):
    assert page.run("document.title") == HOSTILE
    assert page.run("document.querySelector('h1').textContent") == HOSTILE
    assert HOSTILE in column(page, 0)
    assert page.run("[...document.querySelectorAll('dt')].map(e => e.textContent)").count(HOSTILE)
    assert page.run("document.scripts.length") == 1


def test_even_a_script_that_got_in_would_not_run(chromium, file, tmp_path):
    broken = file.read_text(encoding="utf-8").replace(
        "<main", "<script>document.title = 'in'</script><main"
    )
    (tmp_path / "broken.html").write_text(broken, encoding="utf-8")
    opened = chromium.open(tmp_path / "broken.html")
    assert opened.run("document.title") == HOSTILE
    (complaint,) = opened.complaints
    assert "Content Security Policy" in complaint["entry"]["text"]


def test_a_column_sorts_up_and_down(page):
    recall = [float(text) for text in column(page, 2)]
    assert recall != sorted(recall) or recall != sorted(recall, reverse=True)
    assert sort_by(page, 2) == [None, None, "ascending", None, None]
    assert [float(text) for text in column(page, 2)] == sorted(recall)
    assert sort_by(page, 2) == [None, None, "descending", None, None]
    assert [float(text) for text in column(page, 2)] == sorted(recall, reverse=True)
    assert sort_by(page, 0) == ["ascending", None, None, None, None]
    assert column(page, 0) == [HOSTILE, "Äsche", "zebra"]  # letters as a language sorts them


def test_numbers_sort_by_value_and_gaps_last(page):
    table = f"{SORTABLE}.find(table => table.caption.innerText.startsWith('All weights'))"
    press = f"{table}.tHead.rows[0].cells[4].querySelector('button').click()"  # σ₁: none of a bias
    read = f"[...{table}.tBodies[0].rows].map(row => row.cells[4].textContent)"
    for _ in range(2):
        page.run(press)
        values = page.run(read)
        assert values[-1] == ""
        assert values[0] != ""


def test_the_keyboard_is_enough(page):
    button = f"{BY_CLASS}.tHead.rows[0].cells[1].querySelector('button')"
    page.run(f"{button}.focus()")
    assert page.run(f"document.activeElement === {button}")
    page.press("Enter", 13)
    assert page.run(f"{button}.closest('th').getAttribute('aria-sort')") == "ascending"
    page.press("Tab", 9)
    following = f"{BY_CLASS}.tHead.rows[0].cells[2].querySelector('button')"
    assert page.run(f"document.activeElement === {following}")
    outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_a_phone_needs_no_sideways_scrolling(chromium, file):
    phone = chromium.open(file, size=browser.PHONE)
    assert phone.run("document.documentElement.scrollWidth") == browser.PHONE[0]
    size = "element => parseFloat(getComputedStyle(element).fontSize)"
    assert min(phone.run(f"[...document.querySelectorAll('p, td, figcaption')].map({size})")) >= 12


# Contrast is the ratio of relative luminances, WCAG 2.1, section 1.4.3: of every text's own colour
# and what is painted below it.
CONTRASTS = """
(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parts = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  const texts = "h1, h2, h3, p, a, td:not(.none), th, dt, dd, figcaption, text";
  for (const node of document.querySelectorAll(texts)) {
    if (!node.textContent.trim()) continue;
    const under = [];
    for (let e = node; e; e = e.parentElement) under.unshift(getComputedStyle(e).backgroundColor);
    const style = getComputedStyle(node);
    const colour = node.localName == "text" ? style.fill : style.color;
    const back = parts(under), ink = parts([...under, colour]);
    const [dark, light] = [luminance(back), luminance(ink)].sort((a, b) => a - b);
    found.push([(light + 0.05) / (dark + 0.05), node.localName, node.textContent.trim()]);
  }
  return found.sort((a, b) => a[0] - b[0]);
})()
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_stands_out(chromium, file, dark):
    opened = chromium.open(file, dark=dark)
    body = opened.run("getComputedStyle(document.body).backgroundColor")
    assert (body == "rgb(19, 22, 26)") == dark
    contrasts = opened.run(CONTRASTS)
    assert len(contrasts) > 100
    assert contrasts[0][0] >= 4.5, contrasts[:5]
