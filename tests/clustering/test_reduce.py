from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from leopart.clustering.reduce import fit_reduction


def tokens(count: int = 400, dims: int = 12) -> torch.Tensor:
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((count, dims)) @ rng.standard_normal((dims, dims)) * rng.uniform(0.1, 9, dims)
    return torch.from_numpy(mixed + rng.uniform(-5, 5, dims)).float()


def reference(wide: torch.Tensor, dimensions: int) -> np.ndarray:
    standard = StandardScaler().fit_transform(wide.double().numpy())
    return PCA(dimensions, svd_solver="full").fit_transform(standard)


def up_to_sign(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`a` with every column turned to agree with `b`."""
    return a * np.sign((a * b).sum(0))


@pytest.mark.parametrize("dimensions", [1, 5, 12])
def test_reduction_is_scikit_learns_scaler_and_pca_up_to_sign(dimensions: int):
    wide = tokens()
    reduced = fit_reduction(wide, dimensions)(wide)
    expected = reference(wide, dimensions)

    assert reduced.dtype == torch.float32
    np.testing.assert_allclose(up_to_sign(reduced.numpy(), expected), expected, atol=2e-4)


def test_other_tokens_are_reduced_by_the_fitted_map():
    fitted, other = tokens()[:300], tokens()[300:]
    scaler = StandardScaler().fit(fitted.double().numpy())
    pca = PCA(4, svd_solver="full").fit(scaler.transform(fitted.double().numpy()))
    expected = pca.transform(scaler.transform(other.double().numpy()))

    reduced = fit_reduction(fitted, 4)(other.reshape(10, 10, 12))

    assert reduced.shape == (10, 10, 4)
    np.testing.assert_allclose(up_to_sign(reduced.reshape(100, 4).numpy(), expected), expected, atol=2e-4)


def test_every_components_largest_loading_is_positive():
    wide = tokens()
    reduction = fit_reduction(wide, 12)
    loadings = reduction.projection * wide.std(0, unbiased=False)[:, None]  # of the standardised tokens

    largest = loadings.gather(0, loadings.abs().argmax(0, keepdim=True))
    assert (largest > 0).all()
    torch.testing.assert_close(loadings.T @ loadings, torch.eye(12), atol=1e-4, rtol=0)


def test_mirrored_tokens_have_the_same_projection():
    wide = tokens()
    torch.testing.assert_close(fit_reduction(wide, 6).projection, fit_reduction(-wide, 6).projection)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e4])
def test_a_dimension_without_variance_takes_no_part(constant: float):
    wide = tokens()
    padded = torch.cat([wide[:, :4], torch.full((400, 1), constant), wide[:, 4:]], dim=1)
    reduction = fit_reduction(padded, 12)

    assert reduction.projection[4].abs().max() == 0
    torch.testing.assert_close(reduction(padded), fit_reduction(wide, 12)(wide), atol=1e-4, rtol=1e-4)
    moved = padded.clone()
    moved[:, 4] += 7
    assert torch.equal(reduction(moved)[0], reduction(padded)[0])


def test_fewer_tokens_than_dimensions_give_as_many_components_as_tokens():
    wide = tokens(5, 12)
    reduced = fit_reduction(wide, 50)(wide)

    assert reduced.shape == (5, 5)
    expected = reference(wide, 5)[:, :4]  # the fifth holds nothing but rounding
    np.testing.assert_allclose(up_to_sign(reduced[:, :4].numpy(), expected), expected, atol=1e-4)
    assert reduced[:, 4].abs().max() < 1e-3


def test_no_more_components_than_dimensions():
    wide = tokens(100, 6)
    assert fit_reduction(wide, 50)(wide).shape == (100, 6)


def test_a_single_token_becomes_zero():
    wide = tokens(1, 6)
    reduced = fit_reduction(wide, 50)(wide)
    assert reduced.tolist() == [[0.0]]


def test_half_precision_tokens_are_standardised_in_full_precision():
    wide = (tokens() * 100).half()  # squares would overflow float16
    reduced = fit_reduction(wide, 5)(wide).numpy()
    expected = reference(wide, 5)
    np.testing.assert_allclose(up_to_sign(reduced, expected), expected, atol=2e-4)


def test_reduction_meets_the_golden_variance_and_dot_products(golden, adapter):
    case = golden("kmeans_pipeline")
    reduced = adapter.pca(case["features"].astype(np.float32), int(case["pca_dim"]))
    some = reduced[case["pca_index"]]

    np.testing.assert_allclose(reduced.var(0), case["pca_variance"], rtol=2e-3, atol=2e-2)
    np.testing.assert_allclose(some @ some.T, case["pca_gram"], rtol=2e-3, atol=2e-2)
