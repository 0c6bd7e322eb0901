"""``lamina plan``: costs before training."""

import pytest


def test_a_table(lamina, flowers_csv):
    done = lamina("plan", "flowers.csv", "--target", "species", "--hidden", "512,256")
    assert done.status == 0, done.err
    assert "×512)·(512×256)" in done.out
    assert f"{512 * 256 + 256:,}" in done.out
    assert "200 epochs" not in done.out
    assert "GB are free" in done.out


def test_pictures(lamina, pictures):
    done = lamina("plan", "pictures", "--model", "conv", "--filters", "4", "--depth", "1")
    assert done.status == 0, done.err
    assert "(1,728×9)·(9×4)" in done.out  # 48 of 60 images of 6×6, windows of 3×3


def test_what_does_not_fit_is_told(lamina, flowers_csv, monkeypatch):
    monkeypatch.setattr("lamina.cli.training.free_memory", lambda: 1000)
    done = lamina("plan", "flowers.csv", "--target", "species")
    assert (done.status, "It will not fit" in done.out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.csv", "--model", "transfer"], "--model expected one of linear, mlp, conv, lstm"),
        (["none.csv"], "Did you mean 'flowers.csv'"),
        (["flowers.csv"], "--target NAME"),
        (["flowers.csv", "--target", "species", "--hidden", "0"], "at least 1"),
        (["flowers.csv", "--target", "species", "--model", "lstm"], "expected series"),
    ],
)
def test_bad_input(lamina, flowers_csv, arguments, told):
    done = lamina("plan", *arguments)
    assert (done.status, told in done.err) == (2, True), done.err
