from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leopart.data.crops import CropSettings, sample_crops
from leopart.data.datasets.folder import open_folder
from leopart.data.labelled import LabelledPhotos
from leopart.errors import LeopartError
from leopart.evaluation.heads.views import AugmentedExamples, random_view
from leopart.features.extract import Extractor, Preprocessing
from leopart.models.backbone import Backbone


def photo_and_mask(height: int = 60, width: int = 85) -> tuple[np.ndarray, np.ndarray]:
    """A smooth photo, and a mask of blocks."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    photo = np.array(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    ids = rng.integers(0, 5, (7, 9), dtype=np.uint8)
    return photo, np.array(Image.fromarray(ids).resize((width, height), Image.Resampling.NEAREST))


def by_pillow(photo: np.ndarray, mask: np.ndarray, size: int, side: int, seed: int):
    """Crop, resize and mirror as torchvision does with Pillow images, then the mask by torch's nearest."""
    generator = np.random.default_rng(seed)
    settings = CropSettings(global_crops=1, local_crops=0, global_scale=(0.8, 1.0))
    box = tuple(sample_crops(*mask.shape, settings, generator)[0].tolist())
    mirrored = generator.random() < 0.5
    image = Image.fromarray(photo).crop(box).resize((size, size), Image.Resampling.BILINEAR)
    labels = Image.fromarray(mask).crop(box).resize((size, size), Image.Resampling.NEAREST)
    if mirrored:
        image, labels = (each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in (image, labels))
    ids = torch.from_numpy(np.array(labels))[None, None]
    smaller = torch.nn.functional.interpolate(ids, (side, side), mode="nearest")[0, 0].numpy()
    return np.array(image), smaller, mirrored, box


def test_a_view_is_what_pillow_and_torch_make_of_the_same_draws():
    photo, mask = photo_and_mask()
    seen = set()
    for seed in range(12):
        pixels, ids = random_view(photo, mask, 56, 25, np.random.default_rng(seed))
        expected, expected_ids, mirrored, box = by_pillow(photo, mask, 56, 25, seed)
        assert np.array_equal(pixels, expected)
        assert np.array_equal(ids, expected_ids)
        area = (box[2] - box[0]) * (box[3] - box[1]) / mask.size
        assert 0.78 < area <= 1
        seen.add(mirrored)
    assert seen == {True, False}


@pytest.fixture
def labelled(tmp_path: Path) -> LabelledPhotos:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(3):
        photo, mask = photo_and_mask(40 + number, 52)
        Image.fromarray(photo).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(mask * 10).save(tmp_path / "masks" / f"{number}.png")
    (tmp_path / "classes.txt").write_text("".join(f"{10 * i}\tclass {i}\n" for i in range(5)))
    return open_folder(tmp_path).without(["class 3"])


def examples_of(tiny_backbone: Backbone, labelled: LabelledPhotos, **options) -> AugmentedExamples:
    extractor = Extractor(tiny_backbone, Preprocessing(size=33), precision="fp32", batch_size=2)
    return AugmentedExamples(extractor, labelled, train_size=20, **options)


def test_pieces_hold_views_and_class_rows(tiny_backbone: Backbone, labelled: LabelledPhotos):
    examples = examples_of(tiny_backbone, labelled)
    content, rows = examples.load([2, 0, 1], epoch=4)

    assert (len(examples), examples.size, examples.side, examples.dim) == (3, 32, 20, tiny_backbone.dim)
    assert (content.shape, rows.shape) == ((3, 32, 32, 3), (3, 20, 20))
    assert (content.dtype, rows.dtype) == (torch.uint8, torch.uint8)
    assert set(rows.unique().tolist()) == {0, 1, 2, 3, 255}  # row 3 is class 4, class 3 is without a label


def test_tokens_are_the_frozen_network_s(tiny_backbone: Backbone, labelled: LabelledPhotos):
    examples = examples_of(tiny_backbone, labelled)
    content, _ = examples.load([0, 1, 2], epoch=0)
    tokens = examples.encode(content)

    assert not tokens.requires_grad
    expected = torch.cat([tiny_backbone(image.permute(2, 0, 1)[None]).tokens for image in content])
    torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=1e-5)


def test_views_follow_from_seed_epoch_and_photo_alone(tiny_backbone: Backbone, labelled: LabelledPhotos):
    examples, again = examples_of(tiny_backbone, labelled), examples_of(tiny_backbone, labelled)
    first = examples.load([1], epoch=3)
    assert all(map(torch.equal, first, again.load([1], epoch=3)))
    batch = again.load([0, 1], epoch=3)
    assert torch.equal(batch[0][1], first[0][0])
    for other in (again.load([1], epoch=2), examples_of(tiny_backbone, labelled, seed=1).load([1], epoch=3)):
        assert not torch.equal(first[0], other[0])


def test_a_mask_that_is_not_the_photo_s_is_an_error(tiny_backbone: Backbone, labelled: LabelledPhotos):
    Image.new("L", (5, 5)).save(labelled.pairs[1][1])
    with pytest.raises(LeopartError, match=r"1\.png has 5x5 pixels"):
        examples_of(tiny_backbone, labelled).load([1], epoch=0)
