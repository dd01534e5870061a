import base64
import hashlib
import io
import json
import os
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from leopart.features.failure import Failure
from leopart.segment.report.curve import draw_chart
from leopart.segment.report.graph import HEIGHT, WIDTH, draw_map
from leopart.segment.report.names import show_names
from leopart.segment.report.page import (
    Credit,
    Curve,
    ObjectRow,
    PartRow,
    PhotoRow,
    ReportPage,
    SceneRow,
    render_report,
    shown,
    write_report,
)
from leopart.segment.report.regions import LONGEST, Regions
from leopart.segment.summary import Summary
from leopart.training.adaptation import Adapted

NASTY = [
    "<script>alert(1)</script>.jpg",
    '" onmouseover="alert(1)" \'.jpg',
    "a&amp;b &lt; c.jpg",
    "Straße 猫 🐈.jpg",
    "שלום \u202egnp.exe.jpg",
    "two\nlines\tand\x00zero.jpg",
    "long" * 2000 + ".jpg",
    "{{ 7 * 7 }} {% raw %}.jpg",
    "latin\udce9.jpg",
    "lone\ud800.jpg",
]


class Html(HTMLParser):
    """All tags with attributes, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def values(self, *names):
        return [a[n] for _, a in self.tags for n in names if a.get(n) is not None]


def picture(seed, shape=(48, 64)):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def page_of(title="t", *, counts=None, seconds=None, warnings=(), failures=(), **shown):
    """A page with as little in it as can be, and what is asked for."""
    summary = Summary(
        "segment", counts or {"photos": 0, "failed": 0}, failures, warnings, {}, {}, seconds or {}
    )
    return ReportPage(title, summary, **shown)


def full_report(names=("a.jpg", "b/c.jpg")):
    photos = [PhotoRow(n, picture(0), picture(1), picture(2), f"overlays/{n}") for n in names]
    one, two, three, four = (
        PartRow(i, o, 0.1 * i, i, [picture(i, (96, 96))] * 8) for i, o in ((1, 1), (2, 1), (3, 2), (4, 0))
    )
    animal, ground = ObjectRow(1, [two, one], 0.3, 2), ObjectRow(2, [three], 0.3, 1)
    return page_of(
        names[0],
        settings={"backbone": names[0]},
        versions={"torch": "2.6"},
        seconds={"extract": 61.0, "write": 0.04},
        counts={"photos": 1234, "failed": 0},
        warnings=list(names),
        failures=[Failure(n, n) for n in names],
        photos=photos,
        objects=[animal, ground, ObjectRow(0, [four], 0.4, 0)],
        scenes=[SceneRow(1, [animal, ground], 0.6, 2)],
        edges=[(1, 2, 0.9), (2, 3, 0.1), (1, 4, 0.5), (1, 99, 0.5)],
        curves=[Curve(names[0], "x", "y", [0.1, 0.2], [0.5, 0.7], 0.2, names[0])],
        credits=[
            Credit(n, n, n, s)
            for n in names
            for s in ("https://example.org/a?b=1&c=2", "javascript:alert(1)")
        ],
    )


def test_report__every_text_is_escaped(tmp_path):
    write_report(tmp_path / "report.html", full_report(NASTY))
    html = (tmp_path / "report.html").read_bytes().decode("utf-8")
    tame = Html(render_report(full_report(["x"] * len(NASTY))))
    page = Html(html)
    assert [t for t, _ in page.tags] == [t for t, _ in tame.tags]
    assert [sorted(a) for _, a in page.tags] == [sorted(a) for _, a in tame.tags]
    assert "<script>alert(1)</script>.jpg" in page.text
    assert "a&amp;b &lt; c.jpg" in page.text
    assert "Straße 猫 🐈.jpg" in page.text
    assert "two␊lines␉and␀zero.jpg" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "latin\ufffd.jpg" in page.text
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


@pytest.mark.parametrize(
    "name", [*NASTY[:6], "//evil.example/x.jpg", "javascript:alert(1)", "a b#c?d%41.jpg", "/etc/x"]
)
def test_report__overlay_links_are_relative_and_lead_to_the_file(name):
    page = Html(render_report(page_of(photos=[PhotoRow("n", link=name)])))
    links = [v for v in page.values("href") if not v.startswith("#")]
    assert len(links) == 1
    assert re.fullmatch(r"\./[A-Za-z0-9_.~/%-]*", links[0])
    assert unquote(links[0][2:]) == name


def test_report__undecodable_file_name_keeps_its_bytes_in_the_link():
    html = render_report(page_of(photos=[PhotoRow("n", link="o/latin\udce9.jpg")]))
    assert "./o/latin%E9.jpg" in html
    assert os.fsencode("o/latin\udce9.jpg") == b"o/latin\xe9.jpg"


def test_report__loads_nothing_from_elsewhere():
    html = render_report(full_report())
    page = Html(html)
    assert all(v.startswith("data:image/jpeg;base64,") for v in page.values("src"))
    links = page.values("href")
    outside = [v for v in links if not v.startswith(("#", "./", "data:image/jpeg;base64,"))]
    assert set(outside) == {"https://example.org/a?b=1&c=2"}
    assert "link" not in [t for t, _ in page.tags]
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttp", html)
    assert "javascript:alert(1)" in page.text  # a source that is no web address is text


def test_report__every_anchor_exists():
    page = Html(render_report(full_report()))
    anchors = {v[1:] for v in page.values("href") if v.startswith("#")}
    assert anchors <= set(page.values("id"))
    assert "part-3" in anchors


def test_report__every_image_decodes():
    page = Html(render_report(full_report()))
    images = [v for v in page.values("src", "href") if v.startswith("data:")]
    assert len(images) == 2 * 3 + 4 * 8 + 3  # photos, patches, graph nodes of foreground parts
    for uri in images:
        with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
            image.load()


def test_report__shows_numbers_objects_and_parts():
    text = Html(render_report(full_report())).text
    for words in ("1,234", "1 min 01 s", "Object 2", "Part 4", "Background", "Labels used: none"):
        assert words in text
    html = render_report(full_report())
    assert "part 2 and part 3: 0.100" in html
    assert "part 1 and part 4" not in html  # background parts are not in the graph


@pytest.mark.parametrize(
    ("shared", "words"),
    [
        (0, None),
        (1, "1 of 4 parts belongs to more than one object: the parts around it in a photo decide."),
        (3, "3 of 4 parts belong to more than one object: the parts around them in a photo decide."),
    ],
)
def test_report__tells_how_many_parts_are_shared(shared, words):
    text = Html(render_report(replace(full_report(), shared=shared))).text
    assert ("more than one object" in text) == (words is not None)
    assert words is None or words in text


def test_report__an_object_that_has_most_of_no_part_is_shown():
    report = full_report()
    more = replace(report, objects=[*report.objects, ObjectRow(7, [], 0.04, 3)])
    assert "Object 7" in Html(render_report(more)).text
    assert "4 % of all pixels · 3 photos · 0 parts" in Html(render_report(more)).text


def trees(html):
    """Links of each scene group of the tree, in order, and whether it is unfolded."""
    section = html.partition('<section id="hierarchy">')[2].partition("</section>")[0]
    pages = [Html(f"<details{block}") for block in section.split("<details")[1:]]
    return [
        ([v for v in page.values("href") if "patch" not in v], "open" in page.tags[0][1]) for page in pages
    ]


def test_report__the_tree_shows_each_scene_with_its_objects_and_their_parts():
    html = render_report(full_report())
    branches = ["#object-1", "#object-1", "#part-2", "#part-1", "#object-2", "#object-2", "#part-3"]
    assert trees(html) == [(branches, True)]
    assert "60 % · 2 photos · 2 objects" in " ".join(Html(html).text.split())
    assert "#hierarchy" in Html(html).values("href")


def test_report__an_object_beside_no_other_is_no_group():
    objects = [ObjectRow(i, [PartRow(i, i, 0.1, 5)], 0.1, 5) for i in (1, 2, 3)]
    scenes = [SceneRow(1, objects[:2], 0.2, 5), SceneRow(2, objects[2:], 0.1, 5)]
    html = render_report(page_of(objects=objects, scenes=scenes))
    assert "Scene group 2" not in html
    assert trees(html)[1] == (["#object-3", "#object-3", "#part-3"], True)
    alone = [SceneRow(i, [row], 0.1, 5) for i, row in enumerate(objects, 1)]
    assert "hierarchy" not in render_report(page_of(objects=objects, scenes=alone))


def rare_ids(html):
    """Ids of the objects in the fold of rare ones."""
    _, _, fold = html.partition('id="rare"')
    return re.findall(r'id="object-(\d+)"', fold.partition("</details>")[0])


def test_report__objects_in_fewer_than_three_photos_are_folded_unless_all_are():
    rows = [ObjectRow(i, [PartRow(i, i, 0.1, n)], 0.1, n) for i, n in enumerate((9, 3, 2, 1), 1)]
    assert rare_ids(render_report(page_of(objects=rows))) == ["3", "4"]
    assert rare_ids(render_report(page_of(objects=rows[2:]))) == []


def test_report__names_are_put_in_later_in_place_of_earlier_ones(tmp_path):
    (tmp_path / "report.html").write_text(render_report(full_report(NASTY)))
    show_names(tmp_path, {"part 1": "first"})
    names = {
        "part 1": "</script><script>alert(1)</script>",
        "object 2": "car & co \\1",
        "part 3 of object 2": "ä",
    }
    show_names(tmp_path, names)
    text = (tmp_path / "report.html").read_text()
    (block,) = re.findall(r'<script type="application/json" id="names">(.*?)</script>', text, re.DOTALL)
    assert json.loads(block) == names
    show_names(tmp_path, {})
    assert (tmp_path / "report.html").read_text() == render_report(full_report(NASTY))


def test_report__of_an_earlier_version_stays_as_it_is(tmp_path):
    show_names(tmp_path, {"part 1": "a"})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "report.html").write_text("<html>")
    show_names(tmp_path, {"part 1": "a"})
    assert (tmp_path / "report.html").read_text() == "<html>"


def test_report__runs_its_own_script_and_style_only():
    html = render_report(full_report(NASTY))
    (policy,) = (a["content"] for _, a in Html(html).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "script-src 'sha256-" in policy
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_regions__are_packed_small_and_come_back():
    ids = np.random.default_rng(0).integers(0, 300, (LONGEST, LONGEST))  # the worst case for compression
    regions = Regions(ids, {i: i % 7 for i in range(1, 300)})
    raw = zlib.decompress(base64.b64decode(regions.packed))
    assert len(regions.packed) < 90_000
    assert np.array_equal(np.frombuffer(raw, "<u2").reshape(ids.shape), ids)
    assert json.loads(regions.table)[4] == [5, 5]


def test_report__the_tree_draws_the_pictures_of_the_graph_and_embeds_none():
    page = Html(render_report(full_report()))
    used = {a["href"] for tag, a in page.tags if tag == "use"}
    assert used == {"#patch-1", "#patch-2", "#patch-3"}
    assert used == {f"#{a['id']}" for tag, a in page.tags if tag == "image"}


def test_report__without_scene_groups_there_is_no_tree():
    html = render_report(replace(full_report(), scenes=[]))
    assert "hierarchy" not in html
    assert "Scene group" not in html


def test_report__of_many_objects_the_largest_groups_are_unfolded():
    objects = [ObjectRow(i, [PartRow(i, i, 0.005, 1)], 0.005, 1) for i in range(1, 101)]
    scenes = [SceneRow(1, objects[:40], 0.2, 1), SceneRow(2, objects[40:60], 0.1, 1)]
    scenes += [SceneRow(3 + i, objects[60 + 2 * i : 62 + 2 * i], 0.01, 1) for i in range(20)]
    found = trees(render_report(page_of(objects=objects, scenes=scenes)))
    assert [unfolded for _, unfolded in found] == [True, True] + [False] * 20
    assert [len(links) for links, _ in found] == [120, 60] + [6] * 20


def test_report__an_object_without_parts_of_its_own_stands_in_the_tree():
    objects = [ObjectRow(1, [PartRow(1, 1, 0.3, 1)], 0.2, 1), ObjectRow(2, [], 0.1, 1)]
    report = page_of(objects=objects, scenes=[SceneRow(1, objects, 0.3, 1)])
    assert trees(render_report(report))[0][0] == [
        "#object-1",
        "#object-1",
        "#part-1",
        "#object-2",
        "#object-2",
    ]


def test_report__empty_still_renders():
    page = Html(render_report(page_of("nothing")))
    assert "No photos." in page.text
    assert "No parts." in page.text
    assert "No foreground parts." in page.text
    empty = page_of(
        curves=[Curve("c", "x", "y", [], [])], objects=[ObjectRow(1, [PartRow(1, 1, 0, 0)], 0, 0)]
    )
    assert "Nothing was measured." in Html(render_report(empty)).text


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (2000, 3)])
def test_report__odd_photo_shapes(shape):
    html = render_report(
        page_of(photos=[PhotoRow("n", picture(0, shape), picture(0, shape), picture(0, shape))])
    )
    assert html.count("data:image/jpeg") == 3


def test_report__600_photos_and_500_parts_stay_small(tmp_path):
    thumbs = [picture(i, (240, 320)) for i in range(3)]  # noise: the worst case for JPEG
    smooth = [np.asarray(Image.fromarray(t).resize((40, 30)).resize((320, 240))) for t in thumbs]
    photos = [PhotoRow(f"{i}.jpg", *smooth, f"overlays/{i}.jpg") for i in range(600)]
    patch = np.asarray(Image.fromarray(picture(9, (24, 24))).resize((96, 96)))
    objects = [
        ObjectRow(o, [PartRow(i, o, 0.002, 5, [patch] * 8) for i in range(o or 20, 501, 20)], 0.05, 5)
        for o in range(20)
    ]
    write_report(tmp_path / "r.html", page_of(photos=photos, objects=objects))
    assert (tmp_path / "r.html").stat().st_size < 15e6
    html = (tmp_path / "r.html").read_text("utf-8")
    page = Html(html)
    assert "60 of 600 photos shown" in page.text
    assert sum(a.get("class") == "triple" for _, a in page.tags) == 60
    assert {f"./overlays/{i}.jpg" for i in range(600)} <= set(page.values("href"))


def test_report__photos_without_pictures_are_listed():
    rows = [PhotoRow("seen.jpg", picture(0), picture(0), picture(0)), PhotoRow("unseen.jpg")]
    page = Html(render_report(page_of(photos=rows)))
    assert "1 of 2 photos shown" in page.text
    assert "unseen.jpg" in page.text


def adapted(steps, seconds, early, sheet):
    return Adapted(None, None, 10, steps, seconds, early, sheet, sheet)


@pytest.mark.parametrize("early", [False, True])
def test_report__shows_an_adaptation_with_both_sheets(early):
    html = render_report(page_of(adaptation=adapted(190, 605.0, early, picture(0, (60, 300)))))
    page = Html(html)
    assert html.count("data:image/jpeg") == 2
    assert "190 steps in 10 min 05 s" in page.text
    assert ("it ended before its time" in page.text) == early
    assert page.text.index("Before") < page.text.index("After")
    assert "#adaptation" in page.values("href")


def test_report__an_adaptation_without_sheets_is_told_all_the_same():
    page = Html(render_report(page_of(adaptation=adapted(20, 3.0, False, None))))
    assert "20 steps in 3.0 s." in page.text
    assert not page.values("src")


@pytest.mark.parametrize("kept", [False, True])
def test_report__whether_the_adapted_network_was_used_is_told_with_both_numbers(kept):
    numbers = {"before": {"stability": 0.25, "gain": 0.5}, "after": {"stability": 0.75, "gain": 0.625}}
    page = page_of(adaptation=adapted(20, 3.0, False, None))
    results = {**page.summary.results, "adaptation": {**numbers, "kept": kept}}
    text = Html(render_report(replace(page, summary=replace(page.summary, results=results)))).text
    assert all(number in text for number in ("0.250", "0.500", "0.750", "0.625"))
    assert ("The adapted network was used." in text) == kept


def test_report__same_report_same_bytes():
    assert render_report(full_report()) == render_report(full_report())


@pytest.mark.parametrize(("count", "cap"), [(0, 60), (1, 60), (60, 60), (61, 60), (591, 60), (10**6, 7)])
def test_shown__is_even(count, cap):
    indices = shown(count, cap)
    assert len(indices) == min(count, cap)
    assert len(set(indices)) == len(indices)
    if count > cap:
        assert (indices[0], indices[-1]) == (0, count - 1)
        gaps = np.diff(indices)
        assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(("parts", "groups"), [(60, 9), (150, 3), (40, 40)])
def test_draw_map__discs_do_not_overlap_and_stay_inside(parts, groups):
    rng = np.random.default_rng(0)
    radii = {i: float(rng.uniform(0.5, 1.5)) for i in range(1, parts + 1)}
    objects = {i: 1 + i % groups for i in radii}
    edges = [(a, b, float(rng.random())) for a in radii for b in radii if a < b and rng.random() < 0.2]
    placed = draw_map(radii, objects, edges)
    discs = np.array([placed.nodes[i] for i in radii])
    apart = np.linalg.norm(discs[:, None, :2] - discs[None, :, :2], axis=-1)
    touch = discs[:, None, 2] + discs[None, :, 2]
    np.fill_diagonal(apart, np.inf)
    assert (apart > touch - 0.5).all()
    assert (discs[:, :2] - discs[:, 2:] >= 0).all()
    assert (discs[:, :2] + discs[:, 2:] <= [WIDTH, HEIGHT]).all()
    assert [h.object for h in placed.hulls] == list(range(1, groups + 1))


def test_draw_map__related_objects_are_nearer():
    radii = dict.fromkeys(range(1, 9), 1.0)
    placed = draw_map(radii, {i: i for i in radii}, [(1, 2, 1.0), (3, 4, 1.0), (5, 6, 1.0), (7, 8, 1.0)])
    xy = {i: np.array(placed.nodes[i][:2]) for i in radii}
    joined = [np.linalg.norm(xy[a] - xy[a + 1]) for a in (1, 3, 5, 7)]
    every = [np.linalg.norm(xy[a] - xy[b]) for a in xy for b in xy if a < b]
    assert np.mean(joined) < 0.75 * np.mean(every)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_draw_map__few_parts(count):
    placed = draw_map(dict.fromkeys(range(count), 1.0), dict.fromkeys(range(count), 1), [(0, 0, 1.0)])
    assert len(placed.nodes) == count
    assert np.isfinite(list(placed.nodes.values())).all()


def test_draw_chart__marks_the_chosen_point_on_the_line():
    chart = draw_chart([3, 1, 2], [0.3, 0.1, float("nan")], 3)
    points = [tuple(map(float, p.split(","))) for p in chart.line.split()]
    assert len(points) == 2
    assert points[0][0] < points[1][0]
    assert points[0][1] > points[1][1]
    assert chart.chosen == (*points[1], "3")
    assert draw_chart([3, 1], [0.3, 0.1], 3, "4 found").chosen[2] == "4 found"
    assert [text for _, text in chart.x_ticks] == ["1", "1.5", "2", "2.5", "3"]


@pytest.mark.parametrize(
    ("x", "y"), [([1], [1]), ([1, 2], [0, 0]), ([5, 5], [1, 2]), ([0, 1e9], [-1e-9, 1e-9])]
)
def test_draw_chart__flat_and_single(x, y):
    chart = draw_chart(x, y, None)
    values = [float(v) for p in chart.line.split() for v in p.split(",")]
    assert np.isfinite(values).all()
    assert 2 <= len(chart.y_ticks) <= 8


def test_draw_chart__nothing_to_draw():
    assert draw_chart([], [], 1) is None
    assert draw_chart([1.0], [float("inf")], 1) is None
