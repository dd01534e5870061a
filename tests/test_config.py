from __future__ import annotations

import os
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le

from leopart.config import (
    CBFEFigureConfig,
    CommunitiesFigureConfig,
    CropsFigureConfig,
    DemoConfig,
    FitConfig,
    LabelsFigureConfig,
    OverclusteringFigureConfig,
    PartsFigureConfig,
    PredictConfig,
    RunConfig,
    SegmentConfig,
    TrainingFigureConfig,
)
from leopart.errors import LeopartError
from leopart.settings import check_fields


@pytest.fixture
def config(tmp_path):
    return SegmentConfig(images=(Path("photos"),), out=tmp_path / "out")


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("size", [1, 448]),
        ("seed", [0, 2**31]),
        ("batch_size", ["auto", 1]),
        ("parts", ["auto", 1, 2000]),
        ("objects", ["auto", 1, 2000]),
        ("foreground", ["auto", "none", 0.0, 1.0]),
        ("adapt", ["auto", True, False, 0.01, 10**4]),
    ],
)
def test_the_ends_of_every_range_are_taken(config, option, values):
    for value in values:
        replace(config, **{option: value}).check()


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("size", 0, "--size must be at least 1, got 0"),
        ("seed", -1, "--seed must be at least 0, got -1"),
        ("batch_size", 0, "--batch-size must be auto or at least 1, got 0"),
        ("parts", 0, "--parts must be auto or from 1 to 2000, got 0"),
        ("parts", 2001, "--parts must be auto or from 1 to 2000, got 2001"),
        ("objects", 0, "--objects must be auto or from 1 to 2000, got 0"),
        ("objects", 2001, "--objects must be auto or from 1 to 2000, got 2001"),
        ("foreground", -0.01, "--foreground must be auto, none or from 0 to 1, got -0.01"),
        ("foreground", 1.5, "--foreground must be auto, none or from 0 to 1, got 1.5"),
        ("adapt", 0.0, "--adapt must be auto or above 0, got 0"),
        ("adapt", -1.0, "--adapt must be auto or above 0, got -1"),
        ("adapt", float("nan"), "--adapt must be auto or above 0, got nan"),
        ("adapt", float("inf"), "--adapt must be auto or above 0 and finite, got inf"),
        ("foreground", float("nan"), "--foreground must be auto, none or from 0 to 1, got nan"),
        ("images", (), "no photos are given: name their folder, or files, before --out"),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_options_name(config, option, value, says):
    with pytest.raises(LeopartError) as caught:
        replace(config, **{option: value}).check()

    assert str(caught.value) == says


@dataclass(frozen=True)
class Bounded:
    """Every kind of bound, alone and beside words."""

    least: Annotated[int, Ge(3)] = 3
    above: Annotated[float, Gt(0), Le(1)] | None = None
    between: Annotated[int, Interval(ge=1, le=9)] | Literal["auto", "none"] = "auto"
    free: float = 0.0


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"least": 2}, "--least must be at least 3, got 2"),
        ({"above": 0.0}, "--above must be above 0 and at most 1, got 0"),
        ({"above": float("nan")}, "--above must be above 0 and at most 1, got nan"),
        ({"above": float("inf")}, "--above must be above 0 and at most 1 and finite, got inf"),
        ({"between": 10}, "--between must be auto, none or from 1 to 9, got 10"),
    ],
)
def test_bounds_at_a_field_are_said_as_they_are_written_there(values, says):
    with pytest.raises(LeopartError) as caught:
        check_fields(Bounded(**values))
    assert str(caught.value) == says


def test_words_none_truth_values_and_free_numbers_are_taken():
    check_fields(Bounded())
    check_fields(Bounded(above=1.0, between="none", free=float("nan")))
    check_fields(Bounded(least=True))


def test_an_output_folder_may_exist_or_not(config):
    config.check()
    config.out.mkdir()
    config.check()


def test_an_output_that_is_a_file_is_refused(config):
    config.out.write_text("mine")

    with pytest.raises(LeopartError, match="out is a file: give a folder"):
        config.check()


def test_an_output_folder_behind_a_locked_one_is_left_to_the_writer(config, monkeypatch):
    def locked(path, **_options):
        raise PermissionError(13, "Permission denied", os.fspath(path))

    monkeypatch.setattr(os, "stat", locked)
    monkeypatch.setattr(os, "lstat", locked)
    config.check()


def test_an_output_link_that_leads_into_a_locked_folder_is_refused(config, monkeypatch):
    def locked(path, **_options):
        raise PermissionError(13, "Permission denied", os.fspath(path))

    config.out.symlink_to("elsewhere")
    monkeypatch.setattr(os, "stat", locked)
    with pytest.raises(LeopartError, match="give a folder"):
        config.check()


def test_predict_checks_photos_and_output_too(tmp_path):
    config = PredictConfig(segmenter=Path("s"), images=(Path("p"),), out=tmp_path)
    config.check()
    with pytest.raises(LeopartError, match="--batch-size"):
        replace(config, batch_size=-1).check()
    with pytest.raises(LeopartError, match="no photos are given"):
        replace(config, images=()).check()


def test_a_configuration_cannot_be_changed(config):
    with pytest.raises(FrozenInstanceError):
        config.seed = 1


OPTIONS = {
    RunConfig: "out overlays stretch pages overwrite device batch_size config quiet",
    FitConfig: "out overlays stretch pages overwrite device batch_size config quiet backbone "
    "attention_backbone adapt adapt_method keep_adapted size keep_aspect precision features parts objects "
    "contexts foreground communities refine objects_by least_confidence seed",
}
OPTIONS[DemoConfig] = OPTIONS[FitConfig]
OPTIONS[SegmentConfig] = f"{OPTIONS[FitConfig]} images"
FIGURE = "name out config quiet"
PAGE = f"{FIGURE} number seed width dpi"
MASKS = f"{PAGE} photos columns opacity originals labels"
OPTIONS[TrainingFigureConfig] = f"{FIGURE} run milliseconds"
OPTIONS[CropsFigureConfig] = f"{PAGE} images preset"
for found in (CBFEFigureConfig, PartsFigureConfig, CommunitiesFigureConfig):
    OPTIONS[found] = f"{MASKS} segmenter images data masks split backbone device"
OPTIONS[OverclusteringFigureConfig] = (
    f"{MASKS} data masks split ignore backbone k size device batch_size cache"
)
OPTIONS[LabelsFigureConfig] = f"{PAGE} photos columns data masks split"
OPTIONS[PredictConfig] = f"{OPTIONS[RunConfig]} segmenter images backbone"


@pytest.mark.parametrize("config", OPTIONS)
def test_the_options_are_a_contract(config):
    """Whoever changes this list changes what users have in their scripts and configuration files."""
    assert [field.name for field in fields(config)] == OPTIONS[config].split()
