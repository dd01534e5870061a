"""Rules of labels: which claim wins, what is refused, how claims are written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leopart.errors import LeopartError
from leopart.labels.rules import Claim, Label, Labels, claim_of

M, K = 4, 6


def label(number: int, name: str, words: str) -> Label:
    return Label(number, name, (number, 2 * number, 200), claim_of(words))


def test_the_more_special_claim_wins():
    labels = Labels(
        (label(1, "car", "objects:2"), label(2, "wheel", "parts:3"), label(4, "bus wheel", "parts:3@1")),
        ignored=claim_of("parts:5 parts:6@2"),
    )
    table = labels.table(M, K)

    assert table[2].tolist() == [0, 1, 1, 2, 1, 0, 0]
    assert table[1].tolist() == [0, 0, 0, 4, 0, 0, 0]
    assert table[0].tolist() == [0, 0, 0, 2, 0, 0, 0]
    assert table[:, 0].sum() == 0


claims = st.builds(
    Claim,
    st.frozensets(st.integers(1, M), max_size=2),
    st.frozensets(st.integers(1, K), max_size=3),
    st.frozensets(st.tuples(st.integers(1, M), st.integers(1, K)), max_size=4),
)


@given(claims, claims, claims)
def test_the_table_is_that_of_a_naive_look_up(ignored: Claim, first: Claim, second: Claim):
    second = second - first - ignored
    first = first - ignored
    chosen = [Label(i, f"l{i}", (0, 0, 0), c) for i, c in ((1, first), (2, second)) if c]
    table = Labels(tuple(chosen), ignored).table(M, K)
    owners = [(0, ignored), *((one.id, one.claim) for one in chosen)]
    for obj in range(M + 1):
        for part in range(K + 1):
            ranks = [(3, number) for number, claim in owners if (obj, part) in claim.parts_of_objects] + [
                (2, number) for number, claim in owners if part in claim.parts
            ]
            ranks += [(1, number) for number, claim in owners if obj in claim.objects]
            expected = max(ranks, key=lambda rank: rank[0])[1] if ranks and part else 0
            assert table[obj, part] == expected


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("parts:3,4", "parts:4", "'a' and 'b' both claim parts:4"),
        ("objects:1", "objects:1,2", "'a' and 'b' both claim objects:1"),
        ("parts:3@2", "parts:3@2", "'a' and 'b' both claim parts:3@2"),
    ],
)
def test_two_labels_that_claim_the_same_are_refused_by_name(first: str, second: str, told: str):
    with pytest.raises(LeopartError, match=told):
        Labels((label(1, "a", first), label(2, "b", second)))


def test_a_claim_to_something_that_is_ignored_is_refused():
    with pytest.raises(LeopartError, match="'ignore' and 'a' both claim parts:4"):
        Labels((label(1, "a", "parts:4"),), ignored=claim_of("parts:4"))


@pytest.mark.parametrize("name", ["", " a", "a\nb", "a\tb", "\u2028", "\x1b[0m", "\ud800"])
def test_names_with_control_characters_or_nothing_in_them_are_refused(name: str):
    with pytest.raises(LeopartError):
        Labels((replace(label(1, "a", "parts:1"), name=name),))


@pytest.mark.parametrize("name", ["Hemd", "シャツ", "a/b:c", "🦊", "x" * 300])
def test_any_other_text_is_a_name(name: str):
    assert Labels((replace(label(1, "a", "parts:1"), name=name),)).classes == {0: "background", 1: name}


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ((label(1, "a", "parts:1"), label(2, "A", "parts:2")), "'A' cannot be used, two labels have it"),
        ((label(1, "caf\u00e9", "parts:1"), label(2, "cafe\u0301", "parts:2")), "two labels have it"),
        ((label(1, "Background", "parts:1"),), "background is what nothing claims"),
        ((label(1, "a", "parts:1"), label(1, "b", "parts:2")), "id 1 of label 'b' is used twice"),
        ((label(255, "a", "parts:1"),), "id 255 of label 'a' is not allowed"),
        ((Label(1, "a", (0, 0, 0), Claim()),), "label 'a' claims nothing"),
    ],
)
def test_labels_that_contradict_each_other_are_refused(labels: tuple[Label, ...], told: str):
    with pytest.raises(LeopartError, match=told):
        Labels(labels)


@pytest.mark.parametrize(
    ("words", "told"),
    [("objects:9", "'a' claims object 9, .*objects are 1 to 4"), ("parts:7", "'a' claims part 7"),
     ("parts:1@9", "'a' claims object 9"), ("parts:0", "'a' claims part 0")],
)  # fmt: skip
def test_claims_to_what_is_not_there_are_refused(words: str, told: str):
    with pytest.raises(LeopartError, match=told):
        Labels((label(1, "a", words),)).table(M, K)


@given(claims.filter(bool))
def test_a_claim_reads_as_it_is_written(claim: Claim):
    assert claim_of(str(claim)) == claim


def test_spans_and_several_words_are_claims():
    assert claim_of("part:3-5 objects:2") == Claim(frozenset([2]), frozenset([3, 4, 5]))
    assert claim_of("parts:3@2,4@2") == Claim(parts_of_objects=frozenset([(2, 3), (2, 4)]))


@pytest.mark.parametrize(
    "words", ["", "3", "parts:", "parts:x", "objects:3@2", "parts:3@", "thing:3", "parts:9-"]
)
def test_other_words_are_refused(words: str):
    with pytest.raises(LeopartError, match="write"):
        claim_of(words)


def test_an_id_that_was_used_is_not_given_again():
    labels = Labels((label(1, "a", "parts:1"), label(2, "b", "parts:2")))
    left = labels.moved(claim_of("parts:2"))

    assert [one.name for one in left] == ["a"]
    assert left.next_id == 3
    assert Labels((), last_id=254).next_id == 256
