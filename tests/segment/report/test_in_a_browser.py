"""The report in a real browser, opened from disk, with real keys and a real pointer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from browser import chromium, opened
from leopart.drawing.palette import colours
from leopart.segment.report.names import show_names
from leopart.segment.report.page import ObjectRow, PartRow, PhotoRow, ReportPage, SceneRow, write_report
from leopart.segment.report.regions import Regions
from leopart.segment.summary import Summary

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect
pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium: the report is tested in a browser")

#: Left half part 1 (object 1), upper right part 2 (object 1), lower right part 3 (object 2).
QUARTERS = np.array([[1, 2], [1, 3]]).repeat(60, axis=0).repeat(90, axis=1)
#: Left half background, right half part 4 (object 3).
HALVES = np.array([[0, 4]]).repeat(120, axis=0).repeat(90, axis=1)
OBJECT_OF_PART = {1: 1, 2: 1, 3: 2, 4: 3}
HOSTILE = "<img src=x onerror=alert(1)>"


def photo_row(name: str, ids: np.ndarray) -> PhotoRow:
    shown = np.unique(ids[ids > 0])
    pixels = colours(9)[ids]
    return PhotoRow(
        name,
        pixels,
        pixels,
        pixels,
        f"overlays/{name}",
        Regions(ids, {int(part): OBJECT_OF_PART[part] for part in shown}),
    )


def report(folder: Path) -> Path:
    """Three photos; objects 1 and 2 are a group, object 3 is in the last photo alone."""
    (folder / "overlays").mkdir(parents=True)
    for name in ("a.jpg", "c.jpg"):  # that of b.jpg has gone
        Image.new("RGB", (1280, 853), (90, 120, 60)).save(folder / "overlays" / name)
    patch = [np.full((96, 96, 3), 120, np.uint8)] * 3
    parts = {part: PartRow(part, obj, 0.1, 2, patch) for part, obj in OBJECT_OF_PART.items()}
    objects = [
        ObjectRow(1, [parts[1], parts[2]], 0.2, 3),
        ObjectRow(2, [parts[3]], 0.1, 3),
        ObjectRow(3, [parts[4]], 0.1, 1),
    ]
    page = ReportPage(
        "Report",
        Summary("segment", {"photos": 3, "failed": 0}, [], [], {}, {}, {}),
        photos=[
            photo_row("a.jpg", QUARTERS),
            photo_row("b.jpg", QUARTERS),
            photo_row("c.jpg", HALVES),
        ],
        objects=objects,
        scenes=[SceneRow(1, objects[:2], 0.3, 3), SceneRow(2, objects[2:], 0.1, 1)],
        edges=[(1, 2, 0.9), (2, 3, 0.2)],
    )
    write_report(folder / "report.html", page)
    show_names(folder, {"part 1": HOSTILE, "object 2": "</script><b>", "part 2 of object 1": "tail"})
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened() as started:
        yield started


@pytest.fixture
def tab(tmp_path: Path, browser: Any) -> Iterator[Any]:
    """The page; whatever goes wrong in it, refusals of its own policy included, fails the test."""
    faults: list[str] = []
    tab = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("dialog", lambda dialog: faults.append(dialog.message) or dialog.dismiss())
    tab.on("console", lambda message: faults.append(message.text) if is_fault(message) else None)
    tab.goto(report(tmp_path).as_uri())
    yield tab
    tab.close()
    assert faults == []


def is_fault(message: Any) -> bool:
    """Errors on the console; that the overlay of b.jpg has gone is none."""
    return message.type == "error" and "ERR_FILE_NOT_FOUND" not in message.text


def point_at(tab: Any, picture: str, x: float, y: float) -> None:
    """Move the pointer to a place, given in fractions of the picture's box."""
    box = tab.locator(picture).bounding_box()
    tab.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def press_until(tab: Any, key: str, reached: str, most: int = 60) -> None:
    for _ in range(most):
        tab.keyboard.press(key)
        if tab.evaluate(f"document.activeElement.matches({reached!r})"):
            return
    raise AssertionError(f"{key} never reaches {reached}")


def test_the_pointer_says_part_object_and_name(tab: Any) -> None:
    picture = "#photo-1 .triple img:nth-child(2)"
    for x, y, said in [
        (0.2, 0.5, f"part 1 · object 1 · {HOSTILE}"),
        (0.8, 0.2, "part 2 · object 1 · tail"),
        (0.8, 0.8, "part 3 · object 2 · </script><b>"),
    ]:
        point_at(tab, picture, x, y)
        expect(tab.locator("#tip")).to_have_text(said)
        assert tab.locator("#tip").is_visible()
    point_at(tab, "#photo-3 .triple img:nth-child(1)", 0.2, 0.5)
    expect(tab.locator("#tip")).to_have_text("background")
    tab.mouse.move(2, 2)
    assert tab.locator("#tip").is_hidden()


def test_names_that_came_later_stand_beside_ids(tab: Any) -> None:
    assert tab.locator("#part-1 .what b").text_content() == f"Part 1 ({HOSTILE})"
    assert tab.locator("#object-2 h3").text_content() == "Object 2 (</script><b>)"
    assert tab.locator("#only option[value='object 2']").text_content() == "Object 2 (</script><b>)"
    assert tab.locator("#object-1 h3").text_content() == "Object 1"


def test_a_click_on_a_region_leads_to_its_part(tab: Any) -> None:
    tab.locator("#photo-1 .triple").click()
    tab.wait_for_selector("#closer[data-shown='photo-1']")
    point_at(tab, ".stage canvas", 0.8, 0.8)
    assert tab.locator("#under").text_content() == "part 3 · object 2 · </script><b>"
    tab.mouse.down()
    tab.mouse.up()
    tab.wait_for_url("**#part-3")
    assert tab.locator("#closer").is_hidden()
    assert tab.evaluate("document.activeElement.id") == "part-3"


def test_a_closer_look_shows_the_overlay_or_what_is_left_without_it(tab: Any) -> None:
    tab.locator("#photo-1 .triple").click()
    tab.wait_for_selector("#closer[data-shown='photo-1']")
    expect(tab.locator(".stage img")).to_have_js_property("naturalWidth", 1280)
    tab.keyboard.press("ArrowRight")
    tab.wait_for_selector("#closer[data-shown='photo-2']")
    expect(tab.locator(".stage img")).to_have_js_property("naturalWidth", 180)


def test_everything_is_reached_by_keyboard(tab: Any) -> None:
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    press_until(tab, "Tab", "#photo-1 .triple")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#closer[data-shown='photo-1']")
    tab.keyboard.press("1")
    assert tab.locator("[data-view='photo']").get_attribute("aria-pressed") == "true"
    press_until(tab, "Tab", "#closer li a[href='#part-2']")
    assert tab.locator("#under").text_content() == "part 2 · object 1 · tail"
    tab.keyboard.press("Enter")
    tab.wait_for_url("**#part-2")
    assert tab.evaluate("document.activeElement.id") == "part-2"
    press_until(tab, "Tab", "#rare > summary")
    tab.keyboard.press("Enter")
    press_until(tab, "Tab", "#object-3 a")
    press_until(tab, "Tab", ".map .node[data-part='1']")
    faint = tab.locator(".map .node.faint").evaluate_all("all => all.map((one) => one.dataset.part)")
    assert faint == ["3", "4"]  # no neighbours of part 1
    tab.keyboard.press("Enter")
    tab.wait_for_url("**#part-1")
    press_until(tab, "Shift+Tab", "#only")
    tab.keyboard.press("P")  # the first entry with that letter
    assert tab.locator("#only").input_value() == "part 1"
    assert tab.locator("#matching").text_content() == "2 of the 3 photos shown here"


def test_escape_ends_a_closer_look_where_it_began(tab: Any) -> None:
    tab.locator("#photo-2 .triple").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#closer[data-shown='photo-2']")
    tab.keyboard.press("Escape")
    assert tab.locator("#closer").is_hidden()
    assert tab.evaluate("document.activeElement.closest('.shot').id") == "photo-2"


def test_photos_are_filtered_by_part_and_by_object(tab: Any) -> None:
    def visible() -> list[str]:
        return tab.locator(".shot:not([hidden])").evaluate_all("all => all.map((one) => one.id)")

    tab.locator("#only").select_option("object 3")
    assert visible() == ["photo-3"]
    tab.locator("#part-3 a[data-only]").click()
    assert visible() == ["photo-1", "photo-2"]
    tab.locator("#only").select_option("")
    assert len(visible()) == 3


def test_a_link_to_a_rare_object_unfolds_it(tab: Any) -> None:
    assert tab.locator("#object-3").is_hidden()
    tab.locator(".map .node[data-part='4']").click()
    expect(tab.locator("#rare")).to_have_js_property("open", True)
    assert tab.locator("#part-4").is_visible()


def test_without_scripts_all_is_there_to_be_looked_at(tmp_path: Path, browser: Any) -> None:
    tab = browser.new_page(java_script_enabled=False)
    try:
        tab.goto(report(tmp_path).as_uri())
        assert tab.locator(".triple img").count() == 9
        assert all(tab.locator(".triple img").nth(i).is_visible() for i in range(9))
        assert tab.locator("#filter").is_hidden()
        assert tab.locator("#closer").is_hidden()
        tab.locator("#rare > summary").click()
        assert tab.locator("#part-4").is_visible()
        tab.locator("#photo-1 .triple").click()
        tab.wait_for_url("**/overlays/a.jpg")
    finally:
        tab.close()
