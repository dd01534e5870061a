from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from leopart.clustering.enlarge import enlarged


@pytest.mark.parametrize(
    ("interpolation", "flag"), [("bilinear", cv2.INTER_LINEAR), ("nearest", cv2.INTER_NEAREST)]
)
def test_embeddings_are_enlarged_as_opencv_does(interpolation: str, flag: int):
    reduced = np.random.default_rng(0).normal(size=(7, 5, 3)).astype(np.float32)
    expected = np.stack(
        [cv2.resize(channel, (24, 20), interpolation=flag) for channel in reduced.transpose(2, 0, 1)]
    )
    found = enlarged(torch.from_numpy(reduced), (20, 24), interpolation).numpy()
    np.testing.assert_allclose(found, expected.transpose(1, 2, 0), atol=1e-5)
