from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torchvision.ops import roi_align

from leopart.training.methods.leopart import loss as loss_module
from leopart.training.methods.leopart.loss import Queued, balanced_targets, dense_loss
from leopart.training.methods.leopart.settings import LeopartSettings
from leopart.training.methods.queue import TokenQueue
from leopart.training.methods.regions import SharedRegions
from tolerances import assert_same

DEFAULTS = LeopartSettings()


@dataclass(frozen=True)
class Case:
    """What `dense_loss` compares, with boxes in pixels."""

    teacher_scores: Tensor
    student_global: Tensor
    student_local: Tensor | None
    gc_boxes: Tensor
    all_boxes: Tensor
    patch_size: int
    mask: Tensor | None = None
    queue_scores: Tensor | None = None
    queue_weights: Tensor | None = None
    settings: LeopartSettings = DEFAULTS

    def loss(self, **changes) -> Tensor:
        case = replace(self, **changes)
        return dense_loss(
            case.teacher_scores,
            (case.student_global, case.student_local),
            SharedRegions.in_tokens(case.gc_boxes, case.all_boxes, case.patch_size),
            mask=case.mask,
            queued=None if case.queue_scores is None else Queued(case.queue_scores, case.queue_weights),
            settings=case.settings,
        )


def make_case(
    targets: int = 2,
    small: int = 2,
    patch: int = 16,
    *,
    images: int = 3,
    masked: bool = False,
    queue: int = 0,
    prototypes: int = 7,
    sides: tuple[int, int] = (224, 96),
    seed: int = 0,
) -> Case:
    generator = torch.Generator().manual_seed(seed)
    large, little = (side // patch for side in sides)

    def cosines(*shape: int) -> Tensor:
        return 2 * torch.rand(*shape, generator=generator) - 1

    def boxes(*shape: int) -> Tensor:
        corners = torch.rand(*shape, 2, 2, generator=generator)
        low = corners.amin(-2)  # at least 5 % of a side, as shared regions have some extent
        return torch.cat([low * 0.95, torch.maximum(corners.amax(-2), low + 0.05).clamp(max=1)], -1)

    crops = targets + small
    scale = torch.tensor([large * patch] * targets + [little * patch] * small).float()
    return Case(
        teacher_scores=cosines(targets, images, large, large, prototypes),
        student_global=cosines(targets, images, large, large, prototypes).requires_grad_(),
        student_local=cosines(small, images, little, little, prototypes).requires_grad_() if small else None,
        gc_boxes=boxes(images, targets, crops) * (large * patch),
        all_boxes=boxes(images, crops, targets) * scale[:, None, None],
        patch_size=patch,
        mask=torch.rand(targets, images, large, large, generator=generator) < 0.9 if masked else None,
        queue_scores=cosines(targets, queue, prototypes) if queue else None,
    )


def naive_sinkhorn(rows: Tensor, eps: float, iterations: int) -> Tensor:
    q = (rows.double() / eps).exp()
    for _ in range(iterations):
        q = q / (q.sum(0) * q.shape[1])
        q = q / (q.sum(1, keepdim=True) * len(q))
    return (q / q.sum(1, keepdim=True)).float()


def naive_align(maps: Tensor, boxes: Tensor, bins: int) -> Tensor:
    """One box an image, [B, side, side, C] and [B, 4] to [B, bins, bins, C]."""
    numbered = torch.cat([torch.arange(len(boxes))[:, None].float(), boxes], 1)
    aligned = roi_align(
        maps.permute(0, 3, 1, 2).contiguous(), numbered, bins, sampling_ratio=-1, aligned=True
    )
    return aligned.permute(0, 2, 3, 1)


def naive_loss(case: Case, threshold: float = 1 - 1e-4) -> tuple[Tensor, dict[tuple[int, int], float]]:
    """The docstring's loops: the loss, and that of each pair."""
    options = case.settings
    students = [*case.student_global, *([] if case.student_local is None else case.student_local)]
    pairs = {}
    for g, teacher in enumerate(case.teacher_scores):
        rows = teacher.reshape(-1, teacher.shape[-1])
        if case.queue_scores is not None:
            rows = torch.cat([case.queue_scores[g], rows])
        targets = naive_sinkhorn(rows, options.epsilon, options.sinkhorn_iterations)[
            -teacher[..., 0].numel() :
        ]
        targets = targets.reshape(teacher.shape)
        for v, student in enumerate(students):
            if v == g:
                continue
            region = case.gc_boxes[:, g, v] / case.patch_size
            a = naive_align(targets, region, options.roi_bins)
            z = naive_align(student, case.all_boxes[:, v, g] / case.patch_size, options.roi_bins)
            ce = -(a * (z / options.temperature).softmax(-1).log()).sum(-1)
            m = torch.ones_like(ce)
            if case.mask is not None:
                m = naive_align(case.mask[g, ..., None].float(), region, options.roi_bins)[..., 0]
                m = (m >= threshold).float()
            pairs[g, v] = (ce * m).sum() / m.sum() if m.any() else 0 * ce.sum()
    loss = torch.stack(list(pairs.values())).mean()  # every target has as many partners
    return loss, {key: value.item() for key, value in pairs.items()}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("targets", "small", "patch", "queue"),
    [
        (1, 1, 16, 0),
        (1, 6, 8, 5),
        (2, 0, 14, 4),
        (2, 0, 16, 0),
        (2, 4, 16, 0),
        (2, 4, 16, 40),
        (2, 2, 14, 9),
        (2, 1, 8, 0),
        (3, 0, 8, 0),
        (3, 2, 16, 7),
    ],
)
def test_it_is_the_naive_loop_in_value_and_gradient(targets, small, patch, queue, masked):
    sides = (224, 98) if patch == 14 else (224, 96)
    case = make_case(targets, small, patch, images=2, masked=masked, queue=queue, sides=sides)
    learned = [case.student_global] * (targets > 1) + [case.student_local] * (small > 0)
    expected, _ = naive_loss(case)
    loss = case.loss()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    gradients = zip(torch.autograd.grad(loss, learned), torch.autograd.grad(expected, learned), strict=True)
    for ours, theirs in gradients:
        # A softmax of scores / 0.1 makes their rounding ten times as large.
        assert_same(ours, theirs, terms=200, scale=10 * float(theirs.abs().max()))


@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_scores_are_computed_in_float32(autocast: bool):
    case = make_case(masked=True, queue=9)
    half = {
        name: getattr(case, name).detach().bfloat16()
        for name in ("teacher_scores", "student_global", "student_local", "queue_scores")
    }
    expected = case.loss(**{name: value.float() for name, value in half.items()})
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = case.loss(**half)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)


def test_rows_of_the_queue_with_weight_zero_are_as_no_queue():
    case = make_case(queue=20)
    off = case.loss(queue_weights=torch.zeros(2, 20)).item()
    assert off == pytest.approx(case.loss(queue_scores=None).item(), rel=1e-6)
    on = case.loss(queue_weights=torch.ones(2, 20)).item()
    assert on == pytest.approx(case.loss().item(), rel=1e-6)
    assert on != pytest.approx(off, rel=1e-6)


def test_an_empty_queue_is_as_no_queue():
    case = make_case()
    loss = case.loss(queue_scores=torch.empty(2, 0, 7), queue_weights=torch.empty(2, 0))
    assert torch.equal(loss, case.loss())


def test_a_pair_whose_mask_is_empty_counts_nothing_but_stays_in_the_mean():
    case = make_case(2, 2, masked=True)
    mask = torch.ones_like(case.mask)
    mask[0] = False

    _, pairs = naive_loss(replace(case, mask=None))

    rest = sum(loss for (target, _), loss in pairs.items() if target == 1)
    assert case.loss(mask=mask).item() == pytest.approx(rest / 6, rel=1e-5)


def test_with_no_foreground_at_all_the_loss_is_zero_and_its_gradient_too():
    case = make_case(masked=True)
    loss = case.loss(mask=torch.zeros_like(case.mask))
    loss.backward()
    assert loss.item() == 0
    assert not bool(case.student_global.grad.any())


@pytest.mark.parametrize("threshold", [1.0, 1 - 1e-4])
@pytest.mark.parametrize("patch", [8, 14, 16])
def test_a_mask_of_all_tokens_loses_no_cell(patch: int, threshold: float, monkeypatch):
    monkeypatch.setattr(loss_module, "MASK_THRESHOLD", threshold)
    case = make_case(2, 1, patch, masked=True, sides=(224, 98) if patch == 14 else (224, 96))
    torch.testing.assert_close(case.loss(mask=torch.ones_like(case.mask)), case.loss(mask=None))


def test_a_lower_threshold_lets_cells_with_some_background_count(monkeypatch):
    case = make_case(2, 2, masked=True)
    for share in (0.9, 0.5):
        monkeypatch.setattr(loss_module, "MASK_THRESHOLD", share)
        expected, _ = naive_loss(case, share)
        assert case.loss().item() == pytest.approx(expected.item(), rel=1e-5)


def test_gradient_reaches_the_student_and_not_the_teacher():
    case = make_case(masked=True, queue=9)
    for tensor in (case.teacher_scores, case.queue_scores):
        tensor.requires_grad_()
    case.loss().backward()
    assert case.teacher_scores.grad is None
    assert case.queue_scores.grad is None
    assert float(case.student_global.grad.abs().sum()) > 0
    assert float(case.student_local.grad.abs().sum()) > 0


def test_numbers_check_the_gradient():
    case = make_case(2, 1, 16, images=1, prototypes=3, sides=(48, 32), masked=True)

    def loss(scores: Tensor) -> Tensor:
        return case.loss(student_global=scores).double()

    scores = case.student_global.detach()
    start = scores.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(start), start)
    direction = torch.randn(scores.shape, generator=torch.Generator().manual_seed(0))
    change = (loss(scores + 1e-2 * direction) - loss(scores - 1e-2 * direction)) / 2e-2
    assert change.item() == pytest.approx(float((gradient * direction).sum()), rel=1e-2)


def test_a_student_that_scores_extremely_stays_finite():
    # log(softmax(x)) is -inf here.
    case = make_case()
    loss = case.loss(student_global=(case.student_global.detach() * 1e3).requires_grad_())
    assert bool(torch.isfinite(loss))


def test_a_student_that_agrees_with_its_teacher_loses_least():
    # Both crops are the same region, one bin a token, and scores as far apart as cosines can be.
    case = make_case(2, 0, images=2, sides=(112, 96))
    whole = torch.tensor([0.0, 0, 112, 112]).expand(2, 2, 2, 4)
    teacher = case.teacher_scores[:1].expand(2, -1, -1, -1, -1)
    targets = balanced_targets(teacher, None, DEFAULTS)
    good = targets.log() * 0.1
    same = {"teacher_scores": teacher, "gc_boxes": whole, "all_boxes": whole}

    best = case.loss(**same, student_global=good)

    entropy = -(targets * targets.log()).sum(-1).mean()
    torch.testing.assert_close(best, entropy)  # the least a cross-entropy can be
    assert best < case.loss(**same, student_global=good.roll(1, dims=-1))
    assert best < case.loss(**same, student_global=torch.zeros_like(good))


def test_one_crop_alone_is_refused():
    with pytest.raises(ValueError, match="do not fit 3 photos, 1 targets and 1 crops"):
        make_case(1, 0).loss()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gc_boxes": torch.zeros(3, 2, 3, 4)}, "do not fit 3 photos, 2 targets and 4 crops"),
        ({"all_boxes": torch.zeros(3, 2, 4, 4)}, "do not fit"),
        ({"student_global": torch.zeros(2, 3, 13, 13, 7)}, "differ in shape"),
        ({"student_local": torch.zeros(2, 3, 5, 7, 7)}, "no square maps"),
        ({"student_local": torch.zeros(2, 2, 6, 6, 7)}, "no square maps of 3 photos"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changes: dict[str, Tensor], words: str):
    with pytest.raises(ValueError, match=words):
        make_case().loss(**changes)


def test_no_value_is_looked_at_on_the_way():
    # Tensors without numbers: whatever would make the host wait for a device fails on them.
    case = make_case(masked=True, queue=20)
    with FakeTensorMode() as mode:
        hollow = {n: mode.from_tensor(v) if isinstance(v, Tensor) else v for n, v in vars(case).items()}
        queue = TokenQueue(2, 20, 4)
        case.loss(**hollow | {"queue_weights": queue.weights()}).backward()
        queue.push(torch.empty(2, 3, 196, 4), hollow["mask"].flatten(2), 15, seed=0, step=0)
        with pytest.raises(DataDependentOutputException):
            bool(hollow["mask"].any())


@pytest.mark.gpu
def test_nothing_waits_for_the_device():
    case = make_case(masked=True, queue=20)
    moved = {name: value.cuda() if isinstance(value, Tensor) else value for name, value in vars(case).items()}
    queue = TokenQueue(2, 20, 4).cuda()
    tokens = F.normalize(torch.randn(2, 3, 196, 4, device="cuda"), dim=-1)
    case.loss(**moved).backward()  # libraries start up
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        moved["queue_weights"] = queue.weights()
        loss = case.loss(**moved)
        loss.backward()
        queue.push(tokens, moved["mask"].flatten(2), 15, seed=0, step=0)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert loss.item() == pytest.approx(case.loss(queue_scores=None).item(), rel=1e-3)
    on_cpu = TokenQueue(2, 20, 4)
    on_cpu.push(tokens.cpu(), case.mask.flatten(2), 15, seed=0, step=0)
    torch.testing.assert_close(queue.rows.cpu(), on_cpu.rows)


def test_golden(golden, adapter):
    case = {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in golden("dense_loss").items()}
    names = ("teacher_scores", "student_global", "student_local", "gc_boxes", "all_boxes")
    numbers = [
        float(case["temperature"]),
        float(case["eps"]),
        int(case["iterations"]),
        float(case["mask_threshold"]),
    ]
    for mask, queue, wanted in (
        (case["mask"], case["queue_scores"], "loss"),
        (None, case["queue_scores"], "loss_no_mask"),
        (case["mask"], None, "loss_no_queue"),
    ):
        arrays = [case[name] for name in names]
        loss, *gradients = adapter.dense_loss(*arrays, int(case["patch_size"]), mask, queue, *numbers)
        assert loss == pytest.approx(float(case[wanted]), rel=1e-5)
        if wanted == "loss":
            for ours, key in zip(gradients, ("grad_global", "grad_local"), strict=True):
                np.testing.assert_allclose(ours, case[key], atol=float(case["grad_atol"]), rtol=1e-4)
