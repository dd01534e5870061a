"""What a fit found, in words and pictures: the results of `summary.json` and the pages of the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from leopart.clustering.contexts import Membership
from leopart.clustering.stability import Communities
from leopart.run_record import versions
from leopart.segment.fit import Fit
from leopart.segment.outputs import Written
from leopart.segment.report.page import Credit, Curve, ObjectRow, PartRow, ReportPage, SceneRow
from leopart.segment.summary import Summary
from leopart.segment.survey import Patch

if TYPE_CHECKING:
    from leopart.training.adaptation import Adapted

#: Shares of the area: less foreground, and more of it in one object, than most photos have.
_LEAST_FOREGROUND, _MOST_OF_ONE = 0.1, 0.9
_FEW_PHOTOS = 20


def fit_results(fit: Fit) -> dict[str, Any]:
    """What was chosen, and from what, for `summary.json`."""
    found = fit.communities
    results: dict[str, Any] = {
        "foreground threshold": fit.threshold,
        "foreground share": float(fit.survey.pixels.sum() / max(fit.survey.cells, 1)),
        "objects by": fit.objects_by,
        "communities": found.engine,
        "communities fineness": found.resolution,
        "object of part": {str(i): int(o) for i, o in enumerate(fit.model.object_of_part) if i},
        "edges": [[int(a) + 1, int(b) + 1, round(float(w), 4)] for a, b, w in found.edges],
    }
    if fit.kind is not None:
        results["kind of folder"] = fit.kind.name
        results["foreground at the border"] = round(fit.kind.border_ratio, 4)
    if fit.model.scene_of_object is not None:
        results["scenes"] = {str(scene): objects for scene, objects in fit.model.scenes.items()}
    if fit.cut is not None:
        results["foreground curve"] = [
            [round(float(t), 4), round(float(a), 4)]
            for t, a in zip(fit.cut.thresholds, fit.cut.agreement, strict=True)
        ]
    if fit.membership is not None:
        results["shared parts"] = shared_parts(fit.membership)
    if fit.parts_curve:
        results["parts curve"] = [[number, round(gain, 4)] for number, gain in fit.parts_curve]
    if found.curve:
        results["objects criterion"] = found.criterion
        results["objects curve"] = [[round(value, 4) for value in point] for point in found.curve]
    return results


def shared_parts(found: Membership) -> dict[str, dict[str, int]]:
    """Of each part that more than one object has: object id -> in how many photos, the most first."""
    rows = {}
    for part in found.shared:
        photos = found.photos[:, part]
        objects = [int(i) for i in np.argsort(-photos, kind="stable") if photos[i]]
        rows[str(part + 1)] = {str(i + 1): int(photos[i]) for i in objects}
    return rows


def fit_warnings(
    fit: Fit, n_photos: int, wanted_parts: int | None = None, wanted_objects: int | None = None
) -> list[str]:
    """What the user should know before trusting the masks."""
    warnings = []
    if n_photos < _FEW_PHOTOS:
        photos = "photo" if n_photos == 1 else "photos"
        warnings.append(
            f"Only {n_photos} {photos}: parts are learned from what recurs, so more photos of the same kind "
            "give better ones."
        )
    n_parts = len(fit.model.parts.centroids)
    if wanted_parts is not None and n_parts < wanted_parts:
        warnings.append(
            f"{wanted_parts} parts were asked for; the photos hold only {n_parts} different points."
        )
    n_objects = fit.model.n_objects
    if wanted_objects is not None and n_objects != wanted_objects:
        warnings.append(f"{wanted_objects} objects were asked for; the photos support {n_objects}.")
    warnings += _area_warnings(fit)
    if fit.objects_by == "communities" and len(fit.communities.edges) == 0:
        warnings.append("No two parts lie beside each other often enough to form objects.")
    return warnings


def _area_warnings(fit: Fit) -> list[str]:
    """That nothing was left out, or nearly everything, or that one object is everything."""
    warnings = []
    if fit.kind is not None and fit.kind.name != "things":
        warnings.append(
            f"The photos seem to show {fit.kind.name} and no things on a background, so everything is "
            "foreground: if that is wrong, try --foreground 0.5."
        )
    foreground = float(fit.survey.pixels.sum())
    share = foreground / max(fit.survey.cells, 1)
    if fit.cut is not None and not _LEAST_FOREGROUND <= share <= 0.8:
        warnings.append(
            f"{share:.0%} of all pixels are foreground, which is unusual: try another --foreground "
            f"(it was {fit.threshold:.2f})."
        )
    areas = _object_areas(fit)
    if foreground and areas.max() > _MOST_OF_ONE * foreground:
        one, covered = 1 + int(areas.argmax()), areas.max() / foreground
        warnings.append(
            f"Object {one} covers {covered:.0%} of the foreground: its parts may say more than the objects, "
            "or try --objects N."
        )
    return warnings


def _object_areas(fit: Fit) -> NDArray[np.float64]:
    """Grid cells of objects 1.. over all photos."""
    if fit.membership is not None:
        return np.asarray(fit.membership.cells.sum(1), np.float64)
    areas = np.bincount(fit.model.object_of_part[1:], fit.survey.pixels, minlength=2)[1:]
    return np.asarray(areas, np.float64)


def fit_report(
    title: str,
    summary: Summary,
    fit: Fit,
    written: Sequence[Written],
    patches: Mapping[Patch, NDArray[np.uint8]],
    credits: Sequence[Credit],  # noqa: A002 - what it is
    adapted: Adapted | None = None,
) -> ReportPage:
    """The report of a fit on the photos that were `written`."""
    objects = _object_rows(fit, _part_rows(fit, patches), written)
    return ReportPage(
        title,
        replace(summary, counts=dict(summary.counts) | {"photos": len(written)}),
        _settings(summary),
        versions(),
        photos=[item.row for item in written],
        objects=objects,
        scenes=_scene_rows(fit, objects, written),
        shared=0 if fit.membership is None else len(fit.membership.shared),
        edges=[(int(a) + 1, int(b) + 1, float(w)) for a, b, w in fit.communities.edges],
        curves=_curves(fit),
        adaptation=adapted,
        credits=credits,
    )


def _settings(summary: Summary) -> dict[str, str]:
    """The options, with what `auto` came to."""
    taken = {
        "parts": summary.counts["parts"],
        "objects": summary.counts["objects"],
        "foreground": summary.results["foreground threshold"],
        **{name: summary.results[name] for name in ("communities", "precision")},
    }
    rows = {}
    for name, value in summary.settings.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if value == "auto" and taken.get(name) is not None:
            chosen = taken[name]
            text += f" ({chosen:.3f})" if isinstance(chosen, float) else f" ({chosen})"
        rows[name] = text
    return rows


def _part_rows(fit: Fit, patches: Mapping[Patch, NDArray[np.uint8]]) -> list[PartRow]:
    survey = fit.survey
    return [
        PartRow(
            id=part + 1,
            object=int(fit.model.object_of_part[part + 1]),
            share=float(survey.pixels[part] / max(survey.cells, 1)),
            photos=int(survey.photos[part]),
            patches=[patches[patch] for patch in survey.best_patches(part) if patch in patches],
        )
        for part in range(survey.n_parts)
    ]


def _object_rows(fit: Fit, parts: Sequence[PartRow], written: Iterable[Written]) -> list[ObjectRow]:
    """Objects as they are numbered, the largest first; then the background, if it has parts."""
    photos = Counter(number for item in written for number in item.objects)
    rows = []
    for number in (*range(1, fit.model.n_objects + 1), 0):
        own = [part for part in parts if part.object == number]
        share = sum(part.share for part in own)
        if number and fit.membership is not None:  # what it has of other objects' parts too
            share = float(fit.membership.cells[number - 1].sum() / max(fit.survey.cells, 1))
        rows.append(ObjectRow(number, own, share, photos[number]))
    return rows if rows[-1].parts else rows[:-1]


def _scene_rows(fit: Fit, objects: Sequence[ObjectRow], written: Sequence[Written]) -> list[SceneRow]:
    rows = []
    for scene, members in fit.model.scenes.items():
        own = [objects[number - 1] for number in members]
        photos = sum(not set(members).isdisjoint(item.objects) for item in written)
        rows.append(SceneRow(scene, own, sum(row.share for row in own), photos))
    return rows


def _curves(fit: Fit) -> list[Curve]:
    curves = []
    if fit.cut is not None:
        curves.append(
            Curve(
                "Foreground",
                "least foreground precision of a cluster",
                "agreement with the attention",
                fit.cut.thresholds.tolist(),
                fit.cut.agreement.tolist(),
                fit.threshold,
                "Clusters right of the mark are foreground: there the foreground agrees best (Jaccard index) "
                "with where the network looks.",
            )
        )
    if fit.parts_curve:
        numbers, gains = zip(*fit.parts_curve, strict=True)
        gain = "gain of the prediction, nats"
        chosen = float(fit.survey.n_parts)
        curves.append(
            Curve("Number of parts", "parts", gain, numbers, gains, chosen, " ".join(_GAIN.split()))
        )
    if fit.communities.curve:
        curves.extend(_objects_curves(fit.communities, fit.model.n_objects))
    return curves


def _objects_curves(found: Communities, n_objects: int) -> list[Curve]:
    """How good each candidate was, by the number of objects and, of communities, by the Markov time."""
    good, caption = _GOOD[found.criterion]
    scores = [score for _, _, score in found.curve]
    if found.criterion == "halves":
        numbers = [number for number, _, _ in found.curve]
        taken = float(found.object_of_part.max())
        return [Curve("Number of objects", "objects", good, numbers, scores, taken, caption)]
    counts = {resolution: count for resolution, count, _ in found.curve}
    resolution = found.resolution or 0
    times = [1 / value for value in counts]
    chosen = times[list(counts).index(resolution)] if resolution in counts else None
    same = (
        "The same candidates by the Markov time of the communities, which decides how many objects there are."
    )
    objects = Curve(
        "Number of objects",
        "objects, mean over subsets of the photos",
        good,
        list(counts.values()),
        scores,
        counts.get(resolution),
        caption,
        mark=f"{n_objects} in all photos",
    )
    return [objects, Curve("Markov time", "Markov time", good, times, scores, chosen, same)]


_GAIN = """Each point is a number of parts; the gain is how much better one half of a photo predicts the parts
in the other half than their frequency does. The smallest number that gains as much as the best is taken."""
_STABLE = """Each point is a Markov time of the communities; stability is how alike the objects come out when
other photos are drawn (adjusted Rand index). The coarsest of the most stable ones is taken."""
_PREDICTS = """Each point is a Markov time of the communities; prediction is how well the objects in one half
of a photo predict the parts in the other half (log-probability of a part in nats; how much of each part the
objects have was learned from other photos). The coarsest of those that predict best is taken."""
_HALVES = """Each point is a number of objects; agreement is how alike two halves of the photos name the same
regions (adjusted Rand index) after each half has found objects of its own. The largest number that agrees
about as well as the best is taken."""
#: What the curve of the number of objects shows, and how to read it, by what decided.
_GOOD = {
    "stability": ("stability", " ".join(_STABLE.split())),
    "prediction": ("prediction", " ".join(_PREDICTS.split())),
    "halves": ("agreement", " ".join(_HALVES.split())),
}
