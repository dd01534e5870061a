"""The documentation site: it builds without a warning, and the first page reads easily."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import leopart
from pages import ROOT, prose

#: For people who may have begun to learn English not long ago: words a sentence.
_LONGEST, _USUAL = 30, 16
_FIRST_PAGES = ("segment", "report", "tuning", "large", "limits", "faq")


def sentences(page: Path) -> list[str]:
    """Sentences of the running text, list items and table cells; links and code count as they are read."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", prose(page))
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    found = []
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-#|]|\d+\.) ?)|\|", text):
        found += re.split(r"(?<=[.?!])\s+", re.sub(r"\s+", " ", block).strip(" -#*"))
    return [sentence for sentence in found if re.search(r"\w", sentence)]


def words(sentence: str) -> int:
    return len(re.findall(r"\S*\w\S*", sentence))


@pytest.mark.parametrize("name", _FIRST_PAGES)
def test_sentences_of_the_first_pages_are_short(name: str) -> None:
    found = sentences(ROOT / "docs" / f"{name}.md")
    assert [sentence for sentence in found if words(sentence) > _LONGEST] == []
    running = [words(sentence) for sentence in found if sentence.endswith((".", "?", "!"))]
    assert sum(running) / len(running) < _USUAL


def test_a_long_sentence_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n- Short. {'word ' * 31}end.\n", encoding="utf-8")
    assert [words(sentence) for sentence in sentences(page)] == [1, 1, 32]


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("mkdocs") is None or find_spec("mkdocstrings") is None,
    reason="the extra `docs` is not installed",
)
def test_the_site_builds_without_a_warning_and_documents_every_public_name(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    reference = (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
    names = {name for name in leopart.__all__ if name != "__version__"}
    assert [name for name in names if f'id="leopart.{name}"' not in reference] == []
