"""Boundary F1 of one image."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from scipy import ndimage

from benchmarks.harness import Comparison, compare
from leopart.evaluation.metrics.boundary import boundary_f1


def run() -> Iterator[Comparison]:
    generator = np.random.default_rng(0)
    base, noise = (ndimage.gaussian_filter(generator.normal(size=(448, 448)), 16) for _ in range(2))
    truth, found = base > base.std(), base + noise / 3 > base.std()
    pixels = len(_contour(truth)), len(_contour(found))
    difference = abs(boundary_f1(truth, found).f1 - _naive(truth, found, 16))
    note = f"448x448, {pixels[0]:,} and {pixels[1]:,} contour pixels; F1 differs by {difference:.0e}"
    yield compare(
        "boundary F1 / distances of all pairs",
        lambda: boundary_f1(truth, found),
        lambda: _naive(truth, found, 16),
        note=note,
    )


def _naive(truth: np.ndarray, found: np.ndarray, tolerance: float) -> float:
    of_truth, of_found = _contour(truth), _contour(found)
    shares = []
    for pixels, others in ((of_found, of_truth), (of_truth, of_found)):
        hits = [bool((((others - pixel) ** 2).sum(1) < tolerance**2).any()) for pixel in pixels]
        shares.append(np.mean(hits))
    return float(2 * shares[0] * shares[1] / (shares[0] + shares[1]))


def _contour(mask: np.ndarray) -> np.ndarray:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return np.concatenate(contours)[:, 0]
