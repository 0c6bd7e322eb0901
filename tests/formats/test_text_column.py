"""A column of texts: read with its target, kept in the encoder, and refused where it has gaps."""

import json

import pytest

from lamina.errors import InputError
from lamina.formats.encoders import TextEncoder, encoder_for
from lamina.formats.read import read
from lamina.formats.readings import TextColumn

TABLE = "stars,review,who\n5,fine film,Ada\n1,bad,Bo\n"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "reviews.csv").write_text(TABLE)
    return tmp_path / "reviews.csv"


def test_texts_and_targets(path):
    data = read(path, target="stars", reading=TextColumn("review"))
    assert (data.kind, data.X, data.y.tolist()) == ("text", ["fine film", "bad"], [5, 1])
    assert data.take([1]).X == ["bad"]
    assert len(data) == 2
    encoder = encoder_for(data).fit(data.X)
    assert encoder.reading == TextColumn("review")
    document = json.loads(json.dumps(encoder.to_document()))
    assert TextEncoder.from_document(document) == encoder
    assert read(path, reading=encoder.reading).y is None


@pytest.mark.parametrize(
    ("more", "options", "words"),
    [
        ("3,,Cy\n", {}, r"a text in every row of column 'review', got none in row 3 below"),
        ("3,' ',Cy\n3, ,Di\n", {}, r"got none in row 4 below"),
        ("", {"target": "review"}, r"different columns, got 'review' for both"),
        ("", {"reading": TextColumn("reviews")}, r"column 'reviews', .* Did you mean 'review'"),
        ("", {"reading": TextColumn("stars")}, r"a text in every row .*got 5 in row 1 below"),
    ],
)
def test_what_is_refused(path, more, options, words):
    path.write_text(TABLE + more)
    with pytest.raises(InputError, match=words):
        read(path, **{"reading": TextColumn("review")} | options)
