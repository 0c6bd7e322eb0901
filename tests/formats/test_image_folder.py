from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lamina.errors import FileFormatError, InputError
from lamina.formats.image_folder import has_test_part, is_image_folder, read_image_folder

rng = np.random.default_rng(0)


def picture(path: Path, shape: tuple[int, ...] = (4, 5, 3), mode: str | None = None) -> np.ndarray:
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)
    return pixels


def test_one_sub_folder_a_class(tmp_path):
    pixels = {
        name: picture(tmp_path / name)
        for name in ("dog/b.png", "cat/2.BMP", "cat/10.png", "dog/deep/er/a.PpM")
    }
    picture(tmp_path / "cat/.hidden.png")
    picture(tmp_path / ".hidden/a.png")
    (tmp_path / "cat/notes.txt").write_text("not an image")
    (tmp_path / "empty").mkdir()
    data = read_image_folder(tmp_path)
    assert data.kind == "images"
    assert data.row_names == ("cat/10.png", "cat/2.BMP", "dog/b.png", "dog/deep/er/a.PpM")
    np.testing.assert_array_equal(data.y, ["cat", "cat", "dog", "dog"])
    assert data.X.dtype == np.uint8
    for row, name in zip(data.X, data.row_names, strict=True):
        np.testing.assert_array_equal(row, pixels[name])


def test_a_flat_folder_has_no_labels(tmp_path):
    grey = picture(tmp_path / "a.pgm", (4, 5))
    picture(tmp_path / "b.png", (4, 5))
    data = read_image_folder(tmp_path)
    assert data.y is None
    assert data.X.shape == (2, 4, 5, 1)
    np.testing.assert_array_equal(data.X[0, ..., 0], grey)


@pytest.mark.parametrize(
    ("suffix", "tolerance"),
    [
        ("png", 0),
        ("bmp", 0),
        ("ppm", 0),
        ("tif", 0),
        ("tiff", 0),
        ("jpg", 12),
        ("jpeg", 12),
        ("webp", 12),
    ],
)
def test_every_format_of_colour(tmp_path, suffix, tolerance):
    ramp = np.linspace(0, 255, 16 * 16, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    Image.fromarray(ramp).save(tmp_path / f"a.{suffix}")
    got = read_image_folder(tmp_path).X[0].astype(int)
    assert np.abs(got - ramp).max() <= tolerance


def test_transparency_is_dropped_and_palettes_are_looked_up(tmp_path):
    rgba = picture(tmp_path / "rgba.png", (4, 5, 4))
    palette = Image.new("P", (5, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "palette.png")
    palette.save(tmp_path / "animation.gif")
    data = read_image_folder(tmp_path)
    assert data.row_names == ("animation.gif", "palette.png", "rgba.png")
    np.testing.assert_array_equal(data.X[:2], np.broadcast_to([10, 20, 30], (2, 4, 5, 3)))
    np.testing.assert_array_equal(data.X[2], rgba[..., :3])


def test_two_levels_and_grey_with_transparency_are_grey(tmp_path):
    Image.new("1", (5, 4), 1).save(tmp_path / "a.png")
    Image.new("LA", (5, 4), (7, 0)).save(tmp_path / "b.png")
    X = read_image_folder(tmp_path).X
    assert X.shape == (2, 4, 5, 1)
    assert (X[0] == 255).all()
    assert (X[1] == 7).all()


def test_grey_among_colour_names_one_of_each(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png", (4, 5))
    with pytest.raises(InputError, match=r"got b\.png grey and a\.png in colour\. Convert"):
        read_image_folder(tmp_path)


def test_two_sizes_name_both_files_and_the_remedy(tmp_path):
    picture(tmp_path / "x/a.png")
    picture(tmp_path / "y/b.png", (6, 7, 3))
    with pytest.raises(InputError, match=r"x/a\.png of 4x5 and y/b\.png of 6x7.*--size HxW"):
        read_image_folder(tmp_path)
    data = read_image_folder(tmp_path, size=(3, 2))
    assert data.X.shape == (2, 3, 2, 3)
    np.testing.assert_array_equal(data.y, ["x", "y"])


def test_resizing_is_bilinear(tmp_path):
    Image.fromarray(np.array([[0, 100]], np.uint8)).save(tmp_path / "a.png")
    # Four pixels over two: centres at -0.25, 0.25, 0.75, 1.25 of the way from first to second.
    np.testing.assert_array_equal(
        read_image_folder(tmp_path, size=(1, 4)).X.ravel(), [0, 25, 75, 100]
    )


@pytest.mark.parametrize("size", [(0, 3), (3, -1), (2.5, 3), (3,), (3, 3, 3)])
def test_a_size_that_is_none(tmp_path, size):
    with pytest.raises(InputError, match=r"size.* expected (a whole number at least 1|\(height)"):
        read_image_folder(tmp_path, size=size)


def test_sixteen_bits_are_refused(tmp_path):
    Image.fromarray(np.full((4, 5), 40_000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(FileFormatError, match=r"a\.png expected 8 bits a channel; got .*I;16"):
        read_image_folder(tmp_path)


def test_a_corrupt_image_is_named_or_skipped_and_counted(tmp_path):
    first = picture(tmp_path / "a/1.png")
    picture(tmp_path / "a/2.png")
    whole = (tmp_path / "a/2.png").read_bytes()
    (tmp_path / "a/2.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a/3.jpg").write_text("not an image")
    last = picture(tmp_path / "b/4.png")
    with pytest.raises(
        FileFormatError, match=r"2\.png could not be read.*--skip-bad skips and counts"
    ):
        read_image_folder(tmp_path)
    with pytest.warns(UserWarning, match=r"skipped 2 of 4 images; the first: .*2\.png"):
        data = read_image_folder(tmp_path, skip_bad=True)
    assert data.row_names == ("a/1.png", "b/4.png")
    np.testing.assert_array_equal(data.y, ["a", "b"])
    np.testing.assert_array_equal(data.X, [first, last])


def test_nothing_but_corrupt_images(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"no image that can be read; the first: .*a\.png"):
        read_image_folder(tmp_path, skip_bad=True)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    picture(tmp_path / "a.png", (40, 40, 3))
    for limit in (1000, 100):  # Pillow warns above its limit, and raises above twice that
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(FileFormatError, match=r"a\.png could not be read.*decompression bomb"):
            read_image_folder(tmp_path)


@given(data=st.data())
@settings(deadline=None)
@pytest.mark.parametrize("suffix", ["png", "gif", "tif", "bmp", "jpg"])
def test_damage_gives_a_format_error_or_an_image(tmp_path_factory, suffix, data):
    path = tmp_path_factory.mktemp("images") / f"a.{suffix}"
    Image.new("RGB", (5, 4), (1, 2, 3)).save(path)
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1), "position")
    if data.draw(st.booleans(), "truncate"):
        del content[position:]
    else:
        content[position] ^= data.draw(st.integers(1, 255), "flip")
    path.write_bytes(content)
    try:
        X = read_image_folder(path.parent, size=(4, 5)).X
    except FileFormatError:
        return
    assert X.shape[:3] == (1, 4, 5)


def test_train_and_test(tmp_path):
    for name in ("train/cat/a.png", "train/dog/b.png", "test/cat/c.png"):
        picture(tmp_path / name)
    assert has_test_part(tmp_path)
    train, test = read_image_folder(tmp_path), read_image_folder(tmp_path, part="test")
    np.testing.assert_array_equal(train.y, ["cat", "dog"])
    np.testing.assert_array_equal(test.y, ["cat"])
    assert test.row_names == ("test/cat/c.png",)
    with pytest.raises(InputError, match="part expected one of train, test"):
        read_image_folder(tmp_path, part="valid")


def test_classes_may_be_called_train_and_test(tmp_path):
    picture(tmp_path / "train/a.png")
    picture(tmp_path / "test/b.png")
    assert not has_test_part(tmp_path)
    np.testing.assert_array_equal(read_image_folder(tmp_path).y, ["test", "train"])
    with pytest.raises(InputError, match="expected the sub-folders train and test"):
        read_image_folder(tmp_path, part="test")


def test_folders_without_sense(tmp_path):
    with pytest.raises(InputError, match=r"expected images \(\.png \.jpg .*got none"):
        read_image_folder(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_image_folder(tmp_path / "nowhere")
    picture(tmp_path / "a.png")
    picture(tmp_path / "cat/b.png")
    with pytest.raises(InputError, match=r"got both: a\.png and cat.b\.png"):
        read_image_folder(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_that_leave_the_folder_are_not_followed(tmp_path):
    picture(tmp_path / "outside/secret.png")
    kept = picture(tmp_path / "set/cat/a.png")
    (tmp_path / "set/cat/link.png").symlink_to(tmp_path / "outside/secret.png")
    (tmp_path / "set/cat/loop").symlink_to(tmp_path / "set")
    (tmp_path / "set/dog").symlink_to(tmp_path / "outside")
    (tmp_path / "set/cats").symlink_to("cat")
    (tmp_path / "set/cat/b.png").symlink_to("a.png")
    (tmp_path / "set/cat/broken.png").symlink_to("nowhere.png")
    data = read_image_folder(tmp_path / "set")
    assert data.row_names == ("cat/a.png", "cat/b.png")
    np.testing.assert_array_equal(data.X, [kept, kept])


def test_any_other_folder_is_an_image_folder(tmp_path):
    assert is_image_folder(tmp_path)
    assert not is_image_folder(tmp_path / "nowhere")
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(b"")
    assert not is_image_folder(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").rename(tmp_path / "test_batch.bin")
    assert not is_image_folder(tmp_path)
