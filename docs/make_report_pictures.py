"""Make the picture of report.md: a closer look in the report, in the system's Chromium.

    PYTHONPATH=tests python docs/make_report_pictures.py OUT

OUT is the folder of `leopart demo`. Writes `docs/images/report-closer.jpg`.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

from browser import opened

TARGET = Path(__file__).parent / "images" / "report-closer.jpg"
PHOTO = "astronaut.png"


def main(out: Path) -> None:
    """Open the report from disk, look closer at one photo and point at it."""
    with opened() as browser:
        page = browser.new_page(viewport={"width": 1180, "height": 700})
        page.goto((out / "report.html").resolve().as_uri())
        page.locator(".shot", has=page.get_by_text(PHOTO, exact=True)).locator(".triple").click()
        page.wait_for_selector("#closer[data-shown]")
        box = page.locator(".stage").bounding_box()
        page.mouse.move(box["x"] + 0.78 * box["width"], box["y"] + 0.4 * box["height"])
        page.wait_for_timeout(500)
        shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.save(TARGET, quality=80, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
