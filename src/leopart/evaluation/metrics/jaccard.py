"""How well foreground masks found without labels agree with the labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def foreground_jaccard(labels: npt.ArrayLike, prediction: npt.ArrayLike, background: int = 0) -> float:
    """Intersection over union of the foreground of one photo, in [0, 1]; 1 where both are empty.

    Naive form:
        truth = labels != background
        |prediction & truth| / |prediction | truth|

    Args:
        labels: class ids, [H, W] int. Void (255) is foreground, as in the paper's evaluation.
        prediction: foreground found, [H, W], bool or 0 for background.
        background: class id of the background. For label sets without this class, where everything
            unlabelled is 255, give 255.

    Raises:
        ValueError: the shapes differ.

    Source: Leopart, CVPR 2022, foreground extraction. A photo without foreground in either scores 1 here
    and NaN in the authors' code.
    """
    ids, found = np.asarray(labels), np.asarray(prediction) != 0
    if ids.shape != found.shape:
        raise ValueError(f"labels {ids.shape} and prediction {found.shape} differ in shape")
    truth = ids != background
    union = np.count_nonzero(truth | found)
    return np.count_nonzero(truth & found) / union if union else 1.0
