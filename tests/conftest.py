"""What several folders of tests need: golden vectors, and a network so small that a forward costs nothing."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import hypothesis
import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from leopart.files import sha256
from leopart.models.backbone import Backbone, build_backbone, load_backbone
from leopart.models.weights.cards import WeightsCard, write_card
from leopart.models.weights.registry import BackboneSpec
from leopart.recipe import Recipe
from leopart.settings import updated

REPOSITORY = Path(__file__).parents[1]


ALL_THREADS = torch.get_num_threads()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--threads", type=int, default=1, help="threads of every test that is not slow")
    parser.addoption("--without-bf16", action="store_true", help="as on a processor that lacks bfloat16")


def pytest_configure(config: pytest.Config) -> None:
    """Compute in one thread: arrays are small, and on a busy machine threads wait for each other."""
    torch.set_num_threads(config.getoption("threads"))
    hypothesis.settings.register_profile("any machine", deadline=None)
    hypothesis.settings.load_profile("any machine")
    if config.getoption("without_bf16"):
        torch.cpu._is_avx512_bf16_supported = lambda: False


@pytest.fixture(autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test marked slow may use every core; no test passes on a number of threads that it has set."""
    count = request.config.getoption("threads")
    torch.set_num_threads(ALL_THREADS if "slow" in request.keywords else count)
    yield
    torch.set_num_threads(count)


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    folder = Path(os.environ.get("LEOPART_GOLDEN", REPOSITORY.parent / "shared" / "golden"))
    if not folder.is_dir():
        pytest.skip("no golden vectors here; set LEOPART_GOLDEN to their folder")
    return folder


@pytest.fixture(scope="session")
def golden(golden_folder: Path) -> Callable[[str], dict[str, np.ndarray]]:
    """Arrays of one golden case by name."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(golden_folder / f"{name}.npz", allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    return load


@pytest.fixture(scope="session")
def adapter() -> ModuleType:
    """Our functions behind the golden signatures."""
    spec = importlib.util.spec_from_file_location(
        "golden_adapter", Path(__file__).with_name("golden_adapter.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TINY = BackboneSpec(
    name="tiny_random",
    summary="two blocks with random weights",
    architecture="vit_tiny_patch16_224",
    patch_size=8,
    dim=24,
    heads=3,
    image_size=32,
    blocks=2,
    depth=2,
    feature_block=1,
    final_norm="none",
    position_resampling="bicubic",
    weights="tiny_random",
    source=None,
    licence="MIT",
    origin="Made up.",
    citation="none",
)


@pytest.fixture(scope="session")
def make_tiny_weights() -> Callable[[Path, int], Path]:
    """Write a tiny vision transformer with random weights, and its card, into a folder."""

    def make(folder: Path, seed: int) -> Path:
        model = timm.create_model(
            TINY.architecture,
            num_classes=0,
            img_size=TINY.image_size,
            patch_size=TINY.patch_size,
            embed_dim=TINY.dim,
            depth=TINY.blocks,
            num_heads=TINY.heads,
        )
        generator = torch.Generator().manual_seed(seed)
        state = {
            key: 0.15 * torch.randn(value.shape, generator=generator)
            + float(value.ndim == 1 and "norm" in key)
            for key, value in model.state_dict().items()
        }
        path = folder / "tiny_random.safetensors"
        safetensors.torch.save_file(state, path)
        write_card(path, WeightsCard(TINY, sha256(path), len(state)))
        return path

    return make


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory, make_tiny_weights) -> Path:
    """File of a tiny vision transformer: patches of 8, 24 channels, 3 heads."""
    return make_tiny_weights(tmp_path_factory.mktemp("weights"), 0)


@pytest.fixture(scope="session")
def tiny_backbone(tiny_weights: Path) -> Backbone:
    """The network in `tiny_weights`, on the CPU."""
    return load_backbone(tiny_weights)


@pytest.fixture
def coarse_backbone(tiny_backbone: Backbone) -> Backbone:
    """The tiny network with patches of 56: the examples look at photos of 448 pixels, here 8 x 8 tokens."""
    spec = replace(tiny_backbone.spec, patch_size=56, image_size=448)
    generator = torch.Generator().manual_seed(0)
    patches = (
        torch.randn(spec.dim, 3, spec.patch_size, spec.patch_size, generator=generator) / spec.patch_size
    )
    positions = 0.1 * torch.randn(1, 1 + 8 * 8, spec.dim, generator=generator)
    state = tiny_backbone.model.state_dict()
    return build_backbone(spec, {**state, "patch_embed.proj.weight": patches, "pos_embed": positions})


@pytest.fixture(scope="session")
def short_recipe() -> Recipe:
    """Of an adaptation of eight steps that cost nothing and change much."""
    return updated(
        Recipe(),
        train_blocks=1,
        local_crops=1,
        global_size=32,
        local_size=16,
        prototypes=6,
        head_hidden=16,
        head_out=8,
        queue=40,
        roi_bins=3,
        batch_size=2,
        steps=8,
        lr=3e-2,
        lr_head=3e-2,
        momentum=0.9,
        precision="fp32",
    )


@pytest.fixture
def short_adaptation(monkeypatch: pytest.MonkeyPatch, short_recipe: Recipe) -> None:
    """Adaptations take the short recipe, and draw two photos."""
    monkeypatch.setattr("leopart.training.adaptation.adaptation", lambda *_: short_recipe)
    monkeypatch.setattr("leopart.training.adaptation._SHEET_PHOTOS", 2)
