"""The short help pages, the long ones, and the places that are taken where no --out is given."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from leopart.cli import help as pages
from leopart.cli.train import parse_train
from leopart.config import (
    FIGURES,
    TASKS,
    DemoConfig,
    ExportConfig,
    LabelConfig,
    PredictConfig,
    ReproduceConfig,
    SegmentConfig,
    TrainConfig,
    ViewConfig,
)
from leopart.config.checks import Unused
from leopart.errors import LeopartError
from leopart.presets import preset
from leopart.settings import flat, option_types, option_word

CONFIGS = {
    "demo": [DemoConfig],
    "segment": [SegmentConfig],
    "predict": [PredictConfig],
    "label": [LabelConfig],
    "view": [ViewConfig],
    "train": [TrainConfig],
    "evaluate": list(TASKS.values()),
    "reproduce": [ReproduceConfig],
    "figure": list(FIGURES.values()),
    "export": [ExportConfig],
}
OPTION = re.compile(r"^\W? (--\w[\w-]*)", re.MULTILINE)  # framed where the terminal has the characters


def options_of(config: type) -> set[str]:
    return {option_word(name.rstrip("_")) for name in option_types(config)}


@pytest.mark.parametrize("command", pages.SHORT)
def test_a_short_page_shows_about_ten_options_and_two_examples(run, command: str):
    word = {"evaluate": ["linear"], "figure": ["parts"]}.get(command, [])
    ran = run(command, *word, "--help")
    shown = OPTION.findall(ran.out)
    assert ran.status == 0
    assert 2 <= len(shown) <= 11
    assert len(ran.out.partition("examples:")[2].partition("all options")[0].split("leopart ")) - 1 == 2
    assert "(default: )" not in ran.out
    assert not re.search("default: (None|True|False)", ran.out)


@pytest.mark.parametrize("command", pages.SHORT)
def test_short_pages_name_options_that_exist_and_so_do_their_examples(command: str):
    known = set.union(*({one.name for one in fields(config)} for config in CONFIGS[command]))
    short = pages.SHORT[command]
    assert set(short.options) <= known
    everywhere = set.union(*(options_of(config) for config in CONFIGS[command])) | {"--no-browser", pages.ALL}
    for example in short.examples:
        assert example.split()[0] == command
        assert set(re.findall(r"(?<!\S)--[\w-]+", example)) <= everywhere


@pytest.mark.parametrize(
    ("words", "config"),
    [(("segment",), SegmentConfig), (("train", "quick"), TrainConfig), (("evaluate", "fcn"), TASKS["fcn"])],
)
def test_the_long_page_shows_every_option(run, words, config):
    ran = run(*words, "--help-all")
    positional = {"--images", "--preset" if words[0] == "train" else "", "--task"}
    wanted = options_of(config) - positional
    assert set(OPTION.findall(ran.out)) == wanted
    assert "(default: )" not in ran.out
    assert not re.search("default: (None|True|False)", ran.out)
    short = run(*words, "--help")
    assert f"all options: leopart {' '.join(words)} --help-all" in short.out
    assert set(OPTION.findall(short.out)) < wanted


def test_the_page_of_a_preset_shows_its_values(run):
    flattened = {page: " ".join(run("train", *page, "--help-all").out.split()) for page in [("voc",), ()]}
    values = flat(preset("voc"))
    assert f"overrides it. (default: {values['epochs']})" in flattened[("voc",)]
    assert f"(default: {values['backbone']})" in flattened[("voc",)]
    assert flattened[("voc",)] != flattened[()]


def test_an_unused_place_is_the_first_that_is_not_there(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, file = Unused("leopart-out"), Unused("scores.json")
    assert (folder(), file()) == (Path("leopart-out"), Path("scores.json"))
    Path("leopart-out").mkdir()
    Path("leopart-out-2").symlink_to("nowhere")
    Path("scores.json").touch()
    assert (folder(), file()) == (Path("leopart-out-3"), Path("scores-2.json"))


def test_without_out_a_run_goes_to_a_new_folder_and_says_so(run, quick, draw, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for seed in range(3):
        draw(seed).save(f"photos/{seed}.png")
    for name in ("leopart-out", "leopart-out-2"):
        ran = run("segment", "photos", *quick)
        assert ran.status == 0
        assert ran.lines[0] == f"output: {name}; give --out {name} to continue it"
        assert Path(name, "report.html").is_file()
    assert "output:" not in run("segment", "photos", *quick, "--out", "leopart-out").err
    assert "output:" not in run("segment", "--config", "leopart-out/config.yaml").err


def test_runs_that_need_a_folder_by_name_ask_for_it(monkeypatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    words = ["quick", "--data", "folder:x"]
    assert parse_train(words).out == Path("leopart-run")
    for more in (["--resume"], ["--devices", "2"]):
        with pytest.raises(LeopartError, match="give --out RUN"):
            parse_train([*words, *more])
        assert parse_train([*words, *more, "--out", "a"]).out == Path("a")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LeopartError, match="several processes or of a cluster needs a folder by name"):
        parse_train(words)
