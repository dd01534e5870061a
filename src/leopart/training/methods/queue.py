"""Earlier batches' embeddings, so that a small batch is balanced together with many more tokens.

Legend: T target crops, Q length, E channels, B images of this process, N tokens of a crop, W processes, M the
W * B * N tokens of a crop in the batch of all processes, n tokens drawn.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from leopart.processes import gathered, rank, total, world_size

_BITS = 1 << 32


class TokenQueue(nn.Module):
    """The latest drawn teacher embeddings of each target crop, newest first.

    Every process holds the same whole queue, to the bit: the tokens are drawn out of the batch of all
    processes by numbers that each process computes for itself. The authors give each process a part of its
    own; there the content depends on the number of processes, here it does not.

    Nothing here makes the host wait for the device. The next content follows from the present one, the batch,
    the seed and the step, so a run that is continued from its checkpoint draws the same tokens.

    Args:
        targets: T.
        length: Q, in all; 0 switches the queue off.
        dim: E.

    Attributes:
        rows: [T, Q, E] float32; zero where not filled yet.
        fill: how many rows of each target are filled, [T] int64.

    Source: Leopart, CVPR 2022, supplement.
    """

    rows: Tensor
    fill: Tensor

    def __init__(self, targets: int, length: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(targets, length, dim))
        self.register_buffer("fill", torch.zeros(targets, dtype=torch.int64))

    @property
    def length(self) -> int:
        """Q."""
        return self.rows.shape[1]

    def weights(self) -> Tensor:
        """How much each row counts in this process's part of `sinkhorn`, [T, Q] float32.

        A target's queue counts once it is full, as in the paper, and not at all before. The rows are on all
        processes, so each gives 1 / W of them.
        """
        full = self.fill >= self.length
        return full[:, None].float().expand(-1, self.length) / world_size()

    @torch.no_grad()
    def push(self, embeddings: Tensor, mask: Tensor | None, count: int, seed: int, step: int) -> None:
        """Draw tokens of the batch of all processes at random and put them first; the oldest fall out.

        Args:
            embeddings: of this process's batch, [T, B, N, E], any float type; as many on all processes.
            mask: tokens that may be drawn, bool [T, B, N]; None: all.
            count: how many to draw for each target, from all processes; no more than Q are, and where the
                mask leaves fewer, all of those.
            seed: of the run.
            step: of the run; another step draws other tokens.
        """
        targets, batch, tokens, _ = embeddings.shape
        local = batch * tokens
        drawn = min(count, self.length, local * world_size())
        if drawn <= 0:
            return
        keys = random_keys(targets, local * world_size(), seed, step, embeddings.device)
        if mask is not None:
            allowed = gathered(mask.reshape(targets, local).to(torch.uint8))  # NCCL gathers no bool
            keys = keys + _BITS * (1 - allowed.permute(1, 0, 2).reshape(targets, -1).long())
        lowest = keys.topk(drawn, dim=1, largest=False, sorted=True)
        taken = (lowest.values < _BITS).sum(1)
        fresh = _collect(embeddings.reshape(targets, local, -1), lowest.indices)
        self.rows.copy_(_shifted(self.rows, fresh, taken))
        self.fill.add_(taken).clamp_(max=self.length)


def random_keys(targets: int, count: int, seed: int, step: int, device: torch.device) -> Tensor:
    """Numbers to draw by, all different, the same on every device; int64 [targets, count] below 2 ** 32.

    A generator of torch gives other numbers on another kind of device, and seeding one on the host means a
    copy. This is a counter sent through a mixing function of 32 bits that loses nothing.
    """
    digest = hashlib.blake2b(f"{seed} {step}".encode(), digest_size=8).digest()
    first, second = int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")
    counter = torch.arange(targets * count, device=device).reshape(targets, count)
    return _mixed((_mixed((counter + first) % _BITS) + second) % _BITS)


def _mixed(x: Tensor) -> Tensor:
    """A bijection of [0, 2 ** 32) in which every bit of the input changes half the bits of the output.

    Shifts and products with odd numbers, as in the finalisers of well-known hash functions. A product of two
    such numbers needs 64 bits, so it is put together from the low and the high half of `x`.
    """
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = x ^ (x >> shift)
        high = ((x >> 16) * factor & 0xFFFF) << 16
        x = ((x & 0xFFFF) * factor + high) % _BITS
    return x ^ (x >> 16)


def _collect(embeddings: Tensor, indices: Tensor) -> Tensor:
    """Rows of the batch of all processes, [T, n, E] float32, from each process's [T, M / W, E].

    Args:
        embeddings: of this process.
        indices: into the M tokens in the order of the ranks, [T, n] int64.
    """
    local = embeddings.shape[1]
    places = indices - rank() * local
    mine = (places >= 0) & (places < local)
    places = places.clamp(0, local - 1)[..., None].expand(-1, -1, embeddings.shape[2])
    # A product with 0 would let another process's infinite numbers through as NaN.
    rows = embeddings.gather(1, places).float().masked_fill(~mine[..., None], 0)
    return total(rows)


def _shifted(rows: Tensor, fresh: Tensor, taken: Tensor) -> Tensor:
    """The first `taken` [T] of `fresh` [T, n, E], then `rows` [T, Q, E] as far as they fit; [T, Q, E]."""
    both = torch.cat([fresh, rows], dim=1)
    place = torch.arange(rows.shape[1], device=rows.device)
    source = torch.where(place < taken[:, None], place, place - taken[:, None] + fresh.shape[1])
    return both.gather(1, source[..., None].expand(-1, -1, rows.shape[2]))
