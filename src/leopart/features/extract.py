"""Photos to stored tokens: decoding ahead in threads, forward passes of one fixed shape.

Every forward pass of a given grid has the same batch size (short batches are padded), and every photo goes
through the same steps alone or in a folder. So the tokens of a photo do not depend on its neighbours, and a
photo segmented again later gets the same ids. In batches of several, a token's last bit can depend on the
photo's place in the batch, since matrix products treat their last rows in another way; on the CPU, where
larger batches save nothing, a batch is one photo unless another number is asked for. There several photos
are encoded at once, each in its share of the threads; another number of threads can change a last bit, too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from leopart.data.images import load_photo, photo_size, resize, target_size
from leopart.data.photos import Photo
from leopart.data.remarks import Remarks
from leopart.errors import LeopartError, PhotoError
from leopart.features.failure import Failure
from leopart.features.store import FeatureRecipe, FeatureStore, StoredPhoto, StoreMismatchError
from leopart.models.backbone import Backbone
from leopart.parallel import ordered_map, side_by_side, workers
from leopart.processes import first_process_first, from_all, rank, wait_for_all, world_size
from leopart.progress import Track, silent

TokensAndAttention = tuple[NDArray[np.float16], NDArray[np.float32]]
"""Of one photo: [h, w, D] and [heads, h, w]."""

Source = TypeVar("Source", Path, NDArray[np.uint8], Path | NDArray[np.uint8])

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Preprocessing:
    """How a photo of any size becomes the backbone's input.

    Attributes:
        size: side in pixels of the square input, or of a square of the same area with `keep_aspect`.
        keep_aspect: keep the photo's aspect ratio; else it is squeezed into a square as in the paper.
    """

    size: int = 448
    keep_aspect: bool = False

    def target(self, height: int, width: int, patch_size: int) -> tuple[int, int]:
        """Height and width in pixels, multiples of the patch, of the input for a photo of this size."""
        return target_size(height, width, self.size, patch_size, self.keep_aspect)


class Extractor:
    """Tokens and attention of photos, at fixed settings.

    Args:
        backbone: on its device.
        preprocessing: see `Preprocessing`.
        precision: `fp32`, `bf16`, `fp16`, or `auto` for the fastest format that the device computes well.
        batch_size: photos in a forward pass; None for a good one.
        block: whose tokens, 0-based; None takes the backbone's own choice. One that is not there is refused
            with the first photo.
        attention_of: backbone whose attention is taken, on the same device and with equal patches; None =
            the one whose tokens are taken. Fine-tuning on parts spoils the attention for finding foreground.

    Raises:
        LeopartError: the patches of the two backbones differ.
    """

    def __init__(
        self,
        backbone: Backbone,
        preprocessing: Preprocessing,
        *,
        precision: str = "auto",
        batch_size: int | None = None,
        block: int | None = None,
        attention_of: Backbone | None = None,
    ) -> None:
        self.backbone, self.preprocessing = backbone, preprocessing
        self.block = block
        if attention_of is not None and attention_of.patch_size != backbone.patch_size:
            sizes = f"{attention_of.patch_size} and {backbone.patch_size} pixels"
            message = f"the attention of {attention_of.name} does not fit {backbone.name}: patches of {sizes}"
            raise LeopartError(f"{message}; choose an attention backbone with equal patches")
        is_same = attention_of is not None and attention_of.fingerprint == backbone.fingerprint
        self.attention_of = None if is_same else attention_of
        self.device = next(backbone.parameters()).device
        self.precision = fast_precision(self.device) if precision == "auto" else precision
        self.batch_size = batch_size or (1 if self.device.type == "cpu" else 32)
        self.remarks = Remarks()

    def over(self, backbone: Backbone, attention_of: Backbone | None = None) -> Extractor:
        """The same settings over another backbone, on the same device; remarks on photos stay together."""
        other = Extractor(
            backbone,
            self.preprocessing,
            precision=self.precision,
            batch_size=self.batch_size,
            block=self.block,
            attention_of=attention_of,
        )
        other.remarks = self.remarks
        return other

    @property
    def recipe(self) -> FeatureRecipe:
        """What a feature store made by this extractor remembers of it."""
        backbone = self.backbone
        other: dict[str, int | str] = {} if self.block is None else {"block": self.block}
        if self.attention_of is not None:
            other["attention of"] = self.attention_of.fingerprint
        return FeatureRecipe(
            backbone=backbone.name,
            fingerprint=backbone.fingerprint,
            dim=backbone.dim,
            heads=(self.attention_of or backbone).heads,
            preprocessing=asdict(self.preprocessing) | other,
            precision=self.precision,
        )

    def prepare(
        self, photo: Path | NDArray[np.uint8], remark: Callable[[str], object] = lambda _: None
    ) -> NDArray[np.uint8]:
        """A photo (a path, or RGB [H, W, 3]) at the backbone's input size, uint8 [h * patch, w * patch, 3].

        What is odd about it goes to `remark`, see `load_photo`.

        Raises:
            PhotoError: the file cannot be read.
        """
        if not isinstance(photo, Path) and (photo.dtype != np.uint8 or photo.shape[2:] != (3,)):
            message = (
                f"a photo as an array must be RGB uint8 [H, W, 3], not {photo.dtype} {list(photo.shape)}"
            )
            raise PhotoError(message)
        size = photo_size(photo) if isinstance(photo, Path) else photo.shape[:2]
        height, width = self.preprocessing.target(size[0], size[1], self.backbone.patch_size)
        if isinstance(photo, Path):
            photo = load_photo(photo, smallest=(height, width), remark=remark)
        return resize(photo, height, width)

    @torch.inference_mode()
    def forward(self, images: Sequence[NDArray[np.uint8]]) -> list[TokensAndAttention]:
        """Tokens [h, w, D] and attention [heads, h, w] of each of up to `batch_size` prepared photos."""
        padded = [*images, *[images[-1]] * (self.batch_size - len(images))]
        batch = torch.from_numpy(np.stack(padded)).to(self.device).permute(0, 3, 1, 2)
        with self._autocast():
            features = self._network(batch, self.block)
            attending = features if self._attention_network is None else self._attention_network(batch)
        tokens = features.tokens.half().cpu().numpy()
        attention = attending.attention.float().cpu().numpy()
        return list(zip(tokens, attention, strict=True))[: len(images)]

    def each(self, photos: Iterable[Source]) -> Iterator[tuple[Source, TokensAndAttention]]:
        """Features of one photo after the other, in batches, decoded ahead; the iterable may be endless.

        Args:
            photos: files, or RGB uint8 [H, W, 3].

        Raises:
            PhotoError: one cannot be read.
        """
        loaded = ordered_map(lambda photo: (photo, self.prepare(photo)), photos, workers=workers())
        yield from self._encoded(loaded)

    def stream(
        self, photos: Sequence[Photo], *, track: Track = silent, title: str = "features"
    ) -> Iterator[tuple[Photo, TokensAndAttention | PhotoError]]:
        """Features of one photo after the other, or what is wrong with it; photos are decoded ahead.

        Photos of the same input size share batches while they follow each other.
        """
        loaded = ordered_map(self._loaded, photos, workers=workers())
        yield from track(self._encoded(loaded), len(photos), title)

    def _encoded(self, loaded: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        """Features in place of prepared photos; a PhotoError stays where it is."""
        batches = self._batches(loaded)
        # A GPU works on one batch while the next is prepared; the cores each take one of their own.
        done = side_by_side(self._run, batches) if self.device.type == "cpu" else map(self._run, batches)
        return chain.from_iterable(done)

    def _loaded(self, photo: Photo) -> tuple[Photo, NDArray[np.uint8] | PhotoError]:
        try:
            image = self.prepare(photo.path, lambda kind: self.remarks.add(kind, photo.name))
            self.remarks.look(image, photo.name)
        except PhotoError as error:
            return photo, error
        return photo, image

    def _batches(self, loaded: Iterable[tuple[Any, Any]]) -> Iterator[list[tuple[Any, Any]]]:
        """Photos of equal shape that follow each other; what could not be loaded is a batch of its own."""
        batch: list[tuple[Any, Any]] = []
        for item in loaded:
            if batch and (len(batch) == self.batch_size or _shape(batch[0]) != _shape(item)):
                yield batch
                batch = []
            batch.append(item)
        if batch:
            yield batch

    def _run(self, batch: list[tuple[Any, Any]]) -> list[tuple[Any, TokensAndAttention | PhotoError]]:
        images = [image for _, image in batch if not isinstance(image, PhotoError)]
        if not images:
            return [(photo, error) for photo, error in batch if isinstance(error, PhotoError)]
        return list(zip([photo for photo, _ in batch], self.forward(images), strict=True))

    def extract(
        self,
        photos: Sequence[Photo],
        folder: Path,
        *,
        replace: bool = False,
        shared: bool = False,
        track: Track = silent,
    ) -> tuple[FeatureStore, list[Failure]]:
        """Features of all photos in a store at `folder`; photos already in it are not computed again.

        Args:
            photos: see `find_photos`.
            folder: of the store, made if need be.
            replace: put a new store in the place of one made with other settings or of other photos (taking
                over what fits), instead of refusing it.
            shared: every process of a group makes this call, and takes its share of the photos; they must see
                one file system.
            track: progress, one step a photo.

        Returns:
            The store (its entries are the photos whose header could be read) and what failed.

        Raises:
            LeopartError: the store belongs to something else, or cannot be written.
        """
        entries, failures = self._layout(photos)
        with first_process_first() if shared else nullcontext():  # it makes the store, the others open it
            store = self._store(folder, list(entries.values()), replace)
        index_of = {name: index for index, name in enumerate(entries)}
        waiting = [
            photo for photo in photos if photo.name in entries and not store.done[index_of[photo.name]]
        ]
        # Equal grids side by side fill the batches.
        waiting.sort(key=lambda photo: (entries[photo.name].height, entries[photo.name].width))
        if shared:
            wait_for_all()  # nobody writes before everybody has seen what is there
            waiting = waiting[rank() :: world_size()]
        found = []
        for photo, features in self.stream(waiting, track=track):
            if isinstance(features, PhotoError):
                found.append(Failure(photo.name, str(features)))
            else:
                store.put(index_of[photo.name], *features)
        if shared:  # waits for the others, too: then all photos are in the store
            found = [failure for share in from_all(found) for failure in share]
        return store, failures + found

    def _store(self, folder: Path, entries: list[StoredPhoto], replace: bool) -> FeatureStore:
        try:
            return FeatureStore.open(folder, self.recipe, entries)
        except StoreMismatchError:
            if not replace:
                raise
            return FeatureStore.replace(folder, self.recipe, entries)

    def _layout(self, photos: Sequence[Photo]) -> tuple[dict[str, StoredPhoto], list[Failure]]:
        entries: dict[str, StoredPhoto] = {}
        failures: list[Failure] = []
        for photo in photos:
            try:
                size, stat = photo_size(photo.path), photo.path.stat()
            except (PhotoError, OSError) as error:
                failures.append(Failure(photo.name, str(error)))
                continue
            patch = self.backbone.patch_size
            height, width = self.preprocessing.target(*size, patch)
            entries[photo.name] = StoredPhoto(
                photo.name, stat.st_size, stat.st_mtime_ns, height // patch, width // patch
            )
        return entries, failures

    @cached_property
    def _network(self) -> Backbone:
        return self._cast(self.backbone)

    @cached_property
    def _attention_network(self) -> Backbone | None:
        return None if self.attention_of is None else self._cast(self.attention_of)

    def _cast(self, backbone: Backbone) -> Backbone:
        """A copy with the weights of products in the format of the forward pass, on the CPU.

        Autocast would make the same of them again for every photo, a third of the time of a small one.
        """
        if self.precision == "fp32" or self.device.type != "cpu":
            return backbone
        copied = copy.deepcopy(backbone)
        for layer in copied.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                layer.to(_AUTOCAST[self.precision])
        return copied

    def _autocast(self) -> AbstractContextManager[None]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, _AUTOCAST[self.precision])


def _shape(loaded: tuple[Any, Any]) -> tuple[int, ...]:
    return () if isinstance(loaded[1], PhotoError) else loaded[1].shape


def fast_precision(device: torch.device) -> str:
    """The fastest number format that `device` computes natively: `bf16`, `fp16` or `fp32`.

    On CPUs without bfloat16 instructions the format is emulated and slower than float32.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if device.type == "cpu" and _cpu_has_bf16():
        return "bf16"
    return "fp32"


def _cpu_has_bf16() -> bool:
    """Whether bfloat16 products run natively; torch has no public question that old releases know."""
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
