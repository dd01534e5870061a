from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from leopart.features.extract import Extractor


def read_mask(path: Path) -> np.ndarray:
    with Image.open(path) as mask:
        return np.asarray(mask)


def summary_of(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


# --- what a run leaves behind ---------------------------------------------------------------------------


def test_the_output_is_masks_overlays_report_segmenter_summary_and_settings(segmented, files_below):
    photos = [str(i) for i in range(6)]
    assert files_below(segmented) == {
        "report.html",
        "summary.json",
        "areas.csv",
        "config.yaml",
        "photos.jsonl",
        "labels.yaml",
        ".labels.yaml",
        "segmenter/segmenter.json",
        "segmenter/arrays.safetensors",
        *(f"{kind}/{i}.png" for kind in ("parts", "objects") for i in photos),
        *(f"overlays/{i}.jpg" for i in photos),
    }


def test_a_part_has_one_object_in_a_photo_its_main_one_or_one_that_the_summary_names(segmented):
    saved = json.loads((segmented / "segmenter" / "segmenter.json").read_text())
    results = summary_of(segmented)["results"]
    assert {str(part): row["id"] for row in saved["objects"] for part in row["parts"]} == results[
        "object of part"
    ]

    photos: dict[str, dict[str, int]] = {}
    for photo in range(6):
        parts, objects = (read_mask(segmented / kind / f"{photo}.png") for kind in ("parts", "objects"))
        assert parts.shape == (48, 64)
        assert parts.max() <= saved["parts"] == 6
        assert not objects[parts == 0].any()
        for part in np.unique(parts[parts > 0]):
            (its_object,) = np.unique(objects[parts == part])
            of_part = photos.setdefault(str(part), {})
            of_part[str(its_object)] = of_part.get(str(its_object), 0) + 1
    assert {number for of_part in photos.values() for number in of_part} == {"1", "2"}, "as asked for"
    for part, of_part in photos.items():
        named = results["shared parts"].get(part, {str(results["object of part"][part]): 6})
        assert of_part.keys() <= named.keys()
        assert all(count <= named[number] for number, count in of_part.items())


def test_summary_tells_counts_settings_versions_seconds_and_memory(segmented, tiny_weights):
    summary = summary_of(segmented)

    assert summary["command"] == "segment"
    assert summary["counts"] == {"photos": 6, "failed": 0, "parts": 6, "objects": 2}
    assert summary["failures"] == []
    assert summary["labels used"] == "none"
    assert summary["warnings"][0].startswith("Only 6 photos: ")
    assert summary["settings"] == yaml.safe_load((segmented / "config.yaml").read_text())
    assert summary["settings"]["backbone"] == str(tiny_weights)
    assert {"leopart", "python", "torch", "timm", "numpy"} <= summary["versions"].keys()
    stages = ["loading the backbone", "features", "parts and objects", "masks", "report"]
    assert list(summary["seconds"]) == stages
    assert all(seconds >= 0 for seconds in summary["seconds"].values())
    assert 50 < summary["peak memory MiB"] < 50_000
    results = summary["results"]
    assert (results["backbone"], results["precision"]) == ("tiny_random", "fp32")
    assert results["communities"] == "map-equation"
    assert 0 <= results["foreground threshold"] <= 1
    assert results["object of part"].keys() == {str(part) for part in range(1, 7)}


def test_the_report_shows_every_photo_and_needs_no_network(segmented):
    html = (segmented / "report.html").read_text()

    for photo in range(6):
        assert f"./overlays/{photo}.jpg" in html
    assert 'src="http' not in html


def test_the_summary_on_screen_has_counts_engine_labels_and_where_the_report_is(run, photos, quick, tmp_path):
    ran = run("segment", photos, "--out", tmp_path / "o", *quick, "--communities", "map-equation")

    assert (ran.status, ran.out) == (0, "")
    assert "6 photos, 6 parts, 2 objects (by map-equation) in " in ran.err
    assert "labels used: none" in ran.err
    assert f"report: {tmp_path / 'o' / 'report.html'}\n" in ran.err
    assert ran.lines[0].startswith("note: Only 6 photos")


def test_no_overlays_leaves_them_out_of_folder_and_report(run, photos, quick, tmp_path):
    ran = run("segment", photos, "--out", tmp_path / "o", *quick, "--no-overlays")

    assert ran.status == 0
    assert not (tmp_path / "o" / "overlays").exists()
    assert len(list((tmp_path / "o" / "parts").iterdir())) == 6
    assert "./overlays/" not in (tmp_path / "o" / "report.html").read_text()


def test_folders_of_the_input_are_kept(run, draw, quick, tmp_path, files_below):
    for seed, name in enumerate(("a/1.png", "a/deep/1.png", "b/1.jpg", "top.png")):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(seed).save(path)
    ran = run("segment", tmp_path / "in", "--out", tmp_path / "o", *quick)

    assert ran.status == 0
    stems = {"a/1", "a/deep/1", "b/1", "top"}
    assert files_below(tmp_path / "o" / "parts") == {f"{stem}.png" for stem in stems}
    assert files_below(tmp_path / "o" / "objects") == {f"{stem}.png" for stem in stems}
    assert files_below(tmp_path / "o" / "overlays") == {f"{stem}.jpg" for stem in stems}


# --- the same again -------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_masks(
    run, segmented, quick, tmp_path, masks_of
):
    photos = segmented.parent / "photos"
    assert run("segment", photos, "--out", tmp_path / "again", *quick).status == 0
    assert run("segment", photos, "--out", tmp_path / "other", *quick, "--seed", "1").status == 0

    assert masks_of(tmp_path / "again") == masks_of(segmented)
    assert masks_of(tmp_path / "other") != masks_of(segmented)


def test_a_runs_configuration_file_repeats_it_and_the_command_line_wins(run, segmented, tmp_path, masks_of):
    words = ("segment", "--config", segmented / "config.yaml", "--out")
    again, fewer = run(*words, tmp_path / "again"), run(*words, tmp_path / "fewer", "--parts", "4")

    assert (again.status, fewer.status) == (0, 0)
    assert masks_of(tmp_path / "again") == masks_of(segmented)
    assert summary_of(tmp_path / "fewer")["counts"]["parts"] == 4
    first, second = (yaml.safe_load((o / "config.yaml").read_text()) for o in (segmented, tmp_path / "again"))
    assert second == first | {"out": str(tmp_path / "again")}


def test_the_photos_may_lie_in_the_output_folder_and_output_is_never_read(run, photos, quick, masks_of):
    first = run("segment", photos, "--out", photos, *quick)
    masks = masks_of(photos)
    second = run("segment", photos, "--out", photos, *quick)

    assert (first.status, second.status) == (0, 0)
    assert summary_of(photos)["counts"]["photos"] == 6
    assert len(masks) == 12
    assert masks_of(photos) == masks


def test_earlier_output_alone_is_refused(run, segmented, quick, tmp_path):
    out = shutil.copytree(segmented, tmp_path / "out")
    ran = run("segment", out / "parts", "--out", out, *quick)

    assert ran.status == 2
    assert ran.lines == [f"leopart: all photos are earlier output in {out}: give the folder of the photos"]


def test_features_can_be_kept_and_are_used_again(run, photos, quick, tmp_path, masks_of, monkeypatch):
    kept = tmp_path / "features"
    assert run("segment", photos, "--out", tmp_path / "a", *quick, "--features", kept).status == 0
    assert (kept / "manifest.json").is_file()
    assert not (tmp_path / "a" / ".features").exists()
    monkeypatch.setattr(Extractor, "forward", lambda *_: pytest.fail("the backbone was asked again"))

    assert run("segment", photos, "--out", tmp_path / "b", *quick, "--features", kept).status == 0
    assert masks_of(tmp_path / "b") == masks_of(tmp_path / "a")


@pytest.mark.parametrize("change", ["size", "photos"])
def test_features_of_something_else_are_refused_and_left_alone(
    run, photos, quick, tmp_path, change, files_below
):
    kept = tmp_path / "features"
    assert run("segment", photos, "--out", tmp_path / "a", *quick, "--features", kept).status == 0
    before = {name: (kept / name).read_bytes() for name in files_below(kept)}
    words = ("--size", "40") if change == "size" else ()
    if change == "photos":
        (photos / "0.png").unlink()
    ran = run("segment", photos, "--out", tmp_path / "b", *quick, "--features", kept, *words)

    assert ran.status == 2
    (line,) = ran.lines
    assert str(kept) in line
    assert "other settings or photos" in line
    assert "choose another folder or delete it" in line
    assert {name: (kept / name).read_bytes() for name in files_below(kept)} == before
