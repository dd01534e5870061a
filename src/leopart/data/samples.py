"""Sample photographs for `leopart demo`: those that installed packages bring along under free terms.

Nothing is downloaded and nothing is copied into Leopart. People, towers and things to hold recur: portraits
in uniform before a flag, a rocket model and a rocket, launch towers and a pagoda. Eight photographs are few
for clustering, so `write_samples` adds crops of them as further views.

Left out on purpose: textures, scans, medical and astronomical pictures; the motorcycle stereo pair, for
which scikit-image states no licence.
"""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from leopart.errors import LeopartError
from leopart.files import whole_file

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Sample:
    """One photograph on this machine, and whose it is."""

    path: Path
    """Where it lies: inside the package that brought it."""
    name: str
    """File name."""
    author: str
    licence: str
    """As the package that ships it says."""
    source: str
    """Web address of the photograph, or of the statement about its terms."""
    crops: tuple[tuple[str, Box], ...] = ()
    """Further views: name and box (left, top, right, bottom) in fractions of the photo."""


@dataclass(frozen=True)
class _Known:
    """A sample as it is known before its package has been found."""

    package: str
    file: str
    author: str
    licence: str
    source: str
    crops: tuple[tuple[str, Box], ...]


_KNOWN = (
    # skimage/data/_fetchers.py, astronaut: "released into the public domain."
    _Known(
        "skimage",
        "data/astronaut.png",
        "NASA",
        "public domain",
        "https://flic.kr/p/r9qvLn",
        (("portrait", (0.0, 0.0, 0.66, 0.66)), ("upper", (0.1, 0.0, 1.0, 0.8))),
    ),
    # The package names no terms; the change that brought it in does: "public domain images of Ada Lovelace
    # and Grace Murray Hopper". It is the US Navy's official portrait.
    _Known(
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "US Navy",
        "public domain",
        "https://github.com/matplotlib/matplotlib/pull/1599",
        (("portrait", (0.1, 0.0, 0.9, 0.68)), ("upper", (0.0, 0.15, 1.0, 1.0))),
    ),
    # skimage/data/_fetchers.py, camera: "CC0 by the photographer (Lav Varshney)."
    _Known(
        "skimage",
        "data/camera.png",
        "Lav Varshney",
        "CC0",
        "https://github.com/scikit-image/scikit-image/issues/3927",
        (("portrait", (0.12, 0.06, 0.72, 0.66)),),
    ),
    # skimage/data/_fetchers.py, chelsea: "CC0 by the photographer (Stefan van der Walt)."
    _Known(
        "skimage",
        "data/chelsea.png",
        "Stefan van der Walt",
        "CC0",
        "https://github.com/scikit-image/scikit-image/pull/524",
        (("left", (0.0, 0.0, 0.68, 1.0)), ("face", (0.22, 0.05, 0.9, 0.98))),
    ),
    # skimage/data/_fetchers.py, coffee: "CC0 by the photographer (Rachel Michetti)."
    _Known(
        "skimage",
        "data/coffee.png",
        "Rachel Michetti, courtesy of Pikolo Espresso Bar",
        "CC0",
        "https://github.com/scikit-image/scikit-image/pull/689",
        (("cup", (0.2, 0.0, 0.8, 0.8)),),
    ),
    # skimage/data/_fetchers.py, rocket: "captured by SpaceX and released in the public domain".
    _Known(
        "skimage",
        "data/rocket.jpg",
        "SpaceX",
        "public domain",
        "https://www.flickr.com/photos/spacexphotos/16511594820/",
        (("pad", (0.22, 0.2, 0.82, 1.0)),),
    ),
    # sklearn/datasets/images/README.txt gives author and licence.
    _Known(
        "sklearn",
        "datasets/images/china.jpg",
        "danielbuechele",
        "CC BY 2.0; cropped views added",
        "https://www.flickr.com/photos/danielbuechele/6061409035/",
        (("tower", (0.08, 0.0, 0.62, 0.85)),),
    ),
    # The same file; its text repeats danielbuechele, but profile and photo links are those of vultilion.
    _Known(
        "sklearn",
        "datasets/images/flower.jpg",
        "vultilion",
        "CC BY 2.0; cropped views added",
        "https://www.flickr.com/photos/vultilion/6056698931/",
        (("blossom", (0.18, 0.08, 0.78, 0.98)),),
    ),
)


def sample_photos() -> list[Sample]:
    """The sample photographs found on this machine, read in place; packages are located, not imported.

    Returns:
        Up to eight photographs, always in the same order.

    Raises:
        LeopartError: none is installed.
    """
    found = []
    for known in _KNOWN:
        folder = _package_folder(known.package)
        if folder is not None and (path := folder / known.file).is_file():
            found.append(Sample(path, path.name, known.author, known.licence, known.source, known.crops))
    if not found:
        message = (
            "no sample photos: they come with scikit-image, matplotlib and scikit-learn, and none of them "
            'is installed; run: pip install "leopart[demo]"'
        )
        raise LeopartError(message)
    return found


def _package_folder(package: str) -> Path | None:
    """Folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def write_samples(folder: Path) -> list[Sample]:
    """Put the sample photographs and the crops of each into a folder: 19 files if all packages are there.

    Photographs are copied byte by byte; `NAME-CROP.png` are crops, without loss. Two calls write the same.

    Args:
        folder: where to; made if it does not exist. Files of the same names are replaced.

    Returns:
        The photographs used, with author, licence and source, for the credits.

    Raises:
        LeopartError: no sample package is installed, or the folder cannot be written to.
    """
    samples = sample_photos()
    for sample in samples:
        with sample.path.open("rb") as source, whole_file(folder / sample.name) as file:
            shutil.copyfileobj(source, file)
        with Image.open(sample.path) as image:
            for crop, box in sample.crops:
                view = image.crop(pixel_box(box, image.size))
                with whole_file(folder / f"{sample.path.stem}-{crop}.png") as file:
                    view.save(file, format="PNG")
    return samples


def pixel_box(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A box in fractions of a photo of `size` (width, height), as left, top, right, bottom in pixels."""
    width, height = size
    left, top, right, bottom = box
    return round(left * width), round(top * height), round(right * width), round(bottom * height)
