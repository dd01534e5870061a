"""The main job as a function; what can go wrong with photos and disks is in `tests/cli`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw

from leopart.config import PredictConfig, SegmentConfig
from leopart.data.masks import read_index_mask
from leopart.errors import LeopartError
from leopart.features.extract import Extractor
from leopart.segment import learning, photos_to_masks
from leopart.segment.photos_to_masks import predict_photos, segment_photos
from leopart.segment.report.page import CONTACT_SHEET, Credit
from leopart.segment.segmenter import Segmenter


@pytest.fixture
def photos(tmp_path):
    """Six photos of a ball on a box, somewhere before a noisy wall."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(6):
        generator = np.random.default_rng(seed)
        photo = Image.fromarray((40 + 30 * generator.random((48, 64, 3))).astype(np.uint8))
        x, y = (int(v) for v in generator.integers(4, 20, 2))
        draw = ImageDraw.Draw(photo)
        draw.ellipse((x, y, x + 16, y + 16), fill=(220, 60, 40))
        draw.rectangle((x, y + 16, x + 16, y + 26), fill=(40, 60, 220))
        photo.save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def config(tmp_path, photos, tiny_weights):
    return SegmentConfig(
        images=(photos,),
        out=tmp_path / "out",
        backbone=str(tiny_weights),
        size=64,
        parts=6,
        objects=2,
        precision="fp32",
        device="cpu",
    )


class Watched:
    """A `Track` that remembers the stages and how many items were taken in each."""

    def __init__(self):
        self.stages = {}

    def __call__(self, items, total, title):
        self.stages[title] = [total, 0]
        for item in items:
            yield item
            self.stages[title][1] += 1


def test_the_summary_returned_is_the_one_written(config):
    summary = segment_photos(config)
    content = json.loads((config.out / "summary.json").read_text())

    for name in ("command", "counts", "warnings", "results", "settings"):
        assert json.loads(json.dumps(getattr(summary, name))) == content[name]
    assert content["settings"]["out"] == str(config.out)
    assert not {"config", "quiet"} & content["settings"].keys()


def test_every_stage_over_the_photos_is_tracked_to_its_end(config):
    watched = Watched()
    segment_photos(config, track=watched)

    assert list(watched.stages) == ["features", "k-means", "foreground", "sampling", "parts", "masks"]
    assert watched.stages.pop("k-means") == [5, 5]
    assert all(counts == [6, 6] for counts in watched.stages.values())


def test_predict_is_tracked_too(config, tmp_path):
    segment_photos(config)
    watched = Watched()
    predict_photos(
        PredictConfig(segmenter=config.out, images=config.images, out=tmp_path / "more"), track=watched
    )

    assert watched.stages == {"masks": [6, 6]}


def test_title_and_credits_reach_the_report(config):
    segment_photos(config, title="My <title>", credits=[Credit("0.png", "A. Uthor", "CC0", "nowhere")])
    html = (config.out / "report.html").read_text()

    assert "My &lt;title&gt;" in html
    assert "A. Uthor" in html


def test_masks_on_disk_are_what_the_saved_segmenter_predicts_in_python(config, photos):
    segment_photos(config)
    segmenter = Segmenter.load(config.out / "segmenter", device="cpu")

    for photo in photos.iterdir():
        result = segmenter.predict(photo)
        np.testing.assert_array_equal(read_index_mask(config.out / "parts" / photo.name), result.parts)
        np.testing.assert_array_equal(read_index_mask(config.out / "objects" / photo.name), result.objects)


def test_no_foreground_rule_makes_every_pixel_a_part(config, photos):
    summary = segment_photos(replace(config, foreground="none"))

    assert summary.results["foreground share"] == 1
    assert all(read_index_mask(config.out / "parts" / photo.name).min() >= 1 for photo in photos.iterdir())


def test_auto_finds_parts_and_objects(config):
    summary = segment_photos(replace(config, parts="auto", objects="auto"))

    assert 2 <= summary.counts["parts"] <= 100
    assert summary.counts["objects"] >= 1
    assert summary.results["objects curve"]
    html = (config.out / "report.html").read_text()
    assert f"auto ({summary.counts['parts']})" in html
    assert f"auto ({summary.counts['objects']})" in html


def test_kept_features_stay_and_our_own_go(config, tmp_path):
    segment_photos(config)
    assert not (config.out / ".features").exists()
    segment_photos(replace(config, features=tmp_path / "kept"))
    assert {file.name for file in (tmp_path / "kept").iterdir()} == {
        "manifest.json",
        "tokens.bin",
        "attention.bin",
        "done.bin",
    }


def test_more_photos_than_the_report_shows_and_one_vanishes(config, photos, monkeypatch):
    source = (photos / "0.png").read_bytes()
    for number in range(CONTACT_SHEET + 5):
        (photos / f"copy{number}.png").write_bytes(source)
    real = learning.fit_parts

    def fit(*args, **options):
        (photos / "0.png").unlink()
        return real(*args, **options)

    monkeypatch.setattr(learning, "fit_parts", fit)
    summary = segment_photos(replace(config, overlays=False))

    assert summary.counts["photos"] == CONTACT_SHEET + 11
    assert [failure.name for failure in summary.failures] == ["0.png"]
    assert len(list((config.out / "parts").iterdir())) == CONTACT_SHEET + 10
    html = (config.out / "report.html").read_text()
    assert "0.png is not there" in html


def test_photos_that_all_vanish_are_an_error_and_no_summary_claims_success(config, photos, monkeypatch):
    real = learning.fit_parts

    def fit(*args, **options):
        for photo in photos.iterdir():
            photo.unlink()
        return real(*args, **options)

    monkeypatch.setattr(learning, "fit_parts", fit)
    with pytest.raises(LeopartError, match="no photo could be used, of 6 given:"):
        segment_photos(config)

    assert not (config.out / "summary.json").exists()


def test_a_configuration_that_makes_no_sense_is_refused_before_anything_is_written(config):
    with pytest.raises(LeopartError, match="--size"):
        segment_photos(replace(config, size=0))
    with pytest.raises(LeopartError, match="--batch-size"):
        predict_photos(
            PredictConfig(segmenter=config.out, images=config.images, out=config.out, batch_size=0)
        )
    assert not config.out.exists()


def test_an_unknown_backbone_is_named_with_the_command_that_lists_them(config):
    with pytest.raises(LeopartError, match=r"no backbone called 'imgfocus'.*leopart weights list"):
        segment_photos(replace(config, backbone="imgfocus"))


@pytest.mark.parametrize("relative", [False, True])
def test_earlier_output_is_not_read_however_the_folders_are_spelt(config, photos, monkeypatch, relative):
    monkeypatch.chdir(photos)
    here = replace(config, out=photos.parent / "photos" if not relative else photos.relative_to(photos))
    for _ in range(2):
        assert segment_photos(here).counts["photos"] == 6


def test_photos_in_a_folder_of_the_users_are_read_even_if_it_is_called_parts(config, photos):
    (photos / "parts").mkdir()
    (photos / "0.png").rename(photos / "parts" / "0.png")

    assert segment_photos(config).counts["photos"] == 6
    assert (config.out / "parts" / "parts" / "0.png").is_file()


def test_the_batch_size_asked_for_is_used(config, monkeypatch):
    sizes, real = [], Extractor.forward
    monkeypatch.setattr(Extractor, "forward", lambda self, i: sizes.append(len(i)) or real(self, i))
    segment_photos(replace(config, batch_size=4))

    assert sizes == [4, 2]


def test_settings_are_written_in_yamls_own_types(config):
    segment_photos(replace(config, foreground=0.3))
    settings = yaml.safe_load((config.out / "config.yaml").read_text())

    assert settings["images"] == [str(path) for path in config.images]
    assert (settings["foreground"], settings["parts"], settings["features"]) == (0.3, 6, None)


@pytest.mark.parametrize("name", ["parts", "objects", "overlays"])
def test_a_folder_of_the_users_own_is_never_written_into(config, name):
    own = config.out / name / "a.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    with pytest.raises(
        LeopartError, match=rf"{name} is there, and not of an earlier run: choose another --out"
    ):
        segment_photos(config)
    assert own.read_bytes() == b"mine"


def test_predict_refuses_to_write_into_the_segmenters_run(config):
    segment_photos(config)
    before = (config.out / "summary.json").read_bytes()
    again = PredictConfig(segmenter=config.out, images=config.images, out=config.out)
    with pytest.raises(LeopartError, match="is the run that made the segmenter: choose another folder"):
        predict_photos(again)
    assert (config.out / "summary.json").read_bytes() == before


def test_labels_a_backbone_learned_from_are_told_everywhere(config, monkeypatch):
    told = "made-up labels"
    build = photos_to_masks.open_extractor

    def extractor(*args: object, **options: object) -> Extractor:
        made = build(*args, **options)
        made.backbone.spec = replace(made.backbone.spec, labels=told)
        return made

    monkeypatch.setattr(photos_to_masks, "open_extractor", extractor)
    segment_photos(config)

    assert json.loads((config.out / "summary.json").read_text())["labels used"] == told
    assert json.loads((config.out / "segmenter" / "segmenter.json").read_text())["labels used"] == told
    assert f"Labels used: <b>{told}</b>" in (config.out / "report.html").read_text()


def test_predict_finds_a_backbone_file_that_has_moved(config, tmp_path):
    segment_photos(config)
    weights = Path(config.backbone)
    moved = tmp_path / "moved" / weights.name
    moved.parent.mkdir()
    for suffix in (".safetensors", ".json"):
        moved.with_suffix(suffix).write_bytes(weights.with_suffix(suffix).read_bytes())
    found = PredictConfig(
        segmenter=config.out, images=config.images, out=tmp_path / "more", backbone=str(moved)
    )
    predict_photos(found)

    for mask in (config.out / "parts").iterdir():
        assert mask.read_bytes() == (tmp_path / "more" / "parts" / mask.name).read_bytes()


def test_a_run_that_cannot_begin_leaves_the_earlier_one_whole(config):
    segment_photos(config)
    before = {path: path.read_bytes() for path in config.out.rglob("*.*") if path.name != "config.yaml"}
    with pytest.raises(LeopartError, match="there is no backbone called 'nothing_vits99'"):
        segment_photos(replace(config, backbone="nothing_vits99"))
    assert {path: path.read_bytes() for path in before} == before


def test_refined_masks_are_the_same_from_segment_predict_and_the_segmenter(config, photos, tmp_path):
    segment_photos(replace(config, refine=True))
    again = PredictConfig(
        segmenter=config.out, images=(photos,), out=tmp_path / "again", device="cpu", overlays=False
    )
    predict_photos(again)
    plain = replace(config, out=tmp_path / "plain")
    segment_photos(plain)
    segmenter = Segmenter.load(config.out / "segmenter", device="cpu")

    changed = 0
    for kind in ("parts", "objects"):
        for photo in photos.iterdir():
            mask = read_index_mask(config.out / kind / f"{photo.stem}.png")
            np.testing.assert_array_equal(
                mask, read_index_mask(tmp_path / "again" / kind / f"{photo.stem}.png")
            )
            np.testing.assert_array_equal(mask, getattr(segmenter.predict(photo), kind))
            changed += (mask != read_index_mask(plain.out / kind / f"{photo.stem}.png")).sum()
    assert changed > 0
