"""The data sets of the paper: what they are for, how large they are, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass, field

from leopart.data.datasets.labelled import SPLITS
from leopart.data.datasets.unlabelled import EXPECTED


@dataclass(frozen=True)
class DataSet:
    """One row of `leopart data list`.

    Attributes:
        use: train, score or both.
        labels: classes, in words.
        splits: photos that each split should have; empty where nothing is known before a folder is seen.
        parts: what to download, and from where.
        place: how the unpacked parts should lie.
        optional: splits that a complete set may lack.
        counts_vary: whether another number of photos is a note and no mistake.
    """

    use: str
    labels: str
    splits: dict[str, int] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    place: str = ""
    optional: frozenset[str] = frozenset()
    counts_vary: bool = False


_COCO = "https://cocodataset.org/#download"
_SBD = "the Semantic Boundaries Dataset, http://home.bharathh.info/pubs/codes/SBD/download.html"
_DEEPLAB = "https://github.com/kazuto1011/deeplab-pytorch"
_COCO_PHOTOS = f"val2017.zip and train2017.zip from {_COCO}"
CATALOGUE = {
    "folder": DataSet(
        use="train, score",
        labels="index PNGs of your own",
        place="PATH/images/, PATH/masks/ with the photos' names and the suffix .png, PATH/classes.txt",
    ),
    "voc": DataSet(
        use="train, score",
        labels="21 classes",
        splits=SPLITS["voc"],
        parts=(
            "VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
            (
                "for trainaug, SegmentationClassAug/ and trainaug.txt: index PNGs made of the masks of "
                f"{_SBD}, as {_DEEPLAB} describes"
            ),
        ),
        place="PATH/JPEGImages/, PATH/ImageSets/Segmentation/, PATH/SegmentationClass/, "
        "PATH/SegmentationClassAug/",
        optional=frozenset({"trainval"}),
    ),
    "coco": DataSet(
        use="train",
        labels="none",
        splits={"train2017": EXPECTED["coco"]},
        parts=(f"train2017.zip from {_COCO}",),
        place="PATH/images/train2017/",
    ),
    "coco-stuff": DataSet(
        use="score",
        labels="15 classes",
        splits=SPLITS["coco-stuff"],
        parts=(_COCO_PHOTOS, f"stuff_annotations_trainval2017.zip from {_COCO}, and the archives in it"),
        place="PATH/images/val2017/, PATH/annotations/stuff_val2017_pixelmaps/; likewise for train2017",
    ),
    "coco-thing": DataSet(
        use="score",
        labels="12 classes",
        splits=SPLITS["coco-thing"],
        parts=(_COCO_PHOTOS, f"panoptic_annotations_trainval2017.zip from {_COCO}, and the archives in it"),
        place="PATH/images/val2017/, PATH/annotations/panoptic_val2017/ and panoptic_val2017.json beside it; "
        "likewise for train2017",
    ),
    "ade20k-parts": DataSet(
        use="score",
        labels="111 parts",
        splits=SPLITS["ade20k-parts"],
        parts=("the full ADE20K, ADE20K_2021_17_01.zip, after registration at https://ade20k.csail.mit.edu",),
        place="PATH/ADE20K_2021_17_01/index_ade20k.pkl, PATH/ADE20K_2021_17_01/images/",
        counts_vary=True,
    ),
    "imagenet100": DataSet(
        use="train",
        labels="none",
        splits={"train": EXPECTED["imagenet100"]},
        parts=(
            "ILSVRC2012_img_train.tar, after registration at https://image-net.org/download.php",
            "imagenet100.txt from https://github.com/HobbitLong/CMC",
        ),
        place="PATH/imagenet100.txt, PATH/train/n02869837/ and the other class folders",
    ),
    "imagenet": DataSet(
        use="train",
        labels="none",
        splits={"train": EXPECTED["imagenet"]},
        parts=("ILSVRC2012_img_train.tar, after registration at https://image-net.org/download.php",),
        place="PATH/train/, a folder of each class in it",
    ),
}
"""By the name before the colon in `NAME:PATH`."""
