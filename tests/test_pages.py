"""The documents are whole: links and anchors lead somewhere, options exist, pages are in the navigation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from leopart.cli.main import COMMANDS
from pages import DOCUMENTS, ROOT, anchors, fences, links, name_of, prose

#: Options of other programs that the documents name.
_OF_OTHERS = {"--ntasks", "--ntasks-per-node", "--nproc-per-node", "--shm-size"}

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)


@each_document
def test_every_link_and_anchor_leads_somewhere(document: Path) -> None:
    for path, anchor in links(document):
        target = document.parent / path if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_an_anchor_is_known_by_its_heading_and_not_by_a_comment_in_code(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# The `auto` choice\n\n```bash\n# not a heading\n```\n\n## One - two\n", encoding="utf-8"
    )
    assert anchors(page) == {"the-auto-choice"}  # GitHub and the site disagree about the other


@each_document
def test_lines_outside_tables_are_short_enough_to_read(document: Path) -> None:
    lines = document.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


@each_document
def test_code_that_could_be_checked_says_its_language(document: Path) -> None:
    for language, content in fences(document):
        assert language in ("", "bash", "bibtex", "console", "python", "text"), language
        if language in ("", "text"):
            assert not re.search(r"^(leopart|pip|make|import|from) ", content, re.MULTILINE), content


@each_document
def test_every_option_and_command_in_the_prose_exists(document: Path) -> None:
    text = re.sub(r"\s+", " ", prose(document))
    for command in re.findall(r"`leopart ([a-z][\w-]*)", text):
        assert command in COMMANDS
    named = re.findall(r"`(--[a-z][\w-]*)", text)
    for span in re.findall(r"`leopart ([^`]*)`", text):
        named += re.findall(r"(?<!\S)--[a-z][\w-]*", span)
    assert set(named) - known_options() - _OF_OTHERS == set()


def known_options() -> set[str]:
    """Options in the tables of `docs/cli.md`, which another test compares with the program."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`--[^|]*) \|", text, re.MULTILINE)
    return {option for row in rows for option in re.findall(r"--[\w-]+", row)} | {
        "--help",
        "--help-all",
        "--version",
        "--presets",
    }


def test_every_page_is_in_the_navigation_once() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    pages = list(pages_in(settings["nav"]))
    assert sorted(pages) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def pages_in(entry: Any) -> Iterator[str]:
    """Files of a navigation, at any depth."""
    if isinstance(entry, str):
        yield entry
    else:
        for part in entry.values() if isinstance(entry, dict) else entry:
            yield from pages_in(part)


def test_pages_of_the_site_link_to_pages_of_the_site_only() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        for path, _anchor in links(page):
            assert (page.parent / path).resolve().is_relative_to(ROOT / "docs"), f"{page.name}: {path}"


def test_the_architecture_names_files_and_functions_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| `([\w/]+\.py)`(?:: ((?:`[\w.]+`(?:, )?)+))? \|", text)
    assert len(rows) > 20
    for path, names in rows:
        tree = ast.parse((ROOT / "src" / "leopart" / path).read_text(encoding="utf-8"))
        assert set(re.findall(r"`([\w.]+)`", names)) <= set(defined(tree)), path


def defined(tree: ast.Module) -> Iterator[str]:
    """Functions, classes and their methods."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef))


@each_document
def test_every_test_that_a_page_names_exists(document: Path) -> None:
    named = re.findall(r"`(tests/[\w./]+)", document.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []
