"""A reader of the format rle-pack, in which Label Studio has its brushes."""

from __future__ import annotations

import numpy as np


def rle_pack_decode(data: list[int]) -> np.ndarray:
    """Values of an array in the format rle-pack, bit by bit as its description reads."""
    text = "".join(f"{byte:08b}" for byte in data)
    position = 0

    def read(bits: int) -> int:
        nonlocal position
        position += bits
        return int(text[position - bits : position], 2)

    count, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        repeated = read(1)
        length = read(sizes[read(2)]) + 1
        values += [read(word)] * length if repeated else [read(word) for _ in range(length)]
    assert len(values) == count
    assert len(text) - position < 8
    return np.array(values)
