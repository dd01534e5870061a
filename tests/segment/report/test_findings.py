"""Five parts made by hand: 1 and 2 are object 1, 3 and 4 object 2, 5 is background."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from leopart.clustering.contexts import Membership, ObjectMixture
from leopart.clustering.foreground import ForegroundCut
from leopart.clustering.kmeans import KMeans
from leopart.clustering.stability import Communities
from leopart.data.photo_list import PhotoEntry
from leopart.features.failure import Failure
from leopart.segment.fit import Fit
from leopart.segment.outputs import Written
from leopart.segment.part_model import PartModel
from leopart.segment.report.findings import fit_report, fit_results, fit_warnings
from leopart.segment.report.page import Credit, PhotoRow
from leopart.segment.summary import Summary
from leopart.segment.survey import PartSurvey, Patch

EDGES = np.array([[0, 1, 0.51239], [2, 3, 0.25]])
CURVE = ((0.5, 2.375, 0.75041), (1.0, 3.5, 0.6))


@pytest.fixture
def fit() -> Fit:
    import torch

    survey = PartSurvey(5)
    survey.pixels[:], survey.photos[:], survey.cells = [40, 30, 20, 10, 0], [4, 3, 2, 2, 0], 200
    survey.patches[0] = [Patch(0.1, 0, 0.5, 0.5), Patch(0.9, 1, 0.5, 0.5), Patch(0.5, 2, 0.5, 0.5)]
    parts = KMeans(torch.zeros(5, 2), spherical=False, objective=0.0)
    objects = np.array([0, 1, 1, 2, 2, 0])
    return Fit(
        model=PartModel(None, parts, None, parts, objects),
        cut=ForegroundCut(0.4, np.array([0.9, 0.4, 0.1]), np.array([0.2, 0.61239, 0.5])),
        threshold=0.4,
        communities=Communities(objects[1:], EDGES, "map-equation", 0.5, CURVE),
        survey=survey,
    )


@pytest.fixture
def summary(fit) -> Summary:
    return Summary(
        command="segment",
        counts={"photos": 5, "failed": 1, "parts": 5, "objects": 2},
        failures=[Failure("x.jpg", "x.jpg is empty")],
        warnings=["careful"],
        results={"precision": "bf16", **fit_results(fit)},
        settings={
            "parts": "auto",
            "objects": 2,
            "foreground": "auto",
            "communities": "auto",
            "precision": "auto",
            "device": "auto",
            "images": ["a", "b"],
            "features": None,
        },
        seconds={"masks": 1.0},
    )


ENTRY = PhotoEntry("a.jpg", "/photos/a.jpg", "a", 4, 3, 10, 20)
WRITTEN = [
    Written(ENTRY, (1, 2), PhotoRow("a.jpg")),
    Written(ENTRY, (1,), PhotoRow("b.jpg")),
    Written(ENTRY, (), PhotoRow("c.jpg")),
]


def ids(rows) -> list[int]:
    return [row.id for row in rows]


def test_results_say_what_was_chosen_and_from_what(fit):
    assert fit_results(fit) == {
        "foreground threshold": 0.4,
        "foreground share": 0.5,
        "objects by": "communities",
        "communities": "map-equation",
        "communities fineness": 0.5,
        "object of part": {"1": 1, "2": 1, "3": 2, "4": 2, "5": 0},
        "edges": [[1, 2, 0.5124], [3, 4, 0.25]],
        "foreground curve": [[0.9, 0.2], [0.4, 0.6124], [0.1, 0.5]],
        "objects criterion": "stability",
        "objects curve": [[0.5, 2.375, 0.7504], [1.0, 3.5, 0.6]],
    }


@pytest.fixture
def in_context(fit) -> Fit:
    """Part 3 is mainly object 2's, and object 1's in three photos; object 3 has some of part 4 only."""
    cells = np.array([[40, 30, 5, 0, 0], [0, 0, 15, 7, 0], [0, 0, 0, 3, 0]])
    photos = np.array([[4, 3, 3, 0, 0], [0, 0, 2, 1, 0], [0, 0, 0, 1, 0]])
    model = replace(fit.model, mixture=ObjectMixture(np.full((3, 5), 0.2)))
    return replace(fit, model=model, membership=Membership(cells, photos))


def test_results_name_the_parts_of_several_objects_and_in_how_many_photos(in_context):
    assert fit_results(in_context)["shared parts"] == {"3": {"1": 3, "2": 2}, "4": {"2": 1, "3": 1}}


def test_objects_have_what_is_theirs_of_other_objects_parts(in_context, summary):
    report = fit_report("Title", summary, in_context, WRITTEN, {}, [])
    assert [(o.id, ids(o.parts), o.share, o.photos) for o in report.objects] == [
        (1, [1, 2], 75 / 200, 2),
        (2, [3, 4], 22 / 200, 1),
        (3, [], 3 / 200, 0),
        (0, [5], 0, 0),
    ]
    assert report.shared == 2


def test_objects_are_counted_by_the_mixture(in_context):
    assert fit_warnings(in_context, 20, None, 3) == []
    (warning,) = fit_warnings(in_context, 20, None, 2)
    assert warning == "2 objects were asked for; the photos support 3."


@pytest.mark.parametrize(
    ("scenes", "results", "rows"),
    [
        ([1, 1], {"1": [1, 2]}, [(1, [1, 2], 0.5, 2)]),
        ([2, 1], {"1": [2], "2": [1]}, [(1, [2], 0.15, 1), (2, [1], 0.35, 2)]),
    ],
)
def test_scene_groups_are_listed_with_area_and_photos(fit, summary, scenes, results, rows):
    grouped = replace(fit, model=replace(fit.model, scene_of_object=np.array(scenes)))
    assert fit_results(grouped)["scenes"] == results
    found = fit_report("Title", summary, grouped, WRITTEN, {}, []).scenes
    assert [(row.id, ids(row.objects), round(row.share, 9), row.photos) for row in found] == rows
    assert "scenes" not in fit_results(fit)
    assert list(fit_report("Title", summary, fit, WRITTEN, {}, []).scenes) == []


def test_nothing_chosen_means_no_curves(fit):
    given = replace(fit, cut=None, threshold=None, communities=replace(fit.communities, curve=()))
    results = fit_results(given)

    assert results["foreground threshold"] is None
    assert not {"foreground curve", "objects curve"} & results.keys()


def test_plenty_of_ordinary_photos_give_no_warning(fit):
    assert fit_warnings(fit, 20) == []
    assert fit_warnings(fit, 20, 5) == []


def test_photos_that_are_nearly_all_background_are_warned_of(fit):
    fit.survey.cells = 2000
    (warning,) = fit_warnings(fit, 20)
    assert warning.startswith("5% of all pixels are foreground, which is unusual")


def test_one_object_that_covers_nearly_everything_is_warned_of(fit):
    fit.survey.pixels[:] = [50, 42, 5, 3, 0]
    (warning,) = fit_warnings(fit, 20)
    assert warning.startswith("Object 1 covers 92% of the foreground: ")
    fit.survey.pixels[:] = [0, 0, 0, 0, 0]
    assert not any("covers" in warning for warning in fit_warnings(fit, 20))


def test_few_photos_are_warned_of(fit):
    (warning,) = fit_warnings(fit, 19)
    assert warning.startswith("Only 19 photos: ")
    assert fit_warnings(fit, 1)[0].startswith("Only 1 photo: ")


def test_fewer_parts_than_asked_for_are_told(fit):
    (warning,) = fit_warnings(fit, 20, 6)
    assert warning == "6 parts were asked for; the photos hold only 5 different points."


def test_another_number_of_objects_than_asked_for_is_told(fit):
    assert fit_warnings(fit, 20, None, 2) == []
    (warning,) = fit_warnings(fit, 20, None, 7)
    assert warning == "7 objects were asked for; the photos support 2."


@pytest.mark.parametrize(
    ("cells", "share"), [(101, "99%"), (124, "81%"), (125, None), (1000, None), (2500, "4%")]
)
def test_an_unusual_share_of_foreground_is_told_with_the_option_to_change(fit, cells, share):
    fit.survey.cells = cells
    warnings = fit_warnings(fit, 20)
    if share is None:
        assert warnings == []
    else:
        (warning,) = warnings
        assert warning.startswith(f"{share} of all pixels are foreground")
        assert "try another --foreground (it was 0.40)" in warning
    assert fit_warnings(replace(fit, cut=None), 20) == [], "everything was to be foreground"


def test_parts_without_neighbours_are_told(fit):
    lonely = replace(fit, communities=replace(fit.communities, edges=np.zeros((0, 3))))
    assert fit_warnings(lonely, 20) == [
        "No two parts lie beside each other often enough to form objects.",
    ]


def test_the_report_counts_photos_of_each_object_and_sums_their_parts(fit, summary):
    report = fit_report("Title", summary, fit, WRITTEN, {}, [])

    assert [(o.id, ids(o.parts), o.share, o.photos) for o in report.objects] == [
        (1, [1, 2], pytest.approx(0.35), 2),
        (2, [3, 4], pytest.approx(0.15), 1),
        (0, [5], 0, 0),
    ]
    assert [(p.id, p.object, p.share, p.photos) for p in report.parts] == [
        (1, 1, 0.2, 4),
        (2, 1, 0.15, 3),
        (3, 2, 0.1, 2),
        (4, 2, 0.05, 2),
        (5, 0, 0.0, 0),
    ]
    assert list(report.edges) == [(1, 2, 0.51239), (3, 4, 0.25)]
    assert [row.name for row in report.photos] == ["a.jpg", "b.jpg", "c.jpg"]
    assert report.shared == 0


def test_the_report_passes_on_failures_warnings_counts_and_credits(fit, summary):
    credit = Credit("a.jpg", "somebody", "CC0", "https://example.org")
    report = fit_report("Title", summary, fit, WRITTEN, {}, [credit])

    assert (report.title, report.summary.labels) == ("Title", "none")
    assert report.summary.counts == {"photos": 3, "parts": 5, "objects": 2, "failed": 1}
    assert report.summary.failures == summary.failures
    assert report.summary.warnings == ["careful"]
    assert list(report.credits) == [credit]


def test_settings_show_what_auto_came_to(fit, summary):
    assert fit_report("Title", summary, fit, WRITTEN, {}, []).settings == {
        "parts": "auto (5)",
        "objects": "2",
        "foreground": "auto (0.400)",
        "communities": "auto (map-equation)",
        "precision": "auto (bf16)",
        "device": "auto",
        "images": "a, b",
        "features": "None",
    }


def test_the_gallery_shows_the_best_patches_first_and_leaves_out_photos_that_vanished(fit, summary):
    pixels = {patch: np.full((2, 2, 3), n, np.uint8) for n, patch in enumerate(fit.survey.patches[0])}
    vanished = fit.survey.patches[0][2]
    del pixels[vanished]
    report = fit_report("Title", summary, fit, WRITTEN, pixels, [])

    assert [patch[0, 0, 0] for patch in report.parts[0].patches] == [1, 0]
    assert report.parts[1].patches == []


def test_every_automatic_choice_has_its_curve_with_the_chosen_point_on_it(fit, summary):
    foreground, objects, knob = fit_report("Title", summary, fit, WRITTEN, {}, []).curves

    assert (list(foreground.x), foreground.chosen) == ([0.9, 0.4, 0.1], 0.4)
    assert (list(objects.x), list(objects.y), objects.chosen) == ([2.375, 3.5], [0.75041, 0.6], 2.375)
    assert objects.mark == "2 in all photos"  # the number of the headline, not the mean at the mark
    assert knob.title == "Markov time"
    assert (list(knob.x), list(knob.y), knob.chosen) == ([2.0, 1.0], list(objects.y), 2.0)
    given = replace(fit, cut=None, communities=replace(fit.communities, curve=()))
    assert list(fit_report("Title", summary, given, WRITTEN, {}, []).curves) == []


def test_the_curves_say_what_was_good(fit, summary):
    curve = ((0.5, 3.0, -2.5), (1.0, 4.0, -2.1))
    found = replace(
        fit.communities, engine="map-equation", resolution=1.0, curve=curve, criterion="prediction"
    )
    changed = replace(fit, communities=found)
    _, objects, knob = fit_report("Title", summary, changed, WRITTEN, {}, []).curves
    assert (objects.y_label, objects.chosen) == ("prediction", 4.0)
    assert (knob.title, list(knob.x), knob.chosen) == ("Markov time", [2.0, 1.0], 1.0)
