"""Names of photos that would look the same."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from leopart.data.photos import find_photos, output_stems


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse names that are not Unicode")
def test_names_that_look_the_same_are_numbered(tmp_path: Path):
    for name in (b"\xe8.png", b"\xe9.png", b"plain.png"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"")
    photos = find_photos([tmp_path])

    assert [photo.name for photo in photos] == ["plain.png", "\ufffd.png", "\ufffd (2).png"]
    assert len(set(output_stems(photos))) == 3


def test_photos_of_nested_inputs_never_share_a_name(tmp_path: Path):
    for folder in ("x/a", "y/x/a", "z/a"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "1.jpg").write_bytes(b"")
    photos = find_photos([tmp_path / "x", tmp_path / "y/x/a", tmp_path / "z/a"])

    assert len(photos) == len({photo.name for photo in photos}) == 3
