"""What can be wrong with a checkpoint, and what is said of it."""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import pytest
import torch
from networks_small import LAYOUTS, dino_full, junk, leopart_lightning, small, source_model
from safetensors.torch import save_file

from leopart.errors import LeopartError
from leopart.models.backbone import load_backbone
from leopart.models.weights.checkpoint import read_checkpoint
from leopart.models.weights.conversion import convert_foreign, read_foreign
from leopart.models.weights.fetching import convert
from leopart.models.weights.registry import BACKBONES, BackboneSpec


class Runs:
    """A pickle of this makes a file `ran` in the working folder while it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo ran > ran",)


@pytest.fixture
def spec() -> BackboneSpec:
    return small("dino_vits16")


@pytest.fixture
def state(spec: BackboneSpec) -> dict[str, torch.Tensor]:
    return dict(source_model(spec).state_dict())


def lose_a_key(state: dict[str, Any]) -> Any:
    del state["blocks.0.attn.qkv.bias"], state["norm.weight"]
    return state


def gain_a_key(state: dict[str, Any]) -> Any:
    return {**state, **junk("adapter.weight")}


def poison(state: dict[str, Any]) -> Any:
    state["cls_token"] = state["cls_token"] * float("nan")
    return state


def overflow(state: dict[str, Any]) -> Any:
    state["norm.bias"] = state["norm.bias"] / 0.0
    return state


def of_another_network(_state: dict[str, Any]) -> Any:
    return dict(source_model(small("dinov2_vits14_reg")).state_dict())


def of_a_resnet(_state: dict[str, Any]) -> Any:
    return dict(source_model(small("mocov2_resnet50")).state_dict())


def with_code(state: dict[str, Any]) -> Any:
    return {"teacher": state, "args": Runs()}


def whole_module(_state: dict[str, Any]) -> Any:
    return torch.nn.Linear(2, 2)


def bare_tensor(_state: dict[str, Any]) -> Any:
    return torch.zeros(3)


def nothing(_state: dict[str, Any]) -> Any:
    return {}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lose_a_key,
            r"file.pth: .*are not a dino_vits16.*missing: .*blocks\.0\.attn\.qkv\.bias.*norm\.weight",
        ),
        (
            gain_a_key,
            r"file.pth: .*unexpected: adapter\.weight; check that the file belongs to this backbone",
        ),
        (poison, r"file.pth: .*not finite: cls_token"),
        (overflow, r"file.pth: .*not finite: norm\.bias"),
        (
            of_another_network,
            r"file.pth: .*unexpected: reg_token, .*of another shape: pos_embed \[1, 9, 48\]",
        ),
        (of_a_resnet, r"file.pth: .*missing: cls_token, .* and \d+ more; unexpected: conv1\.weight"),
        (
            with_code,
            r"file.pth was not read: it asks to run (posix|nt)\.system while it is unpickled.*safetensors",
        ),
        (
            whole_module,
            r"file.pth was not read: it asks to run torch\.nn\.modules\.linear\.Linear.*held\.state_dict\(\)",
        ),
        (bare_tensor, r"file.pth holds a Tensor, not weights by name"),
        (nothing, r"file.pth: .*missing: cls_token"),
    ],
)
def test_a_bad_checkpoint_is_refused_in_a_sentence_that_names_it(
    change: Callable[[dict[str, Any]], Any],
    complaint: str,
    spec: BackboneSpec,
    state: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "file.pth"
    torch.save(change(state), file)

    with pytest.raises(LeopartError, match=complaint) as caught:
        read_foreign(file, spec)

    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file.pth"]


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(
    ending: str, share: float, spec: BackboneSpec, state: dict[str, Any], tmp_path: Path
):
    file = tmp_path / f"file{ending}"
    (torch.save if ending == ".pth" else save_file)(state, file)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])

    with pytest.raises(
        LeopartError, match=rf"file{ending} was cut short or is no checkpoint .*get it again, whole"
    ):
        read_foreign(file, spec)


@pytest.mark.parametrize(
    "content", [b"<html>Not found</html>", b"\x80\x02", b"PK\x03\x04 and no more", b"hello"]
)
def test_what_is_no_checkpoint_is_refused(content: bytes, spec: BackboneSpec, tmp_path: Path):
    file = tmp_path / "file.pth"
    file.write_bytes(content)

    with pytest.raises(LeopartError, match=r"file.pth (was cut short or is no checkpoint|was not read)"):
        read_foreign(file, spec)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_file_that_may_not_be_read_is_not_called_damaged(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def denied(*_args: object, **_options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    file = tmp_path / f"file{ending}"
    file.touch()
    monkeypatch.setattr(torch, "load", denied)
    monkeypatch.setattr("safetensors.torch.load_file", denied)

    with pytest.raises(
        LeopartError, match=rf"cannot read .*file{ending}: Permission denied; check"
    ) as caught:
        read_checkpoint(file)

    assert "cut short" not in str(caught.value)


@pytest.mark.parametrize("inside", [None, "state_dict", "teacher"])
def test_the_remedy_for_a_file_with_code_keeps_the_tensors(
    inside: str | None, state: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file, new = tmp_path / "file.pth", tmp_path / "new.pth"
    monkeypatch.chdir(tmp_path)
    torch.save({**state, "args": Path} if inside is None else {inside: state, "args": Path}, file)
    with pytest.raises(LeopartError, match="was not read: it asks to run") as caught:
        read_checkpoint(file)

    (code,) = re.findall(r"(held = torch\.load.*), and give NEW", str(caught.value))
    assert repr(str(file)) in code
    if inside is not None:
        assert f"held['{inside}']" in str(caught.value)
        code = code.replace("held.items()", f"held['{inside}'].items()")
    exec(code, {"torch": torch, "NEW": new})
    assert read_checkpoint(new).keys() == state.keys()


def test_a_file_that_is_not_there_is_named(spec: BackboneSpec, tmp_path: Path):
    with pytest.raises(LeopartError, match=r"there is no file .*absent\.pth"):
        read_foreign(tmp_path / "absent.pth", spec)


def lightnings_module(monkeypatch: pytest.MonkeyPatch, path: str, name: str, base: type) -> type:
    """A class as Lightning would have it, while a checkpoint is written; gone when it is read."""
    parts = path.split(".")
    for end in range(1, len(parts) + 1):
        monkeypatch.setitem(sys.modules, ".".join(parts[:end]), ModuleType(".".join(parts[:end])))
    made = type(name, (base,), {"__module__": path, "__qualname__": name})
    setattr(sys.modules[path], name, made)
    return made


def test_hyper_parameters_of_published_checkpoints_are_read_without_lightning(
    tmp_path: Path, spec: BackboneSpec, state: dict[str, Any]
):
    dino, leopart = tmp_path / "dino.pth", tmp_path / "leopart.ckpt"
    torch.save({**dino_full(state), "args": argparse.Namespace(arch="vit_small", lr=0.1)}, dino)
    with pytest.MonkeyPatch.context() as patch:
        attributes = lightnings_module(patch, "pytorch_lightning.utilities.parsing", "AttributeDict", dict)
        callback = lightnings_module(
            patch, "pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint", object
        )
        content = leopart_lightning(state)
        content["hyper_parameters"] = attributes(lr=1e-4, crops=[224, 96])
        content["callbacks"] = {callback: {"best_model_score": torch.tensor(1.0)}}
        torch.save(content, leopart)
    assert "pytorch_lightning" not in sys.modules

    assert torch.equal(read_foreign(dino, spec).state["cls_token"], state["cls_token"])
    published = small("leopart_vits16")
    assert torch.equal(read_foreign(leopart, published).state["cls_token"], state["cls_token"])
    assert read_checkpoint(leopart)["hyper_parameters"] == {"lr": 1e-4, "crops": [224, 96]}


def test_another_class_in_the_hyper_parameters_is_still_refused(tmp_path: Path, state: dict[str, Any]):
    with pytest.MonkeyPatch.context() as patch:
        settings = lightnings_module(patch, "sacred.config", "Settings", dict)
        torch.save({**leopart_lightning(state), "hyper_parameters": settings()}, tmp_path / "x.ckpt")

    with pytest.raises(LeopartError, match=r"asks to run sacred\.config\.Settings"):
        read_checkpoint(tmp_path / "x.ckpt")


class FullDisk:
    """A file on a disk that takes no more than a few bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *_error: object) -> None:
        self.file.close()

    def write(self, content: bytes) -> int:
        self.file.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("before", [None, b"an older file"])
def test_a_full_disk_leaves_nothing_that_is_taken_for_whole(
    before: bytes | None,
    spec: BackboneSpec,
    state: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    file, out = tmp_path / "file.pth", tmp_path / "out" / "out.safetensors"
    torch.save(state, file)
    out.parent.mkdir()
    if before is not None:
        out.write_bytes(before)
    opened = Path.open

    def limited(self: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        handle = opened(self, mode, *rest, **options)
        return FullDisk(handle) if mode == "xb" else handle

    monkeypatch.setattr(Path, "open", limited)

    with pytest.raises(
        LeopartError, match=r"cannot write .*out\.safetensors: No space left on device; free some"
    ):
        convert_foreign(file, out, spec)

    monkeypatch.undo()
    assert [path.name for path in out.parent.iterdir()] == ([] if before is None else ["out.safetensors"])
    assert before is None or out.read_bytes() == before
    with pytest.raises(LeopartError, match="there is no file"):
        load_backbone(out)


def test_a_checkpoint_is_not_written_over_itself(
    spec: BackboneSpec, state: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(BACKBONES, spec.name, spec)
    file = tmp_path / "model.safetensors"
    save_file(state, file)
    before = file.read_bytes()

    with pytest.raises(LeopartError, match="is the file to convert; write to another one"):
        convert(file, file, spec.name)

    assert file.read_bytes() == before


def test_a_file_without_a_name_of_its_network_asks_for_one(state: dict[str, Any], tmp_path: Path):
    file = tmp_path / "file.pth"
    torch.save(state, file)

    with pytest.raises(
        LeopartError, match=r"does not say which network it holds.*dino_vits16:.*file\.pth.*convert"
    ):
        load_backbone(file)
    with pytest.raises(LeopartError, match="there is no backbone called 'dino_vit16'"):
        load_backbone(file, arch="dino_vit16")


def test_a_foreign_safetensors_file_needs_no_card_where_its_row_is_given(
    tmp_path: Path, spec: BackboneSpec, state: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(BACKBONES, spec.name, spec)
    file = tmp_path / "model.safetensors"
    save_file(state, file)

    read = load_backbone(file, arch=spec.name).spec
    assert (read.name, read.licence, read.labels) == ("model", "unknown", "unknown (backbone)")
    assert read.dim == spec.dim
    with pytest.raises(LeopartError, match=r"there is no file .*model\.json"):
        load_backbone(file)


def test_every_row_that_is_published_as_a_file_has_its_layout_tested():
    tested = {BACKBONES[name].family for name, _ in LAYOUTS.values()}

    assert {row.family for row in BACKBONES.values() if row.files} == tested
