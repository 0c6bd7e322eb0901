"""Vocabulary and TextEncoder: codes there and back, unknown tokens, and documents."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import FileFormatError, InputError
from lamina.formats.text_encoder import TextEncoder
from lamina.formats.vocabulary import Vocabulary

TEXT = st.text(st.characters(codec="utf-8"), min_size=1)


@given(TEXT)
def test_characters_go_there_and_back(text):
    vocabulary = Vocabulary().fit(text)
    codes = vocabulary.encode(text)
    assert codes.dtype == np.int32
    assert codes.shape == (len(text),)
    assert set(codes.tolist()) == set(range(len(vocabulary) - 1))
    assert vocabulary.decode(codes) == text


def test_words_are_joined_by_spaces():
    vocabulary = Vocabulary("word").fit("to be  or\nnot to be")
    assert vocabulary.tokens == ("be", "to", "not", "or")
    assert vocabulary.encode(" not\tto ").tolist() == [2, 1]
    assert vocabulary.decode([1, 0, 3, 2, 1, 0]) == "to be or not to be"


def test_the_most_frequent_come_first_and_can_be_all():
    texts = ["aab", "abc", "d"]
    assert Vocabulary().fit(texts).tokens == ("a", "b", "c", "d")
    assert Vocabulary().fit(texts, most=3).tokens == ("a", "b", "c")
    assert Vocabulary().fit(texts, at_least=2).tokens == ("a", "b")
    assert Vocabulary().fit(texts, most=1, at_least=2).tokens == ("a",)


def test_unknown_tokens_are_named_or_replaced():
    vocabulary = Vocabulary().fit("abc")
    with pytest.raises(InputError, match=r"got 'x' at position 2 of the text's characters"):
        vocabulary.encode("abxay")
    codes = vocabulary.encode("abxa", "replace")
    assert codes.tolist() == [0, 1, 3, 0]
    assert len(vocabulary) == 4
    assert vocabulary.decode(codes) == "ab�a"
    words = Vocabulary("word").fit("one two")
    with pytest.raises(InputError, match=r"got 'three' at position 1 of the text's words"):
        words.encode("one three")
    assert words.decode(words.encode("two three", "replace")) == "two �"


def test_what_is_refused():
    vocabulary = Vocabulary().fit("abc")
    for call in (lambda: Vocabulary().encode("a"), lambda: Vocabulary().decode([0])):
        with pytest.raises(InputError, match="expected to be fitted first"):
            call()
    for X in ("", [], ["", ""]):
        with pytest.raises(InputError, match="a character that occurs at least 1 times, got none"):
            Vocabulary().fit(X)
    with pytest.raises(InputError, match="got none"):
        Vocabulary().fit("abc", at_least=2)
    with pytest.raises(InputError, match="level expected one of char, word"):
        Vocabulary("line").fit("abc")
    with pytest.raises(InputError, match="expected text, got bytes"):
        Vocabulary().fit([b"abc"])
    with pytest.raises(InputError, match="expected text, got list"):
        vocabulary.encode(["abc"])
    with pytest.raises(InputError, match="unknown expected one of error, replace"):
        vocabulary.encode("a", "ignore")
    for options in ({"most": 0}, {"at_least": 0}, {"most": 1.5}):
        with pytest.raises(InputError, match=r"expected a whole number at least 1"):
            Vocabulary().fit("abc", **options)
    for codes in ([4], [-1]):
        with pytest.raises(InputError, match=rf"codes from 0 to 3, got {codes[0]} at position 0"):
            vocabulary.decode(codes)
    for codes in ([0.5], [[0]], 0):
        with pytest.raises(InputError, match=r"whole-number codes of shape \(t,\)"):
            vocabulary.decode(codes)
    assert vocabulary.decode([]) == ""


@pytest.mark.parametrize(
    "vocabulary",
    [Vocabulary(), Vocabulary().fit("a…😀 \n"), Vocabulary("word").fit("one two")],
    ids=repr,
)
def test_document_gives_the_same_value_back(vocabulary):
    assert Vocabulary.from_document(json.loads(json.dumps(vocabulary.to_document()))) == vocabulary
    assert Vocabulary.from_document(vocabulary.to_document()) == vocabulary
    assert copy.deepcopy(vocabulary) == vocabulary


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "'level'"),
        ({"level": "line", "tokens": []}, "one of char, word, got 'line'"),
        ({"level": "char"}, "'tokens'"),
        ({"level": "char", "tokens": "ab"}, "'tokens' to be"),
        ({"level": "char", "tokens": ["ab"]}, "characters that differ"),
        ({"level": "char", "tokens": ["a", "a"]}, "characters that differ"),
        ({"level": "char", "tokens": ["a", 1]}, "characters that differ"),
        ({"level": "char", "tokens": [""]}, "characters that differ"),
        ({"level": "word", "tokens": ["a b"]}, "words that differ"),
    ],
)
def test_edited_documents_are_refused(document, words):
    with pytest.raises(FileFormatError, match="save the model again") as caught:
        Vocabulary.from_document(document)
    assert words in str(caught.value)


def test_texts_are_encoded_one_by_one():
    encoder = TextEncoder().fit(["ab", "ba a"])
    codes = encoder.transform(["ba", "a"])
    assert [each.tolist() for each in codes] == [[1, 0], [0]]
    assert {each.dtype for each in codes} == {np.dtype(np.int32)}
    assert encoder.transform("ab")[0].tolist() == [0, 1]
    assert (encoder.input_width, encoder.output_names) == (1, ("code",))
    with pytest.raises(InputError, match=r"In text 1 \(X\[1\]\): .*got 'x' at position 0"):
        encoder.transform(["ab", "x"])
    for wrong in (["a", ""], ["a", None]):
        with pytest.raises(InputError, match=r"in text 1 \(X\[1\]\)\. Leave it out"):
            encoder.transform(wrong)


def test_the_encoder_hands_its_options_on():
    encoder = TextEncoder(Vocabulary("word"), unknown="replace", most=2, at_least=2)
    fitted = encoder.fit("a a b b c c d")
    assert fitted.vocabulary.tokens == ("a", "b")
    assert TextEncoder(at_least=3).fit("aaab").vocabulary.tokens == ("a",)
    assert fitted.transform("b c")[0].tolist() == [1, 2]
    assert TextEncoder.from_document(json.loads(json.dumps(fitted.to_document()))) == fitted
    with pytest.raises(InputError, match="unknown expected"):
        TextEncoder(unknown="ignore").fit("a")
