"""Damaged or hostile weights: whatever a card or a file holds, it loads or is refused in one sentence."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from leopart.errors import LeopartError
from leopart.models.backbone import load_backbone
from leopart.models.weights.cards import card_path, read_card
from leopart.models.weights.checkpoint import read_checkpoint

Doc = dict[str, Any]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        pytest.fail("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def weights(make_tiny_weights: Callable[[Path, int], Path], tmp_path: Path) -> Path:
    return make_tiny_weights(tmp_path, 0)


def rewrite(weights: Path, **changes: object) -> None:
    """Change fields of the row in the card."""
    card = json.loads(card_path(weights).read_text())
    card_path(weights).write_text(json.dumps({**card, "spec": {**card["spec"], **changes}}))


def replace_weights(weights: Path, content: bytes) -> None:
    """Other weights, and a card that has their hash."""
    weights.write_bytes(content)
    card = json.loads(card_path(weights).read_text())
    card["sha256"] = hashlib.sha256(content).hexdigest()
    card_path(weights).write_text(json.dumps(card))


@pytest.mark.parametrize(
    "architecture",
    [
        "hf-hub:timm/vit_tiny_patch16_224.augreg_in21k",
        "local-dir:.",
        "../vit_tiny_patch16_224",
        "swin_tiny_patch4_window7_224",
        "ecaresnet50d",
    ],
)
def test_a_card_names_only_networks_that_are_known(weights: Path, architecture: str) -> None:
    rewrite(weights, architecture=architecture)
    with pytest.raises(
        LeopartError, match=r"which is no vision transformer or ResNet of timm.*card of the weights"
    ):
        load_backbone(weights)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"dim": "wide"}, r"tiny_random\.json cannot be used: spec\.dim: Input should be a valid integer"),
        ({"heads": 0}, r"spec\.heads: Input should be greater than or equal to 1"),
        ({"blocks": 10**9}, r"spec\.blocks: Input should be less than or equal to 200"),
        ({"mean": [float("nan"), 0.5, 0.5]}, r"spec\.mean\.0: "),
        ({"std": [0, 1, 1]}, r"spec\.std\.0: Input should be greater than 0"),
        ({"std": [1, 1]}, r"spec\.std\.2: Field required"),
        ({"origin": "x" * 20_000}, r"spec\.origin: "),
        (
            {"depth": 3},
            r"tiny_random\.json cannot be used: spec: .*needs 0 <= feature_block < depth <= blocks",
        ),
        ({"image_size": 33}, r"tiny_random\.json cannot be used: spec: .*must be a multiple of patch_size 8"),
        ({"heads": 5}, r"timm [\d.]+\S* cannot build vit_tiny_patch16_224 as tiny_random describes it"),
        ({"final_norm": "raw"}, r"final_norm 'raw' does not go with it"),
        ({"position_resampling": "none"}, r"position_resampling 'none' does not go with it"),
        ({"architecture": "vit_base_patch16_reg4_gap_256", "final_norm": "learned"}, r"final_norm 'learned'"),
        ({"architecture": "vit_small_patch16_dinov3"}, r"position_resampling 'bicubic' does not go with it"),
        ({"architecture": "vit_small_patch16_36x1_224"}, r"of another shape|missing|unexpected"),
        ({"architecture": "vit_small_patch16_18x2_224"}, r"its network has no patch tokens"),
        ({"dim": 16_383, "heads": 1, "blocks": 200}, r"these weights are not a tiny_random"),
    ],
)
def test_a_row_that_cannot_be_is_refused_before_anything_is_built(
    weights: Path, changes: Doc, complaint: str
) -> None:
    rewrite(weights, **changes)
    with pytest.raises(LeopartError, match=complaint) as caught:
        load_backbone(weights)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_card_of_a_later_version_is_refused(weights: Path) -> None:
    card = json.loads(card_path(weights).read_text())
    card_path(weights).write_text(json.dumps({**card, "format": 2}))
    with pytest.raises(LeopartError, match=r"tiny_random\.json cannot be used: format: "):
        read_card(weights)


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff\xfe{}", b"[" * 100_000, b"{}" + b" " * 2**20])
def test_a_file_that_is_no_card_is_refused(weights: Path, text: bytes) -> None:
    card_path(weights).write_bytes(text)
    with pytest.raises(
        LeopartError, match=r"tiny_random\.json .*copy both files again from where they came from"
    ):
        read_card(weights)


def test_weights_in_half_precision_are_used_in_single_precision(weights: Path) -> None:
    state = load(weights.read_bytes())
    half = {key: value.half() if "blocks.0" in key else value.double() for key, value in state.items()}
    replace_weights(weights, save(half))
    backbone = load_backbone(weights)
    assert {value.dtype for value in backbone.parameters()} == {torch.float32}
    assert backbone(torch.zeros(1, 3, 16, 16)).tokens.isfinite().all()


def test_whole_numbers_where_weights_belong_are_refused(weights: Path) -> None:
    state = load(weights.read_bytes())
    replace_weights(weights, save({**state, "cls_token": state["cls_token"].to(torch.int8)}))
    with pytest.raises(LeopartError, match=r"of another type: cls_token torch\.int8"):
        load_backbone(weights)


def test_weights_with_a_matching_card_that_are_no_safetensors_are_refused(weights: Path) -> None:
    replace_weights(weights, b"\x08" + bytes(100))
    with pytest.raises(LeopartError, match=r"tiny_random\.safetensors was cut short or is no checkpoint"):
        load_backbone(weights)


def test_an_old_checkpoint_without_one_of_its_storages_is_refused(tmp_path: Path) -> None:
    file, tensor = tmp_path / "old.pth", torch.zeros(3)
    torch.save({"a": tensor}, file, _use_new_zipfile_serialization=False)
    before, key, after = file.read_bytes().rpartition(str(tensor.untyped_storage()._cdata).encode())
    file.write_bytes(before + key[:-1] + b"x" + after)  # the list of storages at the end names another one
    with pytest.raises(LeopartError, match=r"old\.pth was cut short or is no checkpoint") as caught:
        read_checkpoint(file)
    assert isinstance(caught.value.__cause__, AssertionError)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
edits = st.lists(
    st.tuples(st.integers(0, 10**6), st.binary(max_size=8), st.integers(0, 8)), min_size=1, max_size=4
)
quick = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


def edited(content: bytes, changes: list[tuple[int, bytes, int]]) -> bytes:
    """Cut bytes out and put others in."""
    for place, new, cut in changes:
        start = place % (len(content) + 1)
        content = content[:start] + new + content[start + cut :]
    return content


def loads_or_is_refused(weights: Path) -> None:
    try:
        backbone = load_backbone(weights)
    except LeopartError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
        assert len(str(error)) < 5000  # noqa: PT017
    else:
        patch = backbone.patch_size
        features = backbone(torch.zeros(1, 3, 2 * patch, 3 * patch))
        assert features.tokens.shape == (1, 2, 3, backbone.dim)
        assert features.attention.shape == (1, backbone.heads, 2, 3)


@quick
@given(data=st.data())
def test_any_card_loads_or_is_refused_in_a_sentence(weights: Path, data: st.DataObject) -> None:
    whole = card_path(weights).read_bytes()
    try:
        card = json.loads(whole)
        field = data.draw(st.sampled_from(sorted(card["spec"])))
        rewrite(weights, **{field: data.draw(json_values)})
        loads_or_is_refused(weights)
    finally:
        card_path(weights).write_bytes(whole)


@quick
@given(changes=edits)
def test_any_weights_load_or_are_refused_in_a_sentence(
    weights: Path, changes: list[tuple[int, bytes, int]]
) -> None:
    whole, card = weights.read_bytes(), card_path(weights).read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    try:
        replace_weights(weights, edited(whole[:header], changes) + whole[header:])
        loads_or_is_refused(weights)
    finally:
        weights.write_bytes(whole)
        card_path(weights).write_bytes(card)


@quick
@given(changes=edits, zipped=st.booleans())
def test_any_pickled_checkpoint_is_read_or_refused_in_a_sentence(
    tmp_path: Path, changes: list[tuple[int, bytes, int]], zipped: bool
) -> None:
    file = tmp_path / "some.pth"
    torch.save({"a": torch.zeros(2), "epoch": 3}, file, _use_new_zipfile_serialization=zipped)
    file.write_bytes(edited(file.read_bytes(), changes))
    try:
        read_checkpoint(file)
    except LeopartError as error:
        assert str(file) in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
