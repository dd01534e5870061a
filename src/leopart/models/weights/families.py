"""Foreign checkpoints: one function a family says what each key of its files is.

A key is loaded (perhaps under another name), dropped for a reason that is written down, or left over. What is
left over and does not fit the network makes `leopart.models.weights.networks.build_network` refuse the file
and list it, so nothing is lost silently.

Source of the layouts: the published code of each project.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from leopart.errors import LeopartError

Value = TypeVar("Value")

PRETRAINING = "head of pretraining"
CLASSIFIER = "classifier"
TEACHER = "moving average of the network"
TRAINING = "training state"
MASK = "token that stood for masked patches"
POSITIONS = "head that takes positions out of the tokens"
RECOMPUTED = "computed from the architecture"

_QKV = ("query", "key", "value")


class Ledger:
    """Keys of a checkpoint, as strings, and what became of them.

    Two keys that would get the same name raise `LeopartError`: one of them would be lost.

    Attributes:
        state: what is (still) to be loaded, by name.
        dropped: what is not, with the reason.
    """

    def __init__(self, raw: Mapping[str, Any], *containers: str) -> None:
        """Take the first of `containers` that is there, else `raw` itself; the rest is training state."""
        inner = next((name for name in containers if isinstance(raw.get(name), Mapping)), None)
        self.dropped = {} if inner is None else {str(key): TRAINING for key in raw if key != inner}
        weights = _renamed(raw if inner is None else raw[inner], str)
        self.state: dict[str, Tensor] = {key: v for key, v in weights.items() if isinstance(v, Tensor)}
        self.dropped |= {key: TRAINING for key, v in weights.items() if not isinstance(v, Tensor)}

    def drop(self, reason: str, *patterns: str) -> None:
        """Leave out the keys that one of the patterns matches at their start."""
        for key in [key for key in self.state if any(re.match(pattern, key) for pattern in patterns)]:
            del self.state[key]
            self.dropped[key] = reason

    def unprefix(self, *prefixes: str) -> None:
        """Take the first prefix that occurs from the keys that have it."""
        found = next((prefix for prefix in prefixes if any(key.startswith(prefix) for key in self.state)), "")
        self.state = _renamed(self.state, lambda key: key.removeprefix(found))

    def rename(self, *pairs: tuple[str, str]) -> None:
        """Replace each pattern, at the start of a key or after a dot, by its new form."""

        def renamed(key: str) -> str:
            for old, new in pairs:
                key = re.sub(rf"(?:^|(?<=\.)){old}", new, key)
            return key

        self.state = _renamed(self.state, renamed)


def plain(raw: Mapping[str, Any]) -> Ledger:
    """Keys as timm names them, in a container or not."""
    return Ledger(raw, "state_dict", "model")


def dino(raw: Mapping[str, Any]) -> Ledger:
    """DINO: the teacher of a full checkpoint, the flat file of the backbone, or timm's copy of it."""
    book = Ledger(raw, "teacher")
    book.drop(PRETRAINING, r"(module\.)?head\.")
    book.unprefix("module.backbone.", "backbone.", "module.")
    return book


def mocov3(raw: Mapping[str, Any]) -> Ledger:
    """MoCo-v3: the base encoder. Its position table is fixed (sines and cosines) but in the file."""
    book = Ledger(raw, "state_dict")
    book.drop(PRETRAINING, r"(module\.)?predictor\.", r"((module\.)?base_encoder\.)?head\.")
    book.drop(TEACHER, r"(module\.)?momentum_encoder\.")
    book.unprefix("module.base_encoder.", "base_encoder.")
    return book


def mae(raw: Mapping[str, Any]) -> Ledger:
    """MAE: the encoder, with or without the decoder beside it."""
    book = Ledger(raw, "model")
    book.drop(PRETRAINING, r"decoder_")
    book.drop(MASK, r"mask_token$")
    return book


def supervised(raw: Mapping[str, Any]) -> Ledger:
    """A classifier of timm: `head`, and in old files `pre_logits`, are left out."""
    book = Ledger(raw, "state_dict", "model")
    book.drop(CLASSIFIER, r"head\.", r"pre_logits\.")
    return book


def dinov2(raw: Mapping[str, Any]) -> Ledger:
    """DINOv2 as Meta, `transformers` or timm lay it out, with registers or without.

    timm folds the position of the CLS token into the token where there are registers; so do we.
    """
    book = Ledger(raw, "teacher", "model")
    book.drop(PRETRAINING, r"(\w+\.)*(dino|ibot)_head\.")
    book.drop(POSITIONS, r"(\w+\.)*rasa_head\.")  # of Franca
    book.drop(CLASSIFIER, r"classifier\.")
    book.drop(MASK, r"(\w+\.)*mask_token$")
    book.unprefix("module.")
    book.unprefix("backbone.", "dinov2_with_registers.", "dinov2.")
    book.rename(
        (r"blocks\.\d+\.(\d+)\.", r"blocks.\1."),  # training splits the blocks into chunks
        (r"embeddings\.cls_token", "cls_token"),
        (r"embeddings\.register_tokens", "register_tokens"),
        (r"embeddings\.position_embeddings", "pos_embed"),
        (r"embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
        (r"encoder\.layer\.(\d+)\.", r"blocks.\1."),
        (r"attention\.attention\.", "attn."),
        (r"attention\.output\.dense", "attn.proj"),
        (r"layer_scale([12])\.lambda1", r"ls\1.gamma"),
        (r"layernorm\.", "norm."),
    )
    _fuse(book.state, _QKV, "qkv")
    if "register_tokens" in book.state:
        book.state["reg_token"] = book.state.pop("register_tokens")
        if {"cls_token", "pos_embed"} <= book.state.keys():
            table = book.state["pos_embed"]
            book.state["cls_token"] = book.state["cls_token"] + table[:, :1]
            book.state["pos_embed"] = table[:, 1:]
    return book


def franca(raw: Mapping[str, Any]) -> Ledger:
    """Franca: DINOv2's layout with gated layers."""
    book = dinov2(raw)
    book.rename((r"mlp\.w12\.", "mlp.fc1."), (r"mlp\.w3\.", "mlp.fc2."))
    return book


def dinov3(raw: Mapping[str, Any]) -> Ledger:
    """DINOv3 as Meta, `transformers` or timm lay it out.

    Its keys have no bias: Meta's file holds one that a mask sets to zero. timm's files may leave out the
    biases of queries and values as well, where all of them are zero.

    Raises:
        LeopartError: the keys of a block have a bias other than zero; the network has no place for it.
    """
    book = Ledger(raw, "teacher", "model")
    book.drop(MASK, r"(\w+\.)*mask_token$")
    book.drop(RECOMPUTED, r"(backbone\.|model\.)?rope(_embed|_embeddings)?\.")
    _apply_masks(book)
    book.unprefix("backbone.")
    book.rename(
        (r"storage_tokens", "reg_token"),
        (r"embeddings\.cls_token", "cls_token"),
        (r"embeddings\.register_tokens", "reg_token"),
        (r"embeddings\.patch_embeddings\.", "patch_embed.proj."),
        (r"(model\.)?layer\.(\d+)\.", r"blocks.\2."),
        (r"attention\.o_proj", "attn.proj"),
        (r"attention\.", "attn."),
        (r"mlp\.up_proj", "mlp.fc1"),
        (r"mlp\.down_proj", "mlp.fc2"),
        (r"(?:ls|layer_scale)([12])\.(?:gamma|lambda1)", r"gamma_\1"),
        (r"attn\.([qv])_proj\.bias", r"attn.\1_bias"),
    )
    _fuse(book.state, ("q_proj", "k_proj", "v_proj"), "qkv")
    _split_biases(book.state)
    return book


def _apply_masks(book: Ledger) -> None:
    """Set to zero what the masks of Meta's DINOv3 do; a mask that fits no bias is left over."""
    for mask in [key for key in book.state if re.search(r"(^|\.)qkv\.bias_mask$", key)]:
        bias = mask.removesuffix("_mask")
        if bias in book.state and book.state[bias].shape == book.state[mask].shape:
            book.state[bias] = book.state[bias].masked_fill(book.state[mask] == 0, 0)
            book.drop("mask of a bias", f"{re.escape(mask)}$")


def _split_biases(state: dict[str, Tensor]) -> None:
    """DINOv3's biases of queries and values, from one with the keys' or zero where no block has any."""
    none = not any(re.search(r"attn\.(q_bias|v_bias|qkv\.bias(_mask)?)$", key) for key in state)
    for weight in [key for key, v in state.items() if key.endswith("attn.qkv.weight") and v.ndim == 2]:
        stem, length = weight.removesuffix("qkv.weight"), len(state[weight])
        if none:
            state |= {f"{stem}{name}": torch.zeros(length // 3) for name in ("q_bias", "v_bias")}
            continue
        whole, halves = f"{stem}qkv.bias", {f"{stem}q_bias", f"{stem}v_bias"}
        fits = whole in state and state[whole].shape == (length,) and length % 3 == 0
        if not fits or halves & state.keys():
            continue  # a gap, or too much: what does not fit is listed when the network is built
        query, keys, value = state[whole].chunk(3)
        if bool(keys.any()):
            message = (
                f"{whole} holds a bias of the keys, which DINOv3 does not have, and no mask sets it to zero; "
                "check that the file belongs to this backbone"
            )
            raise LeopartError(message)
        del state[whole]
        state |= {f"{stem}q_bias": query, f"{stem}v_bias": value}


def leopart(raw: Mapping[str, Any]) -> Ledger:
    """The authors' Leopart: flat, or a Lightning checkpoint with a teacher. The student is the result."""
    book = Ledger(raw, "state_dict")
    book.drop(TEACHER, r"teacher\.")
    book.drop(PRETRAINING, r"model\.(projection_head|prototypes)\.")
    book.unprefix("model.")
    return book


def resnet(raw: Mapping[str, Any]) -> Ledger:
    """A ResNet classifier of torchvision or timm."""
    return _resnet(Ledger(raw, "state_dict", "model"), CLASSIFIER, r"(module\.)?fc\.", prefix="module.")


def mocov2(raw: Mapping[str, Any]) -> Ledger:
    """MoCo-v2: the query encoder."""
    book = Ledger(raw, "state_dict")
    book.drop(TEACHER, r"(module\.)?encoder_k\.")
    book.drop(TRAINING, r"(module\.)?queue")
    return _resnet(book, PRETRAINING, r"(module\.)?encoder_q\.fc\.", prefix="module.encoder_q.")


def swav(raw: Mapping[str, Any]) -> Ledger:
    """SwAV: flat, without projection head and prototypes."""
    book = Ledger(raw, "state_dict")
    return _resnet(book, PRETRAINING, r"(module\.)?(projection_head|prototypes)\b", prefix="module.")


def densecl(raw: Mapping[str, Any]) -> Ledger:
    """DenseCL: the extracted backbone, or a training checkpoint that holds it as `backbone.`."""
    book = Ledger(raw, "state_dict")
    book.drop("copy of the backbone, with its head", r"encoder_q\.")
    book.drop(TEACHER, r"encoder_k\.")
    book.drop(TRAINING, r"queue")
    return _resnet(book, PRETRAINING, r"(fc|neck)\.", prefix="backbone.")


def maskcontrast(raw: Mapping[str, Any]) -> Ledger:
    """MaskContrast: the backbone of the query model, without the decoder."""
    book = Ledger(raw, "model", "state_dict")
    book.drop(TEACHER, r"(module\.)?model_k\.")
    book.drop(TRAINING, r"(module\.)?queue")
    book.drop("decoder", r"(module\.)?model_q\.(?!backbone\.)")
    unused = r"(module\.)?model_q\.backbone\.fc\."
    return _resnet(book, CLASSIFIER, unused, prefix="module.model_q.backbone.")


def _resnet(book: Ledger, reason: str, *unused: str, prefix: str) -> Ledger:
    """Common to all ResNets: the head goes, the prefix (with or without `module.`) too."""
    book.drop(reason, *unused)
    book.unprefix(prefix, prefix.removeprefix("module.") or prefix)
    for mean in [key for key in book.state if key.endswith("running_mean")]:
        # Files from before PyTorch 0.4.1 do not count batches, and nothing reads the count.
        count = mean.replace("running_mean", "num_batches_tracked")
        book.state.setdefault(count, torch.tensor(0))
    return book


def _renamed(state: Mapping[Any, Value], name: Callable[[Any], str]) -> dict[str, Value]:
    """The values under new names, which must differ."""
    origin: dict[str, Any] = {}
    for key in state:
        if (new := name(key)) in origin:
            message = (
                f"the keys {origin[new]!r} and {key!r} of the checkpoint both stand for {new!r}; "
                "give a file with one of them"
            )
            raise LeopartError(message)
        origin[new] = key
    return {new: state[key] for new, key in origin.items()}


def _fuse(state: dict[str, Tensor], parts: tuple[str, ...], whole: str) -> None:
    """Stack the projections of queries, keys and values where all three are there."""
    for kind in ("weight", "bias"):
        for key in [key for key in state if key.endswith(f"attn.{parts[0]}.{kind}")]:
            stem = key.removesuffix(f"{parts[0]}.{kind}")
            names = [f"{stem}{part}.{kind}" for part in parts]
            if all(name in state for name in names):
                state[f"{stem}{whole}.{kind}"] = torch.cat([state.pop(name) for name in names])


FAMILIES: dict[str, Callable[[Mapping[str, Any]], Ledger]] = {
    "": plain,
    "random": plain,
    "dino": dino,
    "dinov2": dinov2,
    "dinov3": dinov3,
    "franca": franca,
    "mae": mae,
    "mocov3": mocov3,
    "supervised": supervised,
    "leopart": leopart,
    "resnet": resnet,
    "mocov2": mocov2,
    "swav": swav,
    "densecl": densecl,
    "maskcontrast": maskcontrast,
}
"""Mapping function of each `BackboneSpec.family`."""
