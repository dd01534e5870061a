from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from leopart.errors import LeopartError
from leopart.evaluation.heads import training as module
from leopart.evaluation.heads.examples import CachedExamples
from leopart.evaluation.heads.recipes import HeadRecipe
from leopart.evaluation.heads.training import fresh_head, train_head
from leopart.evaluation.heads.views import AugmentedExamples
from leopart.features.store import FeatureRecipe, FeatureStore, StoredPhoto

PHOTOS, GRID, DIM, CLASSES, SIDE = 6, 5, 8, 4, 13
LINEAR = HeadRecipe(lr=0.1, epochs=3, drop_at=2, batch_size=6, train_size=SIDE)
FCN = replace(LINEAR, kind="fcn", width=7)


def drawn(photos: int = PHOTOS, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, (photos, SIDE, SIDE)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.3] = 255
    return torch.from_numpy(rng.normal(size=(photos, GRID, GRID, DIM))).float(), labels


def planted(photos: int = PHOTOS) -> tuple[torch.Tensor, np.ndarray]:
    """Tokens near the centre of their class, and label maps of blocks."""
    rng = np.random.default_rng(1)
    which = rng.integers(0, CLASSES, (photos, GRID, GRID))
    tokens = 3 * rng.normal(size=(CLASSES, DIM))[which] + 0.1 * rng.normal(size=(photos, GRID, GRID, DIM))
    places = np.arange(SIDE) * GRID // SIDE
    return torch.from_numpy(tokens).float(), which[:, places][:, :, places].astype(np.uint8)


def naive_linear(tokens: torch.Tensor, labels: np.ndarray, recipe: HeadRecipe) -> dict[str, torch.Tensor]:
    """Tokens enlarged first, the whole set one batch, momentum and decay by hand."""
    state = {name: value.clone() for name, value in fresh_head(recipe, DIM, CLASSES).state_dict().items()}
    velocity = {name: torch.zeros_like(value) for name, value in state.items()}
    maps = F.interpolate(tokens.permute(0, 3, 1, 2), (SIDE, SIDE), mode="bilinear", align_corners=False)
    truth = torch.from_numpy(labels).long()
    for epoch in range(recipe.epochs):
        leaves = {name: value.clone().requires_grad_() for name, value in state.items()}
        loss = F.cross_entropy(F.conv2d(maps, leaves["weight"], leaves["bias"]), truth, ignore_index=255)
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        for (name, value), gradient in zip(state.items(), gradients, strict=True):
            velocity[name] = recipe.momentum * velocity[name] + gradient + recipe.weight_decay * value
            state[name] = value - recipe.lr * (0.1 if epoch >= recipe.drop_at else 1) * velocity[name]
    return state


def test_a_linear_head_learns_as_the_formula_says():
    tokens, labels = drawn()
    recipe = replace(LINEAR, weight_decay=0.05)
    trained = train_head(CachedExamples(tokens, labels), CLASSES, recipe)
    for name, expected in naive_linear(tokens, labels, recipe).items():
        torch.testing.assert_close(trained.head.state_dict()[name], expected, atol=1e-6, rtol=1e-5)
    assert [epoch.lr for epoch in trained.curve] == pytest.approx([0.1, 0.1, 0.01])
    assert [epoch.miou for epoch in trained.curve] == [None] * 3
    assert (trained.kept, trained.chosen_by) == (2, "no labels: the last epoch")


def test_an_fcn_learns_as_autograd_and_torch_s_sgd_have_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "dropout_factors", lambda width, generator: torch.ones(width))
    tokens, labels = drawn()
    head = fresh_head(FCN, DIM, CLASSES)
    optimiser = torch.optim.SGD(head.parameters(), FCN.lr, momentum=0.9, weight_decay=1e-4)
    losses = []
    for epoch in range(FCN.epochs):
        optimiser.param_groups[0]["lr"] = FCN.lr * (0.1 if epoch >= 2 else 1)
        maps = F.interpolate(tokens.permute(0, 3, 1, 2), (SIDE, SIDE), mode="bilinear", align_corners=False)
        logits = head.coarse(maps.permute(0, 2, 3, 1))
        loss = F.cross_entropy(logits, torch.from_numpy(labels).long(), ignore_index=255)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())

    trained = train_head(CachedExamples(tokens, labels), CLASSES, FCN)
    for name, expected in head.state_dict().items():
        torch.testing.assert_close(trained.head.state_dict()[name], expected, atol=1e-5, rtol=1e-4)
    assert [epoch.loss for epoch in trained.curve] == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize("recipe", [LINEAR, FCN])
def test_pieces_of_any_size_give_the_same_head(recipe: HeadRecipe, monkeypatch: pytest.MonkeyPatch):
    tokens, labels = drawn()
    recipe = replace(recipe, batch_size=4)
    states = []
    for piece in (1, 3, 10):
        monkeypatch.setattr(module, "_piece", lambda kind, device, piece=piece: piece)
        states.append(train_head(CachedExamples(tokens, labels), CLASSES, recipe).head.state_dict())
    for other in states[1:]:
        for name in other:
            torch.testing.assert_close(other[name], states[0][name], atol=1e-5, rtol=1e-4)


class Watched(CachedExamples):
    """Remembers which photos are loaded."""

    def load(self, photos, epoch):
        self.loaded = [*getattr(self, "loaded", []), (epoch, list(photos))]
        return super().load(photos, epoch)


def test_every_epoch_has_every_photo_once_in_an_order_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "workers", lambda: 1)
    examples = Watched(*drawn(11))
    steps = []
    train_head(
        examples,
        CLASSES,
        replace(LINEAR, batch_size=4),
        track=lambda items, total, title: steps.append(total) or items,
    )
    orders = [[photo for at, part in examples.loaded if at == epoch for photo in part] for epoch in range(3)]
    assert all(sorted(order) == list(range(11)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert steps == [9]  # batches of 4, 4 and 3


@pytest.mark.parametrize("recipe", [LINEAR, FCN])
def test_the_seed_decides_all(recipe: HeadRecipe):
    examples = CachedExamples(*drawn())
    first, second, other = (
        train_head(examples, CLASSES, replace(recipe, batch_size=2, seed=seed)) for seed in (1, 1, 2)
    )
    assert first.curve == second.curve != other.curve
    states = [trained.head.state_dict() for trained in (first, second)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_channels_are_left_out_anew_in_every_epoch():
    """With a rate of nearly nothing the head stays, so losses differ by what is left out alone."""
    examples = CachedExamples(*drawn())
    curve = train_head(examples, CLASSES, replace(FCN, lr=1e-12, width=20)).curve
    assert len({round(epoch.loss, 5) for epoch in curve}) == 3
    still = train_head(examples, CLASSES, replace(LINEAR, lr=1e-12)).curve
    assert len({round(epoch.loss, 5) for epoch in still}) == 1


@pytest.mark.parametrize("recipe", [LINEAR, FCN])
def test_photos_without_labels_move_nothing(recipe: HeadRecipe):
    tokens, labels = drawn()
    examples = CachedExamples(tokens, np.full_like(labels, 255))
    trained = train_head(examples, CLASSES, replace(recipe, weight_decay=0.0))
    start = fresh_head(recipe, DIM, CLASSES).state_dict()
    assert all(torch.equal(trained.head.state_dict()[name], start[name]) for name in start)
    assert [epoch.loss for epoch in trained.curve] == [0, 0, 0]


@pytest.mark.parametrize(
    "recipe", [replace(LINEAR, epochs=30, drop_at=25), replace(FCN, epochs=60, drop_at=50)]
)
def test_what_can_be_learned_is_learned(recipe: HeadRecipe):
    tokens, labels = planted(12)
    given = CachedExamples(tokens, labels, photos=range(6, 12))
    trained = train_head(
        CachedExamples(tokens, labels, photos=range(6)), CLASSES, replace(recipe, select=6), validation=given
    )
    assert trained.curve[trained.kept].miou > 0.6  # borders of blocks, enlarged, bound it; chance is 0.14
    assert trained.curve[-1].loss < 0.5 * trained.curve[0].loss


def test_the_epoch_that_validation_photos_like_best_is_kept():
    tokens, labels = drawn(8)
    recipe = replace(LINEAR, epochs=8, drop_at=8, select=3)
    validation = CachedExamples(tokens, labels, photos=[7, 6, 5, 4])
    examples = CachedExamples(tokens, labels, photos=[0, 1, 2])
    trained = train_head(examples, CLASSES, recipe, validation=validation)

    scores = [epoch.miou for epoch in trained.curve]
    assert trained.kept == int(np.argmax(scores)) < 7  # or keeping the last would do as well
    with torch.no_grad():
        found = trained.head(tokens[[7, 6, 5]], SIDE).argmax(1).numpy()
    assert scores[trained.kept] == pytest.approx(naive_miou(labels[[7, 6, 5]], found))
    assert trained.chosen_by == "mIoU on the labels of 3 validation photos"
    last = train_head(examples, CLASSES, replace(recipe, select=0), validation=validation)
    assert (last.kept, last.curve[0].miou) == (7, None)
    assert [epoch.loss for epoch in last.curve] == [epoch.loss for epoch in trained.curve]


def naive_miou(truth: np.ndarray, found: np.ndarray) -> float:
    ious = []
    for row in range(CLASSES):
        here, said = (truth == row), (found == row) & (truth != 255)
        ious.append((here & said).sum() / max(1, (here | said).sum()))
    return float(np.mean(ious))


def test_a_trained_head_is_ready_for_use():
    head = train_head(CachedExamples(*drawn()), CLASSES, LINEAR).head
    assert not head.training
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in head.parameters())


def test_a_rate_that_is_far_too_high_is_told():
    tokens, labels = drawn()
    with pytest.raises(LeopartError, match=r"not finite in epoch \d+; take a learning rate below 1e\+38"):
        train_head(CachedExamples(tokens, labels), CLASSES, replace(LINEAR, lr=1e38, batch_size=2, drop_at=9))


def test_label_maps_of_another_size_are_refused():
    with pytest.raises(ValueError, match="13 and 100"):
        train_head(CachedExamples(*drawn()), CLASSES, replace(LINEAR, train_size=100))


def stored(folder: Path, tokens: torch.Tensor) -> FeatureStore:
    recipe = FeatureRecipe("b", "f", DIM, 1, {}, "fp32")
    store = FeatureStore.open(
        folder, recipe, [StoredPhoto(str(i), 1, 1, GRID, GRID) for i in range(len(tokens))]
    )
    for index, photo in enumerate(tokens):
        store.put(index, photo.half().numpy(), np.zeros((1, GRID, GRID), np.float32))
    return store


def test_a_tensor_a_list_and_a_store_teach_alike(tmp_path: Path):
    tokens, labels = drawn()
    tokens = tokens.half()
    heads = [
        train_head(CachedExamples(given, labels, photos=[5, 0, 2]), CLASSES, LINEAR).head
        for given in (tokens, [photo.numpy() for photo in tokens], stored(tmp_path / "store", tokens))
    ]
    assert all(torch.equal(head.weight, heads[0].weight) for head in heads)


def test_bfloat16_is_for_convolutions_and_comes_near():
    examples = CachedExamples(*drawn())
    for recipe in (LINEAR, FCN):
        exact = train_head(examples, CLASSES, recipe).curve[0].loss
        coarse = train_head(examples, CLASSES, recipe, precision="bf16").curve[0].loss
        assert (coarse == exact) == (recipe.kind == "linear")
        assert coarse == pytest.approx(exact, rel=0.01)


def test_examples_that_do_not_fit_are_refused(tmp_path: Path):
    tokens, labels = drawn()
    with pytest.raises(ValueError, match="tokens of 6 photos and 5 label maps"):
        CachedExamples(tokens, labels[:5])
    with pytest.raises(ValueError, match="there are no photos"):
        CachedExamples(tokens, labels, photos=[])
    with pytest.raises(ValueError, match="not of 2 grids"):
        CachedExamples([tokens[0], tokens[1, :4]], labels[:2])
    store = stored(tmp_path / "store", tokens)
    store.done[3] = 0
    CachedExamples(store, labels, photos=[0, 1])
    with pytest.raises(ValueError, match="features of some photos are missing"):
        CachedExamples(store, labels)


def test_augmented_photos_teach_too(tiny_backbone, small_labelled):
    from leopart.features.extract import Extractor, Preprocessing

    extractor = Extractor(tiny_backbone, Preprocessing(size=32), precision="fp32")
    examples = AugmentedExamples(extractor, small_labelled, train_size=SIDE, seed=3)
    curve = train_head(examples, 2, replace(LINEAR, epochs=6, drop_at=6, lr=0.05, batch_size=2)).curve
    assert curve[-1].loss < 0.7 * curve[0].loss
    assert len({epoch.loss for epoch in curve}) == 6


@pytest.fixture
def small_labelled(tmp_path: Path):
    """Photos that are red where class 1 is, else blue."""
    from PIL import Image

    from leopart.data.datasets.folder import open_folder

    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        mask = np.zeros((32, 40), np.uint8)
        mask[:, 10 + 5 * number :] = 1
        photo = np.array([[30, 40, 200], [220, 50, 30]], np.uint8)[mask]
        Image.fromarray(photo).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
    (tmp_path / "classes.txt").write_text("0\tblue\n1\tred\n")
    return open_folder(tmp_path)
