from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from leopart.documents import read_json, read_yaml
from leopart.errors import LeopartError

ANY: Any = object


@dataclass(frozen=True)
class Photo:
    name: str
    sizes: list[int]


def file(folder: Path, content: str | bytes) -> Path:
    path = folder / "document"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(read: Any, path: Path, kind: Any = ANY, **limit: int) -> str:
    with pytest.raises(LeopartError) as error:
        read(path, kind, "write it again", **limit)
    said = str(error.value)
    assert said.endswith("; write it again")
    assert str(path) in said
    assert "\n" not in said
    assert len(said) < 600 + len(str(path))
    said.encode()
    return said


def test_a_dataclass_comes_back_with_its_types(tmp_path: Path):
    text = '{"name": "ä", "sizes": [1, 2]}'
    for read in (read_json, read_yaml):
        assert read(file(tmp_path, text), Photo, "") == Photo("ä", [1, 2])


def test_a_byte_order_mark_is_passed_over(tmp_path: Path):
    path = file(tmp_path, b"\xef\xbb\xbf[1]")
    assert read_json(path, list[int], "") == read_yaml(path, list[int], "") == [1]


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab:yes1~-#{", max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(PLAIN)
def test_what_yaml_and_json_write_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, content: Any
):
    folder = tmp_path_factory.mktemp("plain")
    assert read_json(file(folder, json.dumps(content)), ANY, "") == content
    for unicode in (True, False):
        text = yaml.safe_dump(content, allow_unicode=unicode, sort_keys=False)
        assert read_yaml(file(folder, text), ANY, "") == content


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-01-31", "2024-01-31"),
        ("12:30:45", "12:30:45"),
        ("yes", True),
        ("off", False),
        ("007", "007"),
        ("0x1F", 31),
        ("1e-3", 0.001),
        ("1_000", 1000),
        ("-.inf", float("-inf")),
        ("~", None),
        ("<<", "<<"),
        ("=", "="),
        ('"5"', "5"),
    ],
)
def test_yaml_has_no_dates_and_no_times_of_day(tmp_path: Path, text: str, value: object):
    found = read_yaml(file(tmp_path, f"a: {text}\n"), dict[str, Any], "")["a"]
    assert (found, type(found)) == (value, type(value))


def test_an_alias_stands_for_what_it_names(tmp_path: Path):
    assert read_yaml(file(tmp_path, "a: &x [1]\nb: *x\n"), ANY, "") == {"a": [1], "b": [1]}


def test_aliases_of_aliases_do_not_fill_the_memory(tmp_path: Path):
    levels = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))
    path = file(tmp_path, f"a0: &a0 [1]\n{levels}\n")
    assert "aliases stand for more than 1 MiB" in refused(read_yaml, path, limit=2**20)


def test_a_list_within_itself_is_refused(tmp_path: Path):
    assert "nested deeper" in refused(read_yaml, file(tmp_path, "&a [*a]"))


@pytest.mark.parametrize("levels", [70, 5_000, 1_000_000])
@pytest.mark.parametrize(
    ("read", "opening"), [(read_json, "["), (read_json, '{"a":'), (read_yaml, "["), (read_yaml, "{a: ")]
)
def test_deep_nesting_is_refused(tmp_path: Path, read: Any, opening: str, levels: int):
    closing = {"[": "]", "{": "}"}[opening[0]]
    refused(read, file(tmp_path, opening * levels + "1" + closing * levels))


@pytest.mark.parametrize(
    ("read", "content", "says"),
    [
        (read_json, '{\n"a": 1,}', "is not JSON: line 2, column 8"),
        (read_json, "", "is not JSON: line 1, column 1"),
        (read_json, '{"a": 1, "b": {"c": 1, "c": 2}}', "'c' comes twice"),
        (read_json, "9" * 5_000, "is not JSON"),
        (read_json, '["\\u0000"]', "no character"),
        (read_json, '{"\\ud800": 1}', "no character"),
        (read_json, b'["\xff"]', "not UTF-8 from byte 3 on"),
        (read_json, "[1]".encode("utf-16"), "UTF-16"),
        (read_yaml, "a: 1\nb: [", "is not YAML: line 2"),
        (read_yaml, "a: 1\na: 2\n", "line 2, column 1: the key 'a' comes twice"),
        (read_yaml, "on: 1\n", "the key True is no text"),
        (read_yaml, "? [a]\n: 1\n", "the key ['a'] is no text"),
        (read_yaml, "a: !!python/name:os.system\n", "is not YAML: line 1, column 4"),
        (read_yaml, "a: !!timestamp 2024-01-31\n", "is not YAML: line 1, column 4"),
        (read_yaml, "a: !!binary aGk=\n", "is not YAML: line 1, column 4"),
        (read_yaml, "a: !!int x\n", "'x' is no int"),
        (read_yaml, "a: !!int ''\n", "'' is no int"),
        (read_yaml, "a: !!bool perhaps\n", "'perhaps' is no bool"),
        (read_yaml, "9" * 5_000, "is no int"),
        (read_yaml, "--- 1\n--- 2\n", "is not YAML: line 2"),
        (read_yaml, "a: \x07", "character 4 is not allowed"),
        (read_yaml, "*" + "a" * 10_000, "is not YAML"),
    ],
)
def test_a_bad_document_is_refused_with_its_place(tmp_path: Path, read: Any, content: Any, says: str):
    assert says in refused(read, file(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"name": "a"}', "sizes: Field required"),
        ('{"name": "a", "sizes": [1, "x"]}', "sizes.1: Input should be a valid integer"),
        ('{"name": 5, "sizes": []}', "name: Input should be a valid string, not 5"),
        ("[]", "not []"),
    ],
)
@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_a_value_that_does_not_fit_is_named_by_its_keys(tmp_path: Path, read: Any, content: str, says: str):
    assert says in refused(read, file(tmp_path, content), Photo)


def test_a_long_value_is_not_repeated_in_full(tmp_path: Path):
    refused(read_json, file(tmp_path, json.dumps({"name": ["x" * 10**6], "sizes": []})), Photo)


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_what_is_no_file_or_too_large_is_refused(tmp_path: Path, read: Any):
    assert "No such file" in refused(read, tmp_path / "absent")
    assert "Is a directory" in refused(read, tmp_path)
    assert "too long" in refused(read, tmp_path / ("x" * 300))
    assert "null byte" in refused(read, tmp_path / "a\0b")
    assert "larger than 1 MiB" in refused(read, file(tmp_path, b" " * (2**20 + 1)), limit=2**20)


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_damaged_bytes_give_content_or_one_sentence(tmp_path: Path, read: Any):
    valid = b'{"name": "a", "sizes": [1, 2, 3], "more": {"x": [true, null, 1.5e3, "\\u00e4"]}}\n'
    rng = random.Random(0)
    for _ in range(300):
        raw = bytearray(valid)
        for _ in range(rng.randint(1, 6)):
            raw[rng.randrange(len(raw))] = rng.choice(b"{}[],:\"'&*!|>%@`#-?\\ \n\t\0\xff0e.~<=yn")
        path = file(tmp_path, bytes(raw))
        try:
            read(path, dict[str, Any], "")
        except LeopartError:
            refused(read, path, dict[str, Any])
