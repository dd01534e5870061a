"""Named training settings: every row of the paper, and ours for smaller machines and newer backbones.

Each function's docstring says what for, with which data, at what cost, and what to expect. Numbers of the
paper are mIoU on PASCAL VOC val in percent, from its supplement; LC is a linear classifier, K=500
overclustering. The paper's rows need its data sets and a GPU for days; they have not been run again by us.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace

from leopart.errors import LeopartError
from leopart.recipe import Recipe


def in100k() -> Recipe:
    """Paper's base: ViT-S/16 from DINO on 100 classes of ImageNet, 50 epochs.

    Data: `imagenet100:PATH`, 126,689 photos without labels. Cost: 99,000 steps of 64 photos.
    Expected: LC 67.8, K=100/300/500 38.2/47.2/50.7 (supplement, table 4).
    """
    return Recipe()


def coco() -> Recipe:
    """The same on COCO train2017 ("CC").

    Data: `coco:PATH`, 118,287 photos. Cost: 92,000 steps of 64 photos.
    Expected: LC 69.3, K=500 53.5 (authors' README).
    """
    return in100k()


def voc() -> Recipe:
    """The same on PASCAL VOC trainaug, 500 epochs.

    Data: `voc:PATH`, 10,582 photos. Cost: 82,500 steps of 64 photos. Expected: not published.
    """
    return replace(in100k(), epochs=500)


def in_scratch() -> Recipe:
    """From random weights on all of ImageNet, without a foreground mask, 400 epochs.

    Data: `imagenet:PATH`, 1,281,167 photos. Cost: 8 million steps of 64 photos. Expected: not published.
    """
    return replace(in100k(), backbone="random_vits16", loss_mask="all", epochs=400)


def coco_vitb16() -> Recipe:
    """ViT-B/16 from DINO on COCO. Data: `coco:PATH`. Cost: 92,000 steps. Expected: not published."""
    return replace(coco(), backbone="dino_vitb16")


def coco_vitb8() -> Recipe:
    """ViT-B/8 from DINO on COCO, 100 epochs, batch 32, half the learning rates.

    Data: `coco:PATH`. Cost: 370,000 steps of 32 photos at 3,136 tokens. Expected: K=500 59.7, FCN 76.3.
    """
    return replace(coco(), backbone="dino_vitb8", epochs=100, batch_size=32, lr=5e-6, lr_head=5e-5)


def coco_vitb8_reference() -> Recipe:
    """`coco_vitb8` with the 50 epochs of the authors' file; the supplement says 100."""
    return replace(coco_vitb8(), epochs=50)


def coco_mae_base() -> Recipe:
    """ViT-B/16 from MAE on COCO.

    Data: `coco:PATH`. Expected: LC 47.5 -> 68.9, K=500 10.0 -> 38.4 (table 3).
    """
    return replace(coco(), backbone="mae_vitb16")


def coco_mae_large() -> Recipe:
    """ViT-L/16 from MAE on COCO. Data: `coco:PATH`. Expected: not published."""
    return replace(coco(), backbone="mae_vitl16")


def coco_mocov3() -> Recipe:
    """ViT-S/16 from MoCo-v3 on COCO.

    Data: `coco:PATH`. Expected: LC 13.4 -> 42.0, K=500 5.8 -> 31.2 (table 3). The authors built it with 6
    heads where the weights have 12; the row here has 12.
    """
    return replace(coco(), backbone="mocov3_vits16")


def coco_supvit() -> Recipe:
    """ViT-S/16 trained on labels of ImageNet, on COCO.

    Data: `coco:PATH`. Expected: LC 68.1 -> 72.5, K=500 55.1 -> 61.6 (table 3).
    """
    return replace(coco(), backbone="supervised_vits16")


def coco_mocov2_res() -> Recipe:
    """ResNet-50 from MoCo-v2 on COCO: a row of the authors' files that their code cannot run.

    Nor can ours: it trains transformers, and ends with a sentence that says so. Data: `coco:PATH`.
    """
    return replace(coco(), backbone="mocov2_resnet50", loss_mask="all")


def coco_densecl() -> Recipe:
    """The paper's comparison with DenseCL: its loss in place of Leopart's, from the same start.

    The teacher's momentum is DenseCL's constant 0.999; views, optimiser and schedules are the base's.
    Data: `coco:PATH`. Cost: 92,000 steps of 64 photos. Expected: LC 54, K=500 17.1 (supplement, A.2).
    """
    return for_densecl(replace(coco(), momentum=0.999, momentum_end=0.999))


def ablate_protos_100() -> Recipe:
    """Base with 100 prototypes. Data: `imagenet100:PATH`. Expected: paper, table 1."""
    return replace(in100k(), prototypes=100)


def ablate_protos_500() -> Recipe:
    """Base with 500 prototypes. Data: `imagenet100:PATH`. Expected: paper, table 1."""
    return replace(in100k(), prototypes=500)


def ablate_queue() -> Recipe:
    """Base without a queue.

    Data: `imagenet100:PATH`. Expected: LC 67.2, K=100/300/500 35.0/45.7/48.1 (table 4).
    """
    return replace(in100k(), queue=0)


def ablate_crops_2() -> Recipe:
    """Base with two large crops alone. Data: `imagenet100:PATH`. Expected: paper, table 1."""
    return replace(in100k(), local_crops=0)


def ablate_crops_22() -> Recipe:
    """Base with two large and two small crops. Data: `imagenet100:PATH`. Expected: paper, table 1."""
    return replace(in100k(), local_crops=2)


def ablate_teacher() -> Recipe:
    """Base without a teacher: the student gives its own targets. Data: `imagenet100:PATH`."""
    return replace(in100k(), use_teacher=False)


def ablate_fg_all() -> Recipe:
    """Base with the loss on all cells. Data: `imagenet100:PATH`. Expected: paper, table 1."""
    return replace(in100k(), loss_mask="all")


def ablate_fg_bg() -> Recipe:
    """Base with the loss on the background alone. Data: `imagenet100:PATH`. Expected: paper, table 1."""
    return replace(in100k(), loss_mask="bg")


def dev() -> Recipe:
    """The authors' smoke run: 2 epochs, batch 16, queue 128, no mask. Any data."""
    return replace(in100k(), epochs=2, batch_size=16, queue=128, loss_mask="all", weight_decay_end=0.4)


def dinov2() -> Recipe:
    """Post-training of DINOv2 ViT-S/14 with registers on COCO, 5 epochs.

    Modern backbones start with good tokens, so fewer epochs at the paper's rates are enough to turn them to
    parts.
    Data: `coco:PATH`, or some 100,000 photos of your own. Cost: 9,200 steps of 64 photos. Expected: not
    measured.
    """
    return replace(in100k(), backbone="dinov2_vits14_reg", local_size=98, epochs=5)


def dinov3() -> Recipe:
    """Post-training of DINOv3 ViT-S/16 on COCO, 5 epochs; see `dinov2`.

    Data: `coco:PATH`, or some 100,000 photos of your own. Cost: 9,200 steps of 64 photos. Expected: not
    measured.
    """
    return replace(in100k(), backbone="dinov3_vits16", epochs=5)


def quick() -> Recipe:
    """Some hundreds of photos of your own, minutes on a laptop: last three blocks, two small crops, batch 8.

    The paper's rates and its slow teacher need tens of thousands of steps. Here a step may do ten times as
    much (rate 1e-4, teacher 0.99), and the head starts from the photos' own clusters instead of chance.
    Data: `folder:PHOTOS`. Cost: 4 passes; about 5 photos a second on two CPU cores with bfloat16.
    """
    return replace(
        in100k(),
        backbone="imgfocus_vits14",
        train_blocks=3,
        local_crops=2,
        local_size=98,
        prototypes=100,
        head_layers=1,
        head_init="clusters",
        queue=4096,
        contrast_queue=256,
        momentum=0.99,
        lr=1e-4,
        lr_head=1e-3,
        weight_decay_end=0.4,
        drop_path=0.0,
        batch_size=8,
        epochs=4,
        precision="fastest",
        seed=0,
    )


def small_folder() -> Recipe:
    """`quick` for as long as it helps on about a thousand photos: 15 passes.

    Data: `folder:PHOTOS`. Cost: about an hour for 800 photos on two CPU cores with bfloat16.
    """
    return replace(quick(), epochs=15)


def single_gpu() -> Recipe:
    """A thousand to some ten thousand photos on one GPU: everything trained, four small crops, batch 64.

    Data: `folder:PHOTOS`. Cost: 20 passes. Expected: not measured; the settings follow `quick` with gentler
    rates, since all blocks move.
    """
    return replace(
        quick(),
        train_blocks="all",
        local_crops=4,
        prototypes=200,
        batch_size=64,
        epochs=20,
        lr=5e-5,
        queue=8192,
        contrast_queue=1024,
    )


def for_densecl(recipe: Recipe) -> Recipe:
    """The recipe with DenseCL's loss: two large crops, and heads that start from chance; the rest stays."""
    return replace(recipe, objective="densecl", global_crops=2, local_crops=0, head_init="random")


def adaptation(photos: int, device: str, patch: int) -> Recipe:
    """Settings for a few minutes on somebody's own photos, by their number and the machine.

    On the CPU those of `quick`, on a GPU those of `single_gpu`; at most 40 passes, however long it may take.

    Args:
        photos: how many there are.
        device: `cpu`, `cuda` or `mps`.
        patch: side of the backbone's patch in pixels; crops are made to fit it.
    """
    recipe = fitting(quick() if device == "cpu" else single_gpu(), patch)
    batch = min(recipe.batch_size, max(1, photos))
    return replace(recipe, steps=40 * max(1, photos // batch))


def fitting(recipe: Recipe, patch: int) -> Recipe:
    """The recipe with crops of whole patches.

    Args:
        recipe: any.
        patch: side of the backbone's patch in pixels.
    """
    sizes = {
        name: max(1, round(getattr(recipe, name) / patch)) * patch for name in ("global_size", "local_size")
    }
    return replace(recipe, **sizes)


PRESETS: dict[str, Callable[[], Recipe]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        *(in100k, coco, voc, in_scratch),
        *(coco_vitb16, coco_vitb8, coco_vitb8_reference, coco_mae_base, coco_mae_large),
        *(coco_mocov3, coco_supvit, coco_mocov2_res, coco_densecl),
        *(ablate_protos_100, ablate_protos_500, ablate_queue, ablate_crops_2, ablate_crops_22),
        *(ablate_teacher, ablate_fg_all, ablate_fg_bg, dev),
        *(quick, small_folder, single_gpu, dinov2, dinov3),
    )
}
"""Functions by the name that `leopart train` takes."""


def preset(name: str) -> Recipe:
    """The settings called `name`; underscores and hyphens are the same.

    Raises:
        LeopartError: there is no such preset; the message names the nearest one.
    """
    key = name.replace("_", "-").removeprefix("train-")
    if key in PRESETS:
        return PRESETS[key]()
    near = difflib.get_close_matches(key, PRESETS, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(PRESETS)}"
    raise LeopartError(f"there is no preset {name!r}; {hint}")
