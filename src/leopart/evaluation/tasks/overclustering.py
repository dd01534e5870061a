"""The task `overclustering`: clusters of tokens, matched to classes."""

from __future__ import annotations

from leopart.config import OverclusteringConfig
from leopart.errors import LeopartError
from leopart.evaluation.case import Case, as_side
from leopart.evaluation.overclustering import ClusterScores, Settings, overcluster
from leopart.evaluation.report import Outcome, Score


def run(case: Case[OverclusteringConfig]) -> Outcome:
    """See `leopart.evaluation.overclustering`.

    Raises:
        LeopartError: a photo or mask cannot be used, or there are more clusters than tokens.
    """
    config, side = case.config, as_side(case.config.eval_size)
    labels = case.labels(case.labelled, side)
    store = case.features(case.labelled)
    n_tokens = len(store.tokens)
    if max(config.k) > n_tokens:
        count = f"{n_tokens} tokens of {len(labels)} photos"
        raise LeopartError(f"--k {max(config.k)} is more than the {count}; ask for less")
    seeds = tuple(range(config.seeds))
    with case.watch.stage("clustering"):
        found = overcluster(
            store,
            labels,
            case.num_classes,
            Settings(
                ks=tuple(dict.fromkeys(config.k)),
                seeds=seeds,
                eval_size=side,
                normalise=config.normalise,
                many_to_one=config.matching,
                absent=config.absent,
            ),
            background=case.labelled.background,
            device=case.device,
            on_map=(lambda k, index, rows: case.maps.write(f"k{k}", index, rows))
            if case.maps.wanted
            else None,
            track=case.track,
        )
    used = {
        "clusters": "none",
        "matching": "those of the photos scored, to name the clusters and to score them",
    }
    extra = {} if case.labelled.background is None else {"clusters on background": _on_background(found)}
    return Outcome(tuple(map(_score, found)), used, seeds, extra)


def _score(scores: ClusterScores) -> Score:
    return Score.of_matchings(str(scores.k), scores.matchings, matching=scores.rule)


def _on_background(found: tuple[ClusterScores, ...]) -> dict[str, list[float]]:
    """Share of the clusters that became background, for each seed, by the number of clusters."""
    return {str(of.k): [round(matching.background_share, 6) for matching in of.matchings] for of in found}
