"""Text files: UTF-8 as it is, anything else refused with the position of its first byte."""

import os
from pathlib import Path

import numpy as np
import pytest

from lamina.errors import FileFormatError, InputError
from lamina.formats.text_file import read_text


def test_text_is_read_whole(tmp_path):
    (tmp_path / "a.txt").write_bytes("﻿Ä b\r\nc\rd\n".encode())
    data = read_text(tmp_path / "a.txt")
    assert data.X == "Ä b\nc\nd\n"
    assert (data.kind, data.y, len(data)) == ("text", None, 8)
    assert data.take(np.arange(2, 5)).X == "b\nc"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "got an empty file"),
        (b" \n\t", "got only white space"),
        (b"ab\ncd\xe4f", r"byte 0xe4 at position 5 \(line 2\)\. Save it as UTF-8"),
        (b"\xef\xbb\xbfab\n\xff", r"byte 0xff at position 6 \(line 2\)"),
        ("ab".encode("utf-16"), r"byte 0xff at position 0 \(line 1\)"),
        ("ab".encode("utf-16-le"), r"byte 0x00 at position 1 \(line 1\)"),
        ("a…".encode()[:-1], r"byte 0xe2 at position 1"),
    ],
)
def test_other_files_are_refused(tmp_path, content, words):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=words) as caught:
        read_text(path)
    assert str(path) in str(caught.value)


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_text(tmp_path / "a.txt")


@pytest.mark.data
def test_moby_dick():
    path = Path(os.environ.get("LAMINA_DATA_DIR", "")) / "moby-dick" / "moby-dick.txt"
    if "LAMINA_DATA_DIR" not in os.environ or not path.exists():
        pytest.skip("LAMINA_DATA_DIR names no folder with moby-dick")
    text = read_text(path).X
    assert "Call me Ishmael. Some years ago—never mind how long precisely" in text
    assert "\r" not in text
