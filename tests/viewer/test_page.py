"""The page in a real browser, with real clicks and keys."""

from __future__ import annotations

import shutil
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from browser import chromium, opened
from leopart.labels.file import labels_text, read_labels, starter
from leopart.labels.rules import claim_of
from leopart.locks import locked
from leopart.segment.labelling import apply_labels, ids_of
from leopart.viewer.fitted import run_of
from run_folders import make_run

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect
pytest.importorskip("uvicorn", reason="the extra `view` is not installed")
pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium: the page is tested in a browser")

HOSTILE = "<img src=x onerror=alert(1)>.jpg"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened() as started:
        yield started


@contextmanager
def shown(out: Path, browser: Any) -> Iterator[Any]:
    """The page of a run; whatever goes wrong in it fails the test."""
    from leopart.viewer.serve import PageServer

    server = PageServer(out)
    thread = threading.Thread(target=server.run)
    thread.start()
    faults: list[str] = []
    tab = browser.new_page(viewport={"width": 1280, "height": 720})
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("console", lambda message: faults.append(message.text) if is_fault(message) else None)
    tab.on("dialog", lambda dialog: faults.append(dialog.message) or dialog.dismiss())
    tab.out, tab.address = out, server.address
    try:
        tab.goto(server.address)
        tab.wait_for_selector(".patches img")
        yield tab
    finally:
        tab.close()
        server.close()
        thread.join(20)
    assert faults == []


@pytest.fixture
def page(tmp_path: Path, browser: Any) -> Iterator[Any]:
    """The page of a run with 40 photos."""
    with shown(make_run(tmp_path, 40, names=(HOSTILE,)), browser) as tab:
        yield tab


def is_fault(message: Any) -> bool:
    """Errors on the console; that a change or an export was refused is none."""
    return message.type == "error" and not {"409", "422"} & set(message.text.split())


def open_first(page: Any) -> tuple[float, float, float, float]:
    """Open the first photo; its box on the screen."""
    page.locator(".tile").first.click()
    page.wait_for_selector("#stage[data-shown='0']")
    box = page.locator("#picture").bounding_box()
    return box["x"], box["y"], box["width"], box["height"]


def place_of(box: tuple[float, float, float, float], part: int) -> tuple[float, float]:
    """Middle of a part of photo 0 on the screen; see `make_run`."""
    row, column = divmod(part - 1, 3)
    x, y, width, height = box
    return x + width * (1 / 8 + (column + 0.5) / 4), y + height * (1 / 6 + (row + 0.5) / 3)


def names(page: Any) -> list[str]:
    return page.eval_on_selector_all("#labels .rename", "all => all.map(one => one.value)")


def test_parts_are_selected_named_undone_ignored_and_saved(page, tmp_path):
    box = open_first(page)
    page.mouse.move(*place_of(box, 2))
    assert page.inner_text("#hover").startswith("part 2 · object 1 · label object 1 · 8.3 %")
    page.mouse.click(*place_of(box, 1))
    page.keyboard.down("Shift")
    page.mouse.click(*place_of(box, 3))
    page.mouse.click(*place_of(box, 5))
    page.keyboard.up("Shift")
    assert page.inner_text("#selected") == "Selected: parts 1,3,5"
    page.keyboard.press("n")
    page.keyboard.type("<b>shirt</b>")
    page.keyboard.press("Enter")
    expect(page.locator("#labels .rename")).to_have_count(3)
    assert names(page) == ["object 1", "object 2", "<b>shirt</b>"]
    page.mouse.move(*place_of(box, 5))
    assert "label <b>shirt</b>" in page.inner_text("#hover")

    page.locator("#stage").focus()
    page.keyboard.press("Control+z")
    expect(page.locator("#labels .rename")).to_have_count(2)
    page.keyboard.press("Control+Shift+Z")
    expect(page.locator("#labels .rename")).to_have_count(3)
    page.mouse.click(*place_of(box, 6))
    page.keyboard.press("i")
    expect(page.locator("[data-id=p6] em")).to_have_text("ignored")
    assert "Not saved" in page.inner_text("#saved")
    assert not (page.out / "labels.yaml").exists()
    page.keyboard.press("Control+s")
    expect(page.locator("#saved")).to_have_text("40 label masks are written.")
    page.reload()
    page.wait_for_selector("#labels .rename")
    assert names(page) == ["object 1", "object 2", "<b>shirt</b>"]

    labels = read_labels(page.out / "labels.yaml", ids_of(page.out).fingerprint)
    shirt = labels.named("<b>shirt</b>")
    assert shirt is not None
    assert shirt.claim == claim_of("parts:1,3,5")
    assert labels.ignored == claim_of("parts:6")
    other = tmp_path / "other"
    shutil.copytree(page.out, other, ignore=shutil.ignore_patterns("labels", ".view"))
    apply_labels(other, labels)
    for path in sorted((other / "labels").glob("*.png")):
        assert (np.asarray(Image.open(path)) == np.asarray(Image.open(page.out / "labels" / path.name))).all()


def test_a_box_selects_every_part_in_it(page):
    box = open_first(page)
    page.mouse.move(*place_of(box, 1))
    page.mouse.down()
    page.mouse.move(*place_of(box, 5), steps=4)
    page.mouse.up()
    assert page.inner_text("#selected") == "Selected: parts 1,2,4,5"


def test_the_keyboard_alone_opens_names_and_returns(page):
    page.locator(".tile").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("#stage[data-shown='1']")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#stage[data-shown='2']")
    page.keyboard.press("2")
    assert page.is_checked("#modes input[value=parts]")
    page.locator("[data-id=p2]").focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+Enter")
    assert page.inner_text("#selected") == "Selected: parts 2,3"
    page.keyboard.press("n")
    page.keyboard.type("coat")
    page.keyboard.press("Enter")
    expect(page.locator("#labels .rename")).to_have_count(3)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.wait_for_selector("#grid", state="visible")
    assert page.evaluate("document.activeElement.dataset.place") == "2"


def test_colours_in_the_photo_follow_a_change_at_once(page):
    open_first(page)
    colour = """() => {
      const canvas = document.getElementById("colours");
      return [...canvas.getContext("2d").getImageData(40, 40, 1, 1).data].slice(0, 3);
    }"""
    before = page.evaluate(colour)
    page.locator("#labels input[type=color]").first.evaluate(
        "one => { one.value = '#0000ff'; one.dispatchEvent(new Event('change')); }"
    )
    expect(page.locator("#saved")).to_contain_text("Not saved")
    after = page.evaluate(colour)
    assert before != after
    assert after[2] > 250
    assert after[0] < 5


def test_contrasting_colours_are_drawn_everywhere_and_remembered(page):
    drawn = """() => {
      const canvas = document.getElementById("colours");
      return [...canvas.getContext("2d").getImageData(40, 40, 1, 1).data].slice(0, 3);
    }"""
    open_first(page)
    page.check("#contrast")
    swatch = "one => getComputedStyle(one).backgroundColor"
    first = "rgb(254, 228, 176)"
    assert page.locator("#labels .swatch").first.evaluate(swatch) == first
    assert page.locator("[data-id=o1] .swatch").evaluate(swatch) == first
    assert np.abs(np.array(page.evaluate(drawn)) - [254, 228, 176]).max() <= 2  # a canvas multiplies by alpha
    page.reload()
    page.wait_for_selector(".patches img")
    assert page.is_checked("#contrast")
    page.uncheck("#contrast")
    assert page.locator("#labels input[type=color]").first.is_visible()


def test_a_name_that_another_label_has_merges_them_and_split_parts_them(page):
    first = page.locator("#labels .rename").first
    first.fill("Object 2")
    first.press("Enter")
    expect(page.locator("#labels .rename")).to_have_count(1)
    page.locator("#labels button:has-text('Split')").click()
    expect(page.locator("#labels .rename")).to_have_count(2)


def test_a_part_within_one_object_is_moved_to_another(page):
    box = open_first(page)
    page.keyboard.down("Alt")
    page.mouse.click(*place_of(box, 2))
    page.keyboard.up("Alt")
    assert page.inner_text("#selected") == "Selected: parts 2@1"
    page.keyboard.press("m")
    page.select_option("#object", "2")
    page.click("#move")
    expect(page.locator("#selected")).to_have_text("Nothing selected")
    page.mouse.move(*place_of(box, 2))
    assert "part 2 · object 1 · label object 2" in page.inner_text("#hover")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    expect(page.locator("#undo")).to_be_disabled()


def test_a_part_is_split_and_taken_back(fitted, browser, tmp_path):
    with shown(run_of(fitted, out=tmp_path / "OUT"), browser) as page:
        page.locator(".tile").nth(2).click()
        page.wait_for_selector("#stage[data-shown='2']")
        page.keyboard.press("2")
        page.click("[data-id=p1]")
        page.fill("#pieces", "3")
        page.click("#divide")
        expect(page.locator("#tree .part")).to_have_count(8, timeout=60_000)
        expect(page.locator("#said")).to_contain_text("part 1, in ")
        page.wait_for_selector("#stage[data-shown='2']")  # the photo that was shown
        assert page.is_checked("#modes input[value=parts]")
        page.click("#undo")
        expect(page.locator("#tree .part")).to_have_count(6, timeout=60_000)
        expect(page.locator("#undo")).to_be_disabled()


def test_the_second_of_two_windows_is_told_and_shows_what_is_in_force(page, browser):
    other = browser.new_page()
    other.goto(page.address)
    other.wait_for_selector(".patches img")
    page.click("[data-id=p1]")
    page.keyboard.press("i")
    expect(page.locator("[data-id=p1] em")).to_have_text("ignored")
    other.click("[data-id=p2]")
    other.evaluate("document.getElementById('ignore').click()")
    expect(other.locator("#said")).to_contain_text("another window has changed the labels")
    expect(other.locator("[data-id=p1] em")).to_have_text("ignored")
    expect(other.locator("[data-id=p2] em")).to_have_text("object 1")
    other.close()


def test_a_run_at_work_in_the_folder_is_said_and_the_draft_kept(page):
    page.click("[data-id=p1]")
    page.keyboard.press("i")
    expect(page.locator("#saved")).to_contain_text("Not saved")
    with locked(page.out):
        page.click("#save")
        expect(page.locator("#said")).to_contain_text("in use by another run")
        expect(page.locator("#saved")).to_contain_text("draft kept")
    page.click("#save")
    expect(page.locator("#saved")).to_have_text("40 label masks are written.")


FOCUS = """() => {
  const node = document.activeElement, box = node.getBoundingClientRect();
  const ring = node.matches("#modes input") ? node.nextElementSibling : node, style = getComputedStyle(ring);
  const isInView = box.left >= 0 && box.right <= innerWidth && box.top >= -1 && box.bottom <= innerHeight + 1;
  const name = node.id || node.name || node.dataset.id || node.dataset.key || node.className;
  return [node === document.body ? "" : name, style.outlineStyle, parseFloat(style.outlineWidth), isInView];
}"""


def test_tab_reaches_everything_with_a_visible_focus(page):
    page.click("[data-id=p1]")
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        name, kind, width, is_in_view = page.evaluate(FOCUS)
        if not name or name in reached:  # without a name: the page itself, between its end and its beginning
            continue
        reached.append(name)
        assert kind not in ("none", "hidden"), name
        assert width >= 2, name
        assert is_in_view, name
    wanted = {
        "mode",
        "opacity",
        "outlines",
        "save",
        "export",
        "help",
        "order",
        "tile",
        "search",
        "1/0",
        "1/1",
    }
    wanted |= {"p1", "label", "give", "object", "move", "divide", "pieces", "ignore", "clear"}
    assert wanted <= set(reached)


def test_nothing_is_cut_off_at_1280_by_720(page):
    open_first(page)
    page.click("[data-id=p1]")
    for selector in ("header", "#tools", "#selection"):
        cut = page.eval_on_selector_all(
            f"{selector} button, {selector} input, {selector} select, {selector} label",
            """all => all.filter(one => {
              const box = one.getBoundingClientRect();
              const isShort = one.matches("button, label") && one.scrollWidth > one.clientWidth + 1;
              return one.offsetParent && (isShort || box.right > innerWidth || box.bottom > innerHeight);
            }).map(one => one.id || one.textContent)""",
        )
        assert cut == [], selector
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("header").bounding_box()["height"] < 60
    assert page.locator("#lists").bounding_box()["height"] > 300


def test_search_hides_what_does_not_match(page):
    page.keyboard.press("/")
    page.keyboard.type("part 4")
    shown = page.eval_on_selector_all(
        "#tree .item", "all => all.filter(one => !one.hidden).map(one => one.dataset.id)"
    )
    assert shown == ["p4"]


def test_photos_are_sorted_by_a_part(page):
    page.select_option("#order", "odd")
    page.select_option("#part", "6")
    expect(page.locator("#count")).to_have_text("20 photos")
    page.select_option("#order", "unusual")
    expect(page.locator("#count")).to_have_text("40 photos")
    assert not page.is_visible("#part")
    page.select_option("#order", "name")
    expect(page.locator("#count")).to_have_text("40 photos")


def test_labels_written_by_another_program_are_told(page):
    page.locator("[data-id=p1]").click()
    page.keyboard.press("i")
    expect(page.locator("#saved")).to_contain_text("Not saved")
    (page.out / "labels.yaml").write_text(labels_text(starter(2), ids_of(page.out).fingerprint))
    page.click("#save")
    page.wait_for_selector("#conflict[open]")
    assert "another program" in page.inner_text("#why")
    page.click("#take")
    expect(page.locator("[data-id=p1] em")).to_have_text("object 1")


def test_masks_are_exported_and_fetched(page):
    page.click("#export")
    page.select_option("#wanted [name=format]", "csv")
    assert not page.is_visible("#wanted [name=semantic]")
    page.select_option("#wanted [name=what]", "parts")
    page.click("#begin")
    expect(page.locator("#exported")).to_contain_text("parts of 40 photos as csv:")
    with page.expect_download() as download:
        page.click("#fetch")
    assert download.value.suggested_filename == "leopart-csv.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.read("areas.csv") == (page.out / "export" / "csv" / "areas.csv").read_bytes()


def test_an_export_that_cannot_be_is_said_in_the_dialog(page):
    page.keyboard.press("e")
    page.select_option("#wanted [name=format]", "csv")
    page.click("#begin")
    expect(page.locator("#exported")).to_contain_text("name them with `leopart label` first")
    assert not page.is_visible("#fetch")
    page.keyboard.press("Escape")
    assert not page.is_visible("#exporting")


def test_only_the_tiles_in_sight_exist(page):
    assert page.locator(".tile").count() < 40
    page.locator("#grid").evaluate("grid => { grid.scrollTop = grid.scrollHeight; }")
    page.wait_for_selector(".tile[data-place='39']")
    assert page.locator(".tile[data-place='0']").count() == 0


def test_text_has_contrast_in_light_and_dark(page):
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        pairs = (
            ("#selected", "aside"),
            ("#saved", "header"),
            ("#save", "#save"),
            ("#count", "body"),
            ("h2", "aside"),
        )
        for text, ground in pairs:
            front, back = (
                page.eval_on_selector(one, f"node => getComputedStyle(node).{what}")
                for one, what in ((text, "color"), (ground, "backgroundColor"))
            )
            assert contrast(front, back) >= 4.5, (scheme, text, front, back)


def contrast(first: str, second: str) -> float:
    """Of two CSS colours, as WCAG 2 defines it."""
    lights = []
    for colour in (first, second):
        values = np.array([float(word) for word in colour[4:-1].split(",")]) / 255
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05)
    return max(lights) / min(lights)
