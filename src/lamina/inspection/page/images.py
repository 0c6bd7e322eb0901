"""Pictures inside a page: figures as SVG that takes the page's colours, arrays as small PNGs."""

from __future__ import annotations

import base64
import io
import re
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.inspection.page.markup import Markup, tag

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {
    "#000000": "currentColor",
    "#b0b0b0": "var(--line)",
    "#808080": "var(--quiet)",
    "#1f77b4": "var(--first)",
    "#ff7f0e": "var(--second)",
}
"""matplotlib's colours, and what of the page's style they become, so that they suit dark pages."""

_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "lamina", "svg.image_inline": True}


def figure_as_svg(figure: Figure, label: str) -> Markup:
    """Return a figure as an SVG element.

    Parameters
    ----------
    figure : Figure
        Any; its text stays text, and its background is the page's.
    label : str
        What it shows, for those who do not see it; no other figure of the page has the same, as
        it keeps the names of their parts apart.
    """
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):  # type: ignore[arg-type]
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    prefix = f"f{zlib.crc32(label.encode()):08x}-"
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", svg)
    svg = re.sub(r"data:image/png;base64,([^\"]+)", _with_palette, svg)
    svg = re.sub(r"font: ([0-9.]+px)[^;\"]*", r"font-size: \1", svg)
    for colour, ours in COLOURS.items():
        svg = svg.replace(colour, ours)
    width, height = (float(v) for v in re.findall(r'(?:width|height)="([0-9.]+)pt"', svg)[:2])
    size = f"width: {width * 4 / 3:.0f}px"  # an inch is 72 points and 96 pixels
    box = f"0 0 {width:g} {height:g}"
    inner = svg[svg.index(">") + 1 : svg.rindex("</svg>")]
    inner = Markup(re.sub(r">\s+<", "><", inner).strip())
    return tag("svg", inner, viewBox=box, style=size, role="img", aria_label=label)


def _with_palette(found: re.Match[str]) -> str:
    """Return an embedded image with a palette where it has at most 256 colours, a third as long."""
    from PIL import Image

    image = Image.open(io.BytesIO(base64.b64decode(found[1])))
    pixels = np.asarray(image.convert("RGBA"))
    colours, index = np.unique(pixels.reshape(-1, 4), axis=0, return_inverse=True)
    if len(colours) > 256 or not (colours[:, 3] == 255).all():
        return found[0]
    small = Image.fromarray(index.reshape(pixels.shape[:2]).astype(np.uint8), "P")
    small.putpalette(colours[:, :3].astype(np.uint8).tobytes())
    return _data_uri(small)


def picture(
    pixels: np.ndarray, label: str, width: int | None = None, height: int | None = None
) -> Markup:
    """Return an ``img`` of pixels.

    Parameters
    ----------
    pixels : uint8 array of shape (h, w) or (h, w, 3)
        Greys or colours.
    label : str
        What it shows, for those who do not see it.
    width, height : int, optional
        Its size on the page; a pixel a pixel if None.
    """
    from PIL import Image

    h, w = pixels.shape[:2]
    crisp = "crisp" if max(h, w) < 96 else None
    source = _data_uri(Image.fromarray(pixels))
    return tag("img", src=source, alt=label, width=width or w, height=height or h, class_=crisp)


def _data_uri(image: Any) -> str:
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def grey_or_colour(image: np.ndarray) -> np.ndarray:
    """Return pixels of an image (h, w), (h, w, 1) or (h, w, 3) of any numbers, least to greatest.

    Bytes stay as they are; more channels than three are averaged.
    """
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[-1] != 3:
        image = image.mean(axis=-1).astype(image.dtype) if image.shape[-1] > 1 else image[..., 0]
    if image.dtype == np.uint8:
        return image
    image = np.nan_to_num(image.astype(np.float64))
    low, high = image.min(), image.max()
    return np.round(255 * (image - low) / ((high - low) or 1.0)).astype(np.uint8)


def signed(values: np.ndarray, bound: float) -> np.ndarray:
    """Return pixels of signed numbers (h, w): red is positive, blue negative, white zero."""
    from matplotlib import colormaps

    scaled = 0.5 + 0.5 * np.nan_to_num(np.asarray(values, np.float64)) / (bound or 1.0)
    return colormaps["RdBu_r"](scaled, bytes=True)[..., :3]
