"""A thousand photos: how long the first screen and the next photo take, and what the server needs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from browser import chromium, opened
from run_folders import make_run

pytest.importorskip("playwright", reason="Playwright is not installed, and the page is tested in a browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="no Chromium: the page is tested in a browser"),
]
LOADED = """!!document.querySelector("img")
  && [...document.images].slice(0, 12).every(one => one.complete && one.naturalWidth)"""


def seconds(page, address: str, ready: str) -> float:
    start = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector(ready)
    while not page.evaluate(LOADED):
        time.sleep(0.01)
    return time.perf_counter() - start


def test_a_thousand_photos_are_quick_and_small(tmp_path, capsys):
    out = make_run(tmp_path, 1000, (480, 640))
    static = tmp_path / "plain.html"
    rows = "".join(f"<img width=192 loading=lazy src='photos/photo {i:04}.jpg'>" for i in range(1000))
    static.write_text(f"<!doctype html>{rows}")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    server = subprocess.Popen(
        [sys.executable, "-m", "leopart", "view", str(out), "--no-browser", "--quiet"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        with opened() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            first = seconds(page, address, ".tile")
            again = seconds(page, address, ".tile")
            page.wait_for_selector(".patches img", timeout=120_000)
            page.locator(".tile").first.click()
            page.wait_for_selector("#stage[data-shown='0']")
            steps = []
            for place in range(1, 11):
                page.wait_for_timeout(700)  # a person looks; the next one is fetched meanwhile
                start = time.perf_counter()
                page.keyboard.press("ArrowRight")
                page.wait_for_selector(f"#stage[data-shown='{place}']")
                steps.append(time.perf_counter() - start)
            status = Path(f"/proc/{server.pid}/status").read_text()
            peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
            plain = seconds(browser.new_page(viewport={"width": 1280, "height": 720}), static.as_uri(), "img")
    finally:
        server.terminate()
        server.communicate(timeout=30)
    step = sorted(steps)[len(steps) // 2]
    with capsys.disabled():
        print(
            f"\nfirst screen {first:.2f} s, again {again:.2f} s, plain page {plain:.2f} s; "
            f"next photo {step * 1000:.0f} ms (median); server {peak:.0f} MiB"
        )
    assert first < max(2, 2 * plain)  # a machine that is busy is slow with a plain page, too
    assert step < 0.15
    assert peak < 500
