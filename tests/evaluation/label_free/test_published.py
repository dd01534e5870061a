from __future__ import annotations

import pytest

from leopart.errors import LeopartError
from leopart.evaluation.label_free.published import PRESETS, REFERENCE_STEPS, published

#: Threshold, clusters, Markov time and edge, from the supplement (Table 1, A.1) and the authors' README.
NUMBERS = {
    "seed": (0.40, 100, 1.5, 0.05),
    "seed-cc": (0.30, 100, 1.5, 0.05),
    "readme-vits16": (0.30, 149, 2.0, 0.09),
    "readme-vitb8": (0.30, 109, 0.4, 0.07),
    "reference": (0.40, 99, 1.5, 0.05),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_presets_have_the_published_numbers(name: str):
    row = published(name)
    assert (row.threshold, row.clusters, row.markov_time, row.edge) == NUMBERS[name]
    assert row.reference == (tuple(REFERENCE_STEPS) if name == "reference" else ())
    assert row.about


def test_there_are_no_others():
    assert list(PRESETS) == list(NUMBERS)


@pytest.mark.parametrize(
    ("name", "hint"), [("readme-vits8", "did you mean readme-"), ("voc", "known: seed, ")]
)
def test_an_unknown_preset_is_answered_with_a_near_one_or_all(name: str, hint: str):
    with pytest.raises(LeopartError, match=hint):
        published(name)
