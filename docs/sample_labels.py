"""Labels of the sample photographs, drawn by hand for the figures that need some.

Coarse outlines in percent of width and height; nothing but pictures of the documents is made from them. Later
shapes lie on top of earlier ones. What no shape covers is background.
"""

from __future__ import annotations

from math import cos, pi, sin
from pathlib import Path

from PIL import Image, ImageDraw

from leopart.data.samples import pixel_box, write_samples
from leopart.files import whole_file, write_text

Shape = tuple[str, str]
"""Class, and corners `x,y x,y …`; or `ellipse x,y rx,ry`."""

CLASSES = (
    *("background", "face", "hair", "hat or helmet", "clothes", "flag", "rocket", "launch tower"),
    *("camera", "cat", "eye", "nose", "cup", "saucer", "spoon", "roof", "storey", "tree", "flower"),
)
_FLAG = "0,0 13,0 13,14 19,40 18,42 11,48 8,60 5,66 8,100 0,100"
SHAPES: dict[str, tuple[Shape, ...]] = {
    "astronaut.png": (
        ("flag", _FLAG),
        ("clothes", "22,41 30,30 52,31 60,46 67,52 71,65 62,68 55,82 54,100 10,100 4,80 5,66 8,57 12,48"),
        ("hair", "30,14 34,6 42,3 50,4 57,10 59,17 57,23 53,25 50,16 36,16 34,25 30,21"),
        ("face", "35,17 40,15 49,15 52,17 52,28 49,34 44,36 39,34 36,28"),
        ("rocket", "74,14 77,7 78,0 84,0 86,8 89,10 89,34 91,42 91,55 79,53 75,45 69,44 70,39 74,33"),
        ("hat or helmet", "55,84 59,76 66,69 75,67 84,69 92,76 96,85 97,88 99,100 54,100"),
    ),
    "grace_hopper.jpg": (
        ("flag", "0,0 45,0 45,4 36,8 30,20 31,30 33,50 38,53 30,58 10,63 6,68 3,100 0,100"),
        ("clothes", "39,53 64,54 70,57 88,62 97,66 100,74 100,100 2,100 5,74 8,66 14,62 30,58"),
        ("hair", "31,28 34,23 40,22 70,22 73,32 71,46 67,52 64,48 36,50 32,46"),
        ("face", "34,26 42,22 66,22 70,28 73,31 72,40 68,44 65,53 62,60 56,68 48,68 42,62 40,52 35,45 30,38"),
        ("hat or helmet", "30,19 35,11 40,7 46,4 58,4 66,8 69,14 72,15 73,24 69,23 60,21 40,22 31,28"),
    ),
    "camera.png": (
        (
            "clothes",
            (
                "31,20 25,24 15,28 9,38 3,50 0,52 0,100 18,100 19,88 28,100 30,100 28,75 34,68 40,57 "
                "48,61 56,56 60,52 53,48 48,47 47,38 40,38 36,36 33,30"
            ),
        ),
        ("clothes", "52,42 56,38 62,34 65,36 63,41 58,44 56,48 52,48"),
        ("hair", "32,16 36,13 41,12 48,15 52,20 53,25 49,25 44,24 38,25 36,31 31,27"),
        ("face", "35,25 40,25 44,24 49,26 50,32 47,34 47,38 41,39 37,35 36,31"),
        (
            "camera",
            (
                "50,27 63,27 63,31 60,36 58,37 58,60 60,63 79,98 79,100 77,100 59,66 59,94 56,94 56,67 "
                "48,98 47,100 45,97 54,64 56,60 56,38 53,36 51,34"
            ),
        ),
    ),
    "chelsea.png": (
        ("cat", "8,0 88,0 82,14 79,30 79,44 76,60 71,74 68,86 60,97 10,100 0,100 0,60 4,28"),
        ("eye", "30,34 34,29 39,30 43,37 46,46 41,48 35,46 31,41"),
        ("eye", "65,43 69,39 73,37 76,39 75,48 71,54 67,55 65,52"),
        ("nose", "51,76 56,75 64,77 65,80 60,86 57,89 53,80"),
    ),
    "coffee.png": (
        ("saucer", "ellipse 46,56 33.5,41"),
        (
            "spoon",
            "67,17 70,18 70,24 65,55 67,62 68,70 65,78 61,81 56,79 54,70 55,62 53,62 60,58 63,52 66,35",
        ),
        (
            "cup",
            (
                "29,27 30,18 36,9 46,4 56,6 64,14 68,26 66,40 65,50 60,57 50,59 43,60 40,75 35,77 33,73 "
                "37,56 31,45"
            ),
        ),
    ),
    "rocket.jpg": (
        ("launch tower", "8,0 14,0 12,40 12,80 12,96 0,96 0,80 4,40"),
        ("launch tower", "88,0 94,0 97,25 100,50 100,100 88,100 89,60"),
        ("launch tower", "31,29 32,29 32,45 33,80 33,92 26,92 29,46"),
        ("launch tower", "69,29 70,29 71,45 75,92 69,92 69,46"),
        ("rocket", "50,31 52,35 53,44 52,60 52,95 49,95 48.5,60 48,42 48.5,35"),
    ),
    "china.jpg": (
        (
            "storey",
            (
                "19,30 46,30 46,38 50,40 50,53 52,60 54,64 54,74 50,82 49,100 40,95 32,86 20,82 12,78 13,64 "
                "15,56 16,44 19,38"
            ),
        ),
        ("roof", "32,7 33,7 34,14 38,20 43,24 50,26 50,30 40,30 30,28 22,32 15,32 15,26 24,22 29,16"),
        ("roof", "19,38 30,37 43,37 51,41 51,44 40,44 28,41 14,44 14,40"),
        ("roof", "15,60 28,59 40,57 48,57 55,58 54,62 44,64 30,63 20,66 10,62 11,58"),
        ("roof", "52,76 58,79 52,86 48,88 42,91 33,87 33,84 45,82"),
        ("tree", "0,34 3,44 9,48 11,55 5,62 0,64"),
        ("tree", "0,72 4,76 14,78 22,79 28,81 32,88 42,92 44,100 0,100"),
        ("tree", "48,100 52,92 50,86 56,80 63,75 70,70 82,65 88,68 85,52 90,38 94,32 100,36 100,100"),
    ),
    "flower.jpg": (
        ("flower", "ellipse 48,52 21.3,32"),
        ("flower", "45,96 49,91 54,88 62,89 67,90 69,98 73,100 46,100"),
    ),
}


def write_labelled(folder: Path) -> None:
    """Put the sample photographs, their crops and their masks into a folder as `folder:` reads it."""
    for sample in write_samples(folder / "images"):
        with Image.open(sample.path) as photo:
            mask = _drawn(SHAPES[sample.name], photo.size)
        views = {sample.path.stem: mask}
        for crop, box in sample.crops:
            views[f"{sample.path.stem}-{crop}"] = mask.crop(pixel_box(box, mask.size))
        for name, view in views.items():
            with whole_file(folder / "masks" / f"{name}.png") as file:
                view.save(file, format="PNG")
    rows = "".join(f"{number}\t{name}\n" for number, name in enumerate(CLASSES))
    write_text(folder / "classes.txt", rows)


def _drawn(shapes: tuple[Shape, ...], size: tuple[int, int]) -> Image.Image:
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    for name, corners in shapes:
        points = [(x / 100 * size[0], y / 100 * size[1]) for x, y in _corners(corners)]
        draw.polygon(points, fill=CLASSES.index(name))
    return mask


def _corners(text: str) -> list[tuple[float, float]]:
    words = text.removeprefix("ellipse ").split()
    points = [(float(x), float(y)) for x, y in (word.split(",") for word in words)]
    if not text.startswith("ellipse"):
        return points
    (x, y), (rx, ry) = points
    return [(x + rx * cos(i * pi / 40), y + ry * sin(i * pi / 40)) for i in range(80)]
