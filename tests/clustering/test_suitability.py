"""The label-free numbers of a network, on planted tokens whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from leopart.clustering.suitability import FEWEST_PHOTOS, suitability


def planted(photos: int, noise: float, seed: int = 0, *, shared: bool = True) -> list[np.ndarray]:
    """Tokens [8, 8, 12] of photos of three kinds; each kind shows four things that no other kind shows.

    With `shared` off, the right half of each photo is of a kind of its own.
    """
    rng = np.random.default_rng(seed)
    things = 3 * np.linalg.qr(rng.standard_normal((12, 12)))[0]
    made = []
    for photo in range(photos):
        kinds = [photo % 3, photo % 3 if shared else int(rng.integers(3))]
        ids = np.concatenate([4 * kind + rng.integers(0, 4, (4, 2)) for kind in kinds], 1)
        ids = ids.repeat(2, 0).repeat(2, 1)
        made.append(things[ids] + noise * rng.standard_normal((8, 8, 12)))
    return made


def test_clear_things_are_stable_and_noise_is_not():
    clear, noisy = suitability(planted(60, 0.05), 0), suitability(planted(60, 3.0), 0)
    assert clear.stability > 0.3
    assert noisy.stability < clear.stability / 3


def test_noise_on_the_tokens_lowers_both_numbers():
    found = [suitability(planted(60, noise), 0) for noise in (0.05, 1.0, 2.0)]
    assert np.all(np.diff([one.stability for one in found]) < 0)
    assert np.all(np.diff([one.gain for one in found]) < 0)


def test_halves_that_say_nothing_about_each_other_have_no_gain():
    """Of three kinds of photos, the other half's kind is worth log(3) nats at most."""
    tied, free = suitability(planted(90, 0.05), 0).gain, suitability(planted(90, 0.05, shared=False), 0).gain
    assert 0.5 * np.log(3) < tied <= np.log(3) + 0.05
    assert free < 0.1


def test_the_same_seed_gives_the_same_numbers():
    tokens = planted(30, 1.0)
    assert suitability(tokens, 1) == suitability(tokens, 1)
    assert suitability(tokens, 1) != suitability(tokens, 2)


def test_scale_and_shift_of_the_tokens_change_nothing_much():
    tokens = planted(40, 0.5)
    moved = [7 * photo + 3 for photo in tokens]
    assert suitability(moved, 0).stability == pytest.approx(suitability(tokens, 0).stability, abs=0.1)


def test_too_few_photos_are_refused():
    with pytest.raises(ValueError, match="too few"):
        suitability(planted(FEWEST_PHOTOS - 1, 0.1), 0)
