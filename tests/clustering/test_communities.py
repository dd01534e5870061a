from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from leopart.clustering import communities
from leopart.clustering.communities import PAPER_RESOLUTION, RESOLUTIONS, detect_communities, engine_name
from leopart.errors import LeopartError

ENGINES = pytest.mark.parametrize("engine", ["map-equation", "infomap"])


def planted(sizes: list[int], inside: float = 0.3, between: float = 0.06, seed: int = 0) -> np.ndarray:
    """Edges of cliques in a ring: every pair inside a group, one weak edge from each group to the next."""
    starts = np.concatenate([[0], np.cumsum(sizes)])
    rng = np.random.default_rng(seed)
    edges = [
        (a, b, inside * rng.uniform(0.8, 1.2))
        for start, end in pairwise(starts)
        for a in range(start, end)
        for b in range(a + 1, end)
    ]
    edges += [(starts[i], starts[i + 1], between) for i in range(len(sizes) - 1)]
    return np.array(edges, np.float64)


def needs(engine: str) -> None:
    if engine == "infomap":
        pytest.importorskip("infomap")


@ENGINES
def test_planted_groups_are_found_and_numbered_by_size(engine: str):
    needs(engine)
    labels = detect_communities(planted([4, 7, 5]), 16, engine=engine, seed=0)

    assert labels.tolist() == [3] * 4 + [1] * 7 + [2] * 5
    assert labels.dtype == np.int64


@ENGINES
def test_groups_of_equal_size_are_numbered_by_their_first_node(engine: str):
    needs(engine)
    labels = detect_communities(planted([5, 5, 5]), 15, engine=engine, seed=3)
    assert labels.tolist() == [1] * 5 + [2] * 5 + [3] * 5


@ENGINES
def test_the_order_of_the_nodes_does_not_matter(engine: str):
    needs(engine)
    order = np.random.default_rng(0).permutation(16)
    edges = planted([4, 7, 5])
    edges[:, :2] = order[edges[:, :2].astype(int)]

    labels = detect_communities(edges, 16, engine=engine, seed=0)

    assert labels[order].tolist() == [3] * 4 + [1] * 7 + [2] * 5


@ENGINES
@pytest.mark.parametrize("n_communities", [None, 2])
def test_nodes_without_an_edge_are_background_as_in_the_paper(engine: str, n_communities: int | None):
    needs(engine)
    edges = planted([4, 6])
    edges[:, :2] += 1  # nodes 0, 11 and 12 are alone
    labels = detect_communities(edges, 13, engine=engine, n_communities=n_communities, seed=0)
    assert labels.tolist() == [0] + [2] * 4 + [1] * 6 + [0, 0]


@ENGINES
def test_nodes_without_an_edge_can_be_kept_as_communities_of_one(engine: str):
    needs(engine)
    edges = planted([4, 6])
    edges[:, :2] += 1
    labels = detect_communities(edges, 13, engine=engine, keep_isolated=True, seed=0)
    assert labels.tolist() == [3] + [2] * 4 + [1] * 6 + [4, 5]


@ENGINES
@pytest.mark.parametrize("n_communities", [1, 3, 6])
def test_as_many_communities_come_back_as_are_asked_for(engine: str, n_communities: int):
    needs(engine)
    pairs = planted([4] * 6, between=0.12)
    closer = [(a * 4 + 1, a * 4 + 5, 0.3) for a in (0, 2, 4)]  # groups of two groups
    edges = np.concatenate([pairs, closer])
    labels = detect_communities(edges, 26, engine=engine, n_communities=n_communities, seed=0)

    assert labels.max() == n_communities
    assert (labels[:24] > 0).all()
    assert labels[24:].tolist() == [0, 0]


@ENGINES
def test_larger_resolution_gives_more_communities(engine: str):
    needs(engine)
    edges = planted([4] * 8, between=0.12)
    counts = [
        detect_communities(edges, 32, engine=engine, resolution=f, seed=0).max() for f in (0.1, 1.0, 20.0)
    ]

    assert counts[0] < counts[1] < counts[2]
    assert counts[1] == 8


@ENGINES
@pytest.mark.parametrize("keep", [False, True])
def test_no_edges_at_all(engine: str, keep: bool):
    needs(engine)
    labels = detect_communities(np.zeros((0, 3)), 4, engine=engine, keep_isolated=keep, seed=0)
    assert labels.tolist() == ([1, 2, 3, 4] if keep else [0, 0, 0, 0])


@ENGINES
def test_no_nodes_at_all(engine: str):
    needs(engine)
    assert detect_communities(np.zeros((0, 3)), 0, engine=engine, keep_isolated=True, seed=0).tolist() == []


@ENGINES
@pytest.mark.parametrize("n_communities", [None, 4])
def test_the_same_seed_gives_the_same_communities(engine: str, n_communities: int | None):
    needs(engine)
    rng = np.random.default_rng(0)
    pairs = np.array(list(combinations(range(60), 2)))
    pairs = pairs[rng.random(len(pairs)) < 0.06]
    edges = np.column_stack([pairs, np.ones(len(pairs))])

    def found(seed: int) -> list[int]:
        return detect_communities(edges, 60, engine=engine, n_communities=n_communities, seed=seed).tolist()

    assert found(7) == found(7)
    assert any(found(seed) != found(7) for seed in range(4))  # no structure in it: the seed decides


@ENGINES
def test_engines_print_nothing(engine: str, capfd: pytest.CaptureFixture[str]):
    needs(engine)
    detect_communities(planted([4, 4]), 8, engine=engine, n_communities=2, seed=0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("installed", [None, object()])
def test_the_map_equation_is_taken_whatever_is_installed(installed, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(communities, "find_spec", lambda _: installed)
    assert engine_name() == "map-equation"
    assert engine_name("map-equation") == "map-equation"


def test_infomap_is_taken_where_it_is_installed_and_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(communities, "find_spec", lambda name: object() if name == "infomap" else None)
    assert engine_name("infomap") == "infomap"


def test_asking_for_infomap_without_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(communities, "find_spec", lambda _: None)
    with pytest.raises(LeopartError, match=r'pip install "leopart\[infomap\]", or choose map-equation'):
        engine_name("infomap")


def test_an_unknown_engine_is_refused_by_name():
    with pytest.raises(LeopartError, match="'leiden': choose auto, map-equation or infomap"):
        engine_name("leiden")


def test_the_engine_of_older_versions_is_refused_with_what_to_choose():
    with pytest.raises(LeopartError, match="louvain was removed: choose map-equation, or infomap"):
        engine_name("louvain")


def test_candidates_run_from_coarse_to_fine():
    assert list(RESOLUTIONS) == sorted(RESOLUTIONS)
    assert RESOLUTIONS[0] < PAPER_RESOLUTION < RESOLUTIONS[-1]
    assert pytest.approx(1.5) == 1 / PAPER_RESOLUTION
