"""Photos that need work before they can be used: brightness that is stretched, and the pages of a stack.

They are written once, as 8-bit PNG, and all that follows takes these files for the photos. So the network,
the pictures of the masks and other programs see the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from PIL import Image, PngImagePlugin

from leopart.data.images import load_photo, opened, page_count
from leopart.data.photos import Photo, PhotoSearch, output_stems, shown
from leopart.errors import PhotoError
from leopart.files import whole_file
from leopart.parallel import ordered_map, workers
from leopart.progress import Track, silent

_MADE_OF = "leopart"
"""Key of the PNG's text that says what it was made of."""


@dataclass(frozen=True)
class Development:
    """How photos are developed.

    Attributes:
        stretch: percentiles that become black and white, see `load_photo`; None = brightness as it is.
        all_pages: whether each page of a TIFF is a photo; otherwise the first one is.
    """

    stretch: tuple[float, float] | None = None
    all_pages: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to do."""
        return self.stretch is not None or self.all_pages


@dataclass(frozen=True)
class _Negative:
    """A page of a photo, not yet developed. `page` is None for a photo with one page only."""

    photo: Photo
    name: str
    page: int | None


def develop(search: PhotoSearch, folder: Path, how: Development, *, track: Track = silent) -> PhotoSearch:
    """Write what has to be developed into a folder, and name it in place of the photos as they are.

    Pages are called `scan_page1.tif`, `scan_page2.tif` and so on. Files of an earlier call are kept where
    photo and settings are the same. A photo that cannot be read stays as it is, to fail by name later; a page
    that cannot be read is left out with a remark.

    Args:
        search: the photos.
        folder: made if need be; holds `NAME.png` for each photo that is developed.
        how: see there.
        track: shows progress.

    Raises:
        LeopartError: a file cannot be written.
    """
    if not how.is_needed:
        return search
    negatives = list(_negatives(search.photos, how))
    named = [Photo(negative.photo.path, negative.name) for negative in negatives]
    files = [folder / f"{stem}.png" for stem in output_stems(named)]
    photos: list[Photo] = []
    remarks: list[str] = []

    def print_of(place: int) -> Photo | PhotoError:
        return _print_of(negatives[place], files[place], how)

    prints = ordered_map(print_of, range(len(files)), workers=workers())
    for found in track(prints, len(files), "developing"):
        if isinstance(found, PhotoError):
            remarks.append(f"left out a page: {found}.")
        else:
            photos.append(found)
    return replace(search, photos=photos, remarks=(*search.remarks, *remarks))


def _negatives(photos: Sequence[Photo], how: Development) -> Iterator[_Negative]:
    taken = {photo.name for photo in photos}
    for photo in photos:
        pages = _pages_of(photo) if how.all_pages else 1
        if pages == 1:
            yield _Negative(photo, photo.name, None)
            continue
        for page in range(pages):
            name = _page_name(photo.name, page + 1, taken)
            taken.add(name)
            yield _Negative(photo, name, page)


def _pages_of(photo: Photo) -> int:
    try:
        return page_count(photo.path)
    except PhotoError:  # it fails by name when it is read
        return 1


def _page_name(name: str, number: int, taken: set[str]) -> str:
    path = PurePosixPath(name)
    wanted = path.with_name(f"{path.stem}_page{number}{path.suffix}")
    while wanted.as_posix() in taken:
        wanted = wanted.with_name(f"{wanted.stem}_{wanted.suffix}")
    return wanted.as_posix()


def _print_of(negative: _Negative, file: Path, how: Development) -> Photo | PhotoError:
    """The photo as it is now to be used; what is wrong with a page that cannot be."""
    photo, page = negative.photo, negative.page
    if page is None and how.stretch is None:
        return photo
    try:
        made_of = _mark(photo, page, how)
        if _text_of(file) != made_of:
            _write(file, photo, page or 0, how, made_of)
    except PhotoError as error:
        return photo if page is None else PhotoError(f"{error} (page {page + 1})")
    return Photo(file, negative.name)


def _mark(photo: Photo, page: int | None, how: Development) -> str:
    try:
        state = photo.path.stat()
    except OSError as error:
        raise PhotoError(f"{shown(photo.path)} is not there (any more); put it back") from error
    return f"{state.st_size} bytes of {state.st_mtime_ns}, page {page}, stretch {how.stretch}"


def _text_of(file: Path) -> str | None:
    """What a developed photo says that it was made of; None where there is none."""
    try:
        with opened(file) as image:
            text = image.info.get(_MADE_OF)
            return text if isinstance(text, str) else None
    except PhotoError:
        return None


def _write(file: Path, photo: Photo, page: int, how: Development, made_of: str) -> None:
    pixels = load_photo(photo.path, page=page, stretch=how.stretch)
    is_grey = bool((pixels[..., :1] == pixels).all())
    text = PngImagePlugin.PngInfo()
    text.add_text(_MADE_OF, made_of)
    picture = Image.fromarray(pixels[..., 0] if is_grey else pixels)
    with whole_file(file) as out:
        picture.save(out, "PNG", pnginfo=text, compress_level=1)
