import subprocess
import sys

import numpy as np
import pytest
import skimage.data
from PIL import Image

from leopart.data import samples
from leopart.data.samples import sample_photos, write_samples
from leopart.errors import LeopartError


def test_sample_photos__are_real_photographs_with_credits():
    found = sample_photos()
    assert [s.name for s in found] == [
        "astronaut.png",
        "grace_hopper.jpg",
        "camera.png",
        "chelsea.png",
        "coffee.png",
        "rocket.jpg",
        "china.jpg",
        "flower.jpg",
    ]
    for sample in found:
        with Image.open(sample.path) as image:
            assert min(image.size) >= 300
        assert sample.author
        assert sample.licence.startswith(("public domain", "CC0", "CC BY 2.0"))
        assert sample.source.startswith("https://")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("astronaut", "public domain"),
        ("camera", "CC0 by the photographer (Lav Varshney)"),
        ("chelsea", "CC0 by the photographer (Stefan van der Walt)"),
        ("coffee", "CC0 by the photographer (Rachel Michetti)"),
        ("rocket", "released in the public domain"),
    ],
)
def test_sample_photos__licences_are_what_scikit_image_says(function, words):
    assert words in " ".join(getattr(skimage.data, function).__doc__.split())


def test_sample_photos__licences_are_what_scikit_learn_says():
    china = next(s.path for s in sample_photos() if s.name == "china.jpg")
    readme = (china.parent / "README.txt").read_text("utf-8")
    assert readme.count("https://creativecommons.org/licenses/by/2.0/") == 2
    for sample in sample_photos():
        if sample.path.parent == china.parent:
            assert f"flickr.com/photos/{sample.author}/" in readme
            assert sample.source in readme


def test_sample_photos__import_none_of_the_packages():
    code = (
        "import sys; from leopart.data.samples import sample_photos; sample_photos(); "
        "assert not {'skimage', 'matplotlib', 'sklearn', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_sample_photos__use_what_is_there(monkeypatch):
    found = samples._package_folder
    monkeypatch.setattr(samples, "_package_folder", lambda name: found(name) if name == "sklearn" else None)
    assert [s.name for s in sample_photos()] == ["china.jpg", "flower.jpg"]


def test_sample_photos__none_installed_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(samples, "_package_folder", lambda name: tmp_path)
    with pytest.raises(LeopartError, match=r'pip install "leopart\[demo\]"'):
        write_samples(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_package_folder__absent_package_is_none():
    assert samples._package_folder("leopart_no_such_package") is None


def test_write_samples__copies_and_crops(tmp_path):
    used = write_samples(tmp_path)
    files = sorted(p.name for p in tmp_path.iterdir())
    assert len(files) == len(used) + sum(len(s.crops) for s in used) == 19
    for sample in used:
        assert (tmp_path / sample.name).read_bytes() == sample.path.read_bytes()
        with Image.open(sample.path) as image:
            whole = np.asarray(image)
        for crop, (left, top, *_) in sample.crops:
            with Image.open(tmp_path / f"{sample.path.stem}-{crop}.png") as image:
                view = np.asarray(image)
            y, x = round(top * whole.shape[0]), round(left * whole.shape[1])
            assert min(view.shape[:2]) >= 270
            assert np.array_equal(view, whole[y : y + view.shape[0], x : x + view.shape[1]])


def test_write_samples__twice_is_the_same(tmp_path):
    write_samples(tmp_path)
    first = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    write_samples(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == first
