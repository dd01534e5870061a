"""Make the pictures of view.md: the page of a run, in the system's Chromium.

    PYTHONPATH=tests python docs/make_view_pictures.py OUT

OUT is the folder of `leopart demo`. It is not changed, apart from OUT/.view, labels.yaml and the label masks.
"""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path

from PIL import Image

from browser import opened
from leopart.viewer.serve import PageServer

PICTURES = Path(__file__).parent / "pictures"


def main(out: Path) -> None:
    """Serve the page, walk through it, and keep five steps."""
    server = PageServer(out)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        with opened() as browser:
            walk(browser.new_page(viewport={"width": 1280, "height": 720}), server.address)
    finally:
        server.close()
        thread.join()


def walk(page, address: str) -> None:  # type: ignore[no-untyped-def]  # Playwright may be absent
    """Photos, parts, named, saved, dark."""

    def keep(name: str) -> None:
        page.wait_for_timeout(1500)
        shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        shot.save(PICTURES / f"view-{name}.jpg", quality=70, optimize=True)

    page.goto(address)
    page.wait_for_selector(".patches img")
    keep("photos")
    page.locator(".tile").first.click()
    page.wait_for_selector("#stage[data-shown]")
    page.keyboard.press("2")
    page.locator("#tree .part").nth(0).click()
    page.locator("#tree .part").nth(1).click(modifiers=["Shift"])
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    keep("parts")
    page.fill("#label", "head")
    page.keyboard.press("Enter")
    page.locator("#stage").focus()
    page.keyboard.press("4")
    keep("named")
    page.keyboard.press("Escape")
    page.click("#save")
    page.locator("#saved", has_text="are written").wait_for()
    keep("saved")
    page.emulate_media(color_scheme="dark")
    page.locator(".tile").nth(1).click()
    keep("dark")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
