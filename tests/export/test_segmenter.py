"""Exported segmenters give the ids of `Segmenter` and `PartModel`."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from leopart.clustering.contexts import ObjectMixture
from leopart.clustering.kmeans import KMeans
from leopart.errors import LeopartError
from leopart.export import drafts, export_segmenter
from leopart.export.checks import made_up_images
from leopart.export.model_card import KEEP_ASPECT, SQUARE
from leopart.features.extract import Extractor, Preprocessing
from leopart.labels.rules import Claim, Label, Labels
from leopart.models.backbone import Backbone
from leopart.segment.labelling import Ids, LabelTable
from leopart.segment.pieces import Split
from leopart.segment.segmenter import Segmenter

REPOSITORY = Path(__file__).parents[2]


def session_of(folder: Path) -> Any:
    return onnxruntime.InferenceSession(folder / "model.onnx")


def naive_parts(segmenter: Segmenter, image: np.ndarray) -> np.ndarray:
    """Part ids by distances and cosines, cell by cell, in float64."""
    model = segmenter.model_
    with torch.no_grad():
        tokens = segmenter.extractor.backbone(torch.from_numpy(image[None]).permute(0, 3, 1, 2)).tokens[0]
    reduced = (tokens.double() - model.reduction.offset.double()) @ model.reduction.projection.double()
    height, width, _ = reduced.shape
    result = np.zeros((4 * height, 4 * width), dtype=np.int64)
    grid = reduced.numpy()
    for i in range(4 * height):
        for j in range(4 * width):
            y, x = np.clip([(i + 0.5) / 4 - 0.5, (j + 0.5) / 4 - 0.5], 0, [height - 1, width - 1])
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            down, across = y - top, x - left
            upper = (1 - across) * grid[top, left] + across * grid[top, right]
            lower = (1 - across) * grid[bottom, left] + across * grid[bottom, right]
            vector = (1 - down) * upper + down * lower
            cluster = (model.clusters.centroids.numpy() @ vector).argmax()
            distances = ((model.parts.centroids.numpy() - vector) ** 2).sum(1)
            result[i, j] = distances.argmin() + 1 if model.is_foreground[cluster] else 0
    return result


def test_ids_equal_a_naive_computation(small_segmenter: Segmenter, tmp_path: Path) -> None:
    export_segmenter(small_segmenter, tmp_path / "out")
    images = made_up_images(1, 32, 48, 5)
    parts, objects = session_of(tmp_path / "out").run(["parts", "objects"], {"images": images})
    expected = naive_parts(small_segmenter, images[0])
    assert parts.dtype == objects.dtype == np.int32
    assert (parts[0] == expected).mean() >= 0.995
    assert len(np.unique(expected)) > 2
    np.testing.assert_array_equal(objects[0], small_segmenter.model_.object_table(parts[0])[parts[0]])


def test_a_cell_has_the_object_whose_prototype_is_nearest(small_segmenter: Segmenter, tmp_path: Path) -> None:
    model = small_segmenter.model_
    rows = torch.nn.functional.normalize(torch.randn(3, model.parts.centroids.shape[1]), dim=1)
    small_segmenter.model_ = replace(model, mixture=None, prototypes=KMeans(rows, True, 0.0))
    export_segmenter(small_segmenter, tmp_path / "out")
    images = made_up_images(1, 32, 48, 5)
    parts, objects = session_of(tmp_path / "out").run(["parts", "objects"], {"images": images})
    ((tokens, _),) = small_segmenter.extractor.forward([images[0]])
    nearest = 1 + (model.embed(tokens).numpy() @ rows.numpy().T).argmax(-1)
    assert (objects[0] == np.where(parts[0] > 0, nearest, 0)).mean() >= 0.995
    assert "nearest to it" in (tmp_path / "out" / "README.md").read_text()


def test_labels_are_a_third_output_with_their_names(small_segmenter: Segmenter, tmp_path: Path) -> None:
    model = small_segmenter.model_
    tint = (1, 2, 3)
    roof = Label(2, "屋根", tint, Claim(parts=frozenset([1, 2])))
    others = Label(700, "rest", tint, Claim(objects=frozenset(range(1, model.n_objects + 1))))
    ids = Ids("any", len(model.parts.centroids), model.n_objects)
    small_segmenter.labels_ = LabelTable(Labels((roof, others)), ids)
    export_segmenter(small_segmenter, tmp_path)
    session = session_of(tmp_path)
    parts, objects, labels = session.run(
        ["parts", "objects", "labels"], {"images": made_up_images(2, 64, 64, 3)}
    )

    np.testing.assert_array_equal(labels, np.where(np.isin(parts, (1, 2)), 2, np.where(objects > 0, 700, 0)))
    assert labels.dtype == np.int32
    named = session.get_modelmeta().custom_metadata_map["labels"]
    assert json.loads(named) == {"0": "background", "2": "屋根", "700": "rest"}
    assert "third output" in (tmp_path / "README.md").read_text("utf-8")


def test_every_photo_of_a_batch_has_objects_by_its_own_parts(
    small_segmenter: Segmenter, tmp_path: Path
) -> None:
    """Each object is what one photo shows, so that a part's object differs from photo to photo."""
    extractor = small_segmenter.extractor
    seen = [extractor.forward([image])[0][0] for image in made_up_images(5, 64, 64, 1)]
    labels = [small_segmenter.model_.label(tokens).ravel() for tokens in seen]
    rows = np.stack([np.bincount(ids, minlength=7)[1:] + 0.1 for ids in labels])
    rows[:, np.argsort(rows.sum(0))[-2]] = 0  # a part that no photo of the fit had
    mixture = ObjectMixture(rows / rows.sum(1, keepdims=True))
    small_segmenter.model_ = replace(small_segmenter.model_, mixture=mixture)
    export_segmenter(small_segmenter, tmp_path)
    found = session_of(tmp_path)
    tables = set()
    for size in ((8, 64, 64), (4, 32, 48), (1, 8, 8)):
        parts, objects = found.run(None, {"images": made_up_images(*size, seed=1)})
        for ids, of_photo in zip(parts, objects, strict=True):
            counts = np.array([(ids == part).sum() for part in range(1, 7)])
            table = np.array([0, *(1 + mixture.assign(counts))])
            np.testing.assert_array_equal(of_photo, table[ids])
            tables.add(tuple(table))
    assert len(tables) > 2
    assert found.get_modelmeta().custom_metadata_map["object_ids"] == "5"


@pytest.mark.parametrize("in_context", [True, False])
def test_pieces_of_split_parts_are_those_of_torch_with_the_objects_of_the_part(
    small_segmenter: Segmenter, tmp_path: Path, in_context: bool
) -> None:
    whole = small_segmenter.model_ if in_context else replace(small_segmenter.model_, mixture=None)
    images = made_up_images(3, 64, 64, 4)
    tokens = [small_segmenter.extractor.forward([image])[0][0] for image in images]
    ids, embeddings = (
        np.concatenate([one(photo).reshape(256 * 4, *rest) for photo in tokens])
        for one, rest in ((whole.label, ()), (lambda photo: whole.embed(photo).numpy(), (-1,)))
    )
    part = 1 + int(np.bincount(ids.ravel(), minlength=7)[1:].argmax())
    own = torch.from_numpy(embeddings[ids == part])[::7]
    model = whole.with_split(Split(np.array([part, 7, 8]), KMeans(own[:3], spherical=False, objective=0.0)))
    model = model.with_split(Split(np.array([7, 9]), KMeans(own[3:5], spherical=False, objective=0.0)))
    found = {}
    for name, one in (("whole", whole), ("split", model)):
        small_segmenter.model_ = one
        export_segmenter(small_segmenter, tmp_path / name)
        found[name] = session_of(tmp_path / name).run(["parts", "objects"], {"images": images})

    (before, objects), (after, same_objects) = found["whole"], found["split"]
    np.testing.assert_array_equal(same_objects, objects)
    np.testing.assert_array_equal(after[before != part], before[before != part])
    assert set(after[before == part].tolist()) == {part, 7, 8, 9}
    words = session_of(tmp_path / "split").get_modelmeta().custom_metadata_map
    assert words["part_ids"] == "9"


def test_without_contexts_a_part_has_one_object_everywhere(
    small_segmenter: Segmenter, tmp_path: Path
) -> None:
    model = replace(small_segmenter.model_, mixture=None)
    small_segmenter.model_ = model
    export_segmenter(small_segmenter, tmp_path)
    parts, objects = session_of(tmp_path).run(None, {"images": made_up_images(2, 64, 64, 3)})
    np.testing.assert_array_equal(objects, model.object_of_part[parts])
    card = (tmp_path / "README.md").read_text("utf-8")
    assert "| object of each part id |" in card
    assert "give whole photos" not in card


def test_a_cast_backbone_is_exported_in_float32_and_stays_cast(
    small_segmenter: Segmenter, tmp_path: Path
) -> None:
    used = small_segmenter.extractor
    backbone = deepcopy(used.backbone).to(torch.bfloat16)
    small_segmenter.extractor_ = Extractor(backbone, used.preprocessing, precision="fp32", batch_size=1)
    export_segmenter(small_segmenter, tmp_path)
    assert small_segmenter.extractor.backbone is backbone
    assert {value.dtype for value in backbone.model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("size", [(1, 64, 64), (3, 64, 64), (2, 24, 80), (1, 8, 8)])
def test_ids_equal_torch_at_any_batch_height_and_width(
    small_segmenter: Segmenter, tmp_path: Path, size: tuple[int, int, int]
) -> None:
    export_segmenter(small_segmenter, tmp_path / "out")
    images = made_up_images(*size, seed=9)
    parts, _ = session_of(tmp_path / "out").run(None, {"images": images})
    extractor = Extractor(
        small_segmenter.extractor.backbone, Preprocessing(64), precision="fp32", batch_size=1
    )
    expected = [small_segmenter.model_.label(extractor.forward([image])[0][0]) for image in images]
    assert parts.shape == (size[0], size[1] // 2, size[2] // 2)  # patches of 8, four cells each
    assert (parts == np.stack(expected)).mean() >= 0.999


def test_background_is_zero_where_no_cluster_is_foreground(
    small_segmenter: Segmenter, tmp_path: Path
) -> None:
    model = small_segmenter.model_
    small_segmenter.model_ = replace(model, is_foreground=torch.zeros_like(model.is_foreground))
    export_segmenter(small_segmenter, tmp_path)
    parts, objects = session_of(tmp_path).run(None, {"images": made_up_images(1, 64, 64, 0)})
    assert not parts.any()
    assert not objects.any()


def test_the_file_says_how_to_feed_it(small_segmenter: Segmenter, tmp_path: Path) -> None:
    export_segmenter(small_segmenter, tmp_path)
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"), full_check=True)
    words = session_of(tmp_path).get_modelmeta().custom_metadata_map
    assert (words["side"], words["patch"], words["keep_aspect"]) == ("64", "8", "false")
    assert (words["part_ids"], words["object_ids"]) == ("6", "2")


def test_the_card_tells_objects_checks_and_that_no_label_was_used(
    small_segmenter: Segmenter, tmp_path: Path
) -> None:
    exported = export_segmenter(small_segmenter, tmp_path, command="leopart export cats")
    card = (tmp_path / "README.md").read_text("utf-8")
    objects = ", ".join(str(number) for number in small_segmenter.model_.object_of_part)
    contexts = "| main object of each part id |", "give whole photos, no pieces of them"
    for words in (*contexts, f"[{objects}]", "| labels used | none |", "Made up.", "leopart export cats"):
        assert words in card
    assert all(f"- {check}\n" in card for check in exported.checks)
    assert len(exported.checks) == 2


def test_photos_are_compared_instead_of_made_up_images(
    small_segmenter: Segmenter, ball_photos: Path, tmp_path: Path
) -> None:
    exported = export_segmenter(small_segmenter, tmp_path / "out", photos=sorted(ball_photos.iterdir()))
    (check,) = exported.checks
    assert re.fullmatch(r"4 photos: (100\.0|99\.9)\d* ?% of the cells have torch's part id", check)


class TestTheRuntimeExample:
    @pytest.mark.parametrize("code", [SQUARE, KEEP_ASPECT])
    def test_is_twenty_lines_of_onnxruntime_numpy_and_pillow(self, code: str) -> None:
        assert len(code.splitlines()) <= 20
        imported = {
            name.name if isinstance(node, ast.Import) else node.module
            for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in node.names
        }
        assert imported == {"numpy", "onnxruntime", "PIL"}

    @pytest.mark.parametrize("keep_aspect", [False, True])
    def test_in_the_card_gives_the_ids_of_the_segmenter(
        self, tiny_backbone: Backbone, ball_photos: Path, tmp_path: Path, keep_aspect: bool
    ) -> None:
        segmenter = Segmenter(
            tiny_backbone,
            n_parts=6,
            n_objects=2,
            size=64,
            keep_aspect=keep_aspect,
            precision="fp32",
            communities="map-equation",
            device="cpu",
        ).fit(ball_photos)
        export_segmenter(segmenter, tmp_path / "out")
        (code,) = re.findall(
            r"^```python\n(.*?)^```$", (tmp_path / "out" / "README.md").read_text("utf-8"), re.M | re.S
        )
        shutil.copy(ball_photos / "2.png", tmp_path / "out" / "photo.jpg")
        # As on a machine without Leopart and torch.
        blocked = "import sys; sys.modules['torch'] = sys.modules['leopart'] = None\n"
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        subprocess.run(
            [sys.executable, "-W", "error", "-c", blocked + code],
            cwd=tmp_path / "out",
            check=True,
            env=environment,
        )
        extractor = segmenter.extractor
        ((tokens, _),) = extractor.forward([extractor.prepare(ball_photos / "2.png")])
        cells = Image.fromarray(segmenter.model_.label(tokens))
        expected = np.asarray(cells.resize((70, 50), Image.Resampling.NEAREST))
        with Image.open(tmp_path / "out" / "parts.png") as mask:
            assert (np.asarray(mask) == expected).mean() >= 0.995  # one cell is a seventh of a percent here
        assert len(np.unique(expected)) > 2

    def test_in_the_documents_is_the_same(self) -> None:
        text = (REPOSITORY / "docs" / "export.md").read_text("utf-8")
        places = {"model.onnx": "onnx/model.onnx", "photo.jpg": "photos/cat.jpg"}
        code = SQUARE
        for name, place in places.items():
            code = code.replace(f'"{name}"', f'"{place}"')
        assert f"```python\n{code}```" in text


class TestRefused:
    def test_before_it_has_learned_anything(self, tiny_backbone: Backbone, tmp_path: Path) -> None:
        with pytest.raises(LeopartError, match="has learned nothing yet: call fit"):
            export_segmenter(Segmenter(tiny_backbone), tmp_path)

    def test_other_ids_than_torch(
        self, small_segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def other(graph, model, tokens):
            centroids = model.parts.centroids
            rolled = KMeans(centroids.roll(1, 0), spherical=False, objective=0.0)
            return write(graph, replace(model, parts=rolled), tokens)

        write = drafts.write_part_model
        monkeypatch.setattr(drafts, "write_part_model", other)
        with pytest.raises(LeopartError, match=r"nothing was written.*the cells only, not 99\.9%"):
            export_segmenter(small_segmenter, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_objects_that_do_not_follow_from_the_parts(
        self, small_segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def other(graph, model, tokens):
            rolled = ObjectMixture(np.roll(model.mixture.parts_of_object, 1, axis=0))
            return write(graph, replace(model, mixture=rolled), tokens)

        write = drafts.write_part_model
        monkeypatch.setattr(drafts, "write_part_model", other)
        with pytest.raises(LeopartError, match="objects that do not belong to its parts"):
            export_segmenter(small_segmenter, tmp_path / "out")


@pytest.fixture(scope="module")
def msrc() -> list[Path]:
    """Twenty photos, spread over MSRC-21."""
    beside = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("LEOPART_DATA", beside)) / "msrc21" / "images"
    if not folder.is_dir():
        pytest.skip("no photos of MSRC-21 here; set LEOPART_DATA to the folder that holds msrc21/")
    photos = sorted(folder.iterdir())
    return photos[:: len(photos) // 20][:20]


@pytest.mark.network
@pytest.mark.slow
def test_real_photos_get_torchs_part_ids_at_three_sizes(msrc: list[Path], tmp_path: Path) -> None:
    segmenter = Segmenter("imgfocus_vits14", seed=0, n_objects=10, device="cpu", precision="fp32")
    segmenter.fit(msrc)
    export_segmenter(segmenter, tmp_path)
    session, backbone = session_of(tmp_path), segmenter.extractor.backbone
    for preprocessing in (Preprocessing(448), Preprocessing(336), Preprocessing(448, keep_aspect=True)):
        extractor = Extractor(backbone, preprocessing, precision="fp32", batch_size=1)
        same = []
        for photo in msrc:
            image = extractor.prepare(photo)
            parts, _ = session.run(None, {"images": image[None]})
            same.append(parts[0] == segmenter.model_.label(extractor.forward([image])[0][0]))
        assert np.mean([cells.mean() for cells in same]) >= 0.999, preprocessing
