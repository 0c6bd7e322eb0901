"""``lamina demo``: handwritten digits, from pixels to a saved model, in some seconds."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

TEST_FRACTION, SEED = 0.25, 0
TEMPLATE_ALPHA = 1e-3  # an L2 penalty that leaves the templates smooth enough to read


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put the model and the pictures.")] = Path(
        "demo"
    ),
) -> None:
    """Train on scikit-learn's handwritten digits and show what came of it."""
    from lamina import LinearClassifier, MLPClassifier, Watch
    from lamina.cache import use_compilation_cache
    from lamina.cli import measure, show
    from lamina.cli.data import train_and_test
    from lamina.formats.encoders import encoder_for
    from lamina.formats.files import unwritable
    from lamina.inspection import draw_confusion, draw_templates, report

    use_compilation_cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    train, test, origin = train_and_test("digits", None, None, TEST_FRACTION, SEED)
    assert test is not None
    show.line("data", f"{len(train)} handwritten digits of 8×8 pixels; {len(test)} more to test on")
    encoder = encoder_for(train)
    linear = LinearClassifier(alpha=TEMPLATE_ALPHA, encoder=encoder, random_state=SEED)
    linear.fit(train.X, train.y)
    show.line("linear", f"X W + b                                 {measure.headline(linear, test)}")
    model: Any = MLPClassifier(encoder=encoder, callbacks=[Watch()], random_state=SEED)
    model.fit(train.X, train.y, validation_data=(test.X, test.y))
    show.line("mlp", f"relu(relu(X W₀ + b₀) W₁ + b₁) W₂ + b₂   {measure.headline(model, test)}")
    confusion = measure.confusion_of(model, test)
    show.console().print(show.confusion_table(confusion, model.classes_.tolist()))
    paths = {
        "templates": folder / "templates.png",
        "confusion": folder / "confusion.png",
        "model": folder / "digits.safetensors",
        "report": folder / "report.html",
    }
    image_shape = (8, 8, 1)
    draw_templates(linear.coef_, linear.classes_.tolist(), image_shape).savefig(
        paths["templates"], dpi=150
    )
    draw_confusion(confusion, model.classes_.tolist()).savefig(paths["confusion"], dpi=150)
    model.trained_on_ = origin
    model.save(paths["model"])
    show.line("pictures", f"{paths['templates']} (each class's weights), {paths['confusion']}")
    show.line("model", f"{paths['model']} ({show.file_size(paths['model'])})")
    report(
        model, test.X, test.y, paths["report"], title="Handwritten digits", data="digits held out"
    )
    show.line("report", f"{paths['report']}: open it in a browser")
    show.line("next", f"{_command()} inspect {paths['model']} digits")


def _command() -> str:
    """Return how to call the command line: ``.venv/bin/lamina`` after ``make demo``."""
    beside = Path(sys.executable).with_name("lamina")
    if shutil.which("lamina") or not beside.exists():
        return "lamina"
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)
