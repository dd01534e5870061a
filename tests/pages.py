"""The documents as tests read them: their code blocks, commands, options, headings and links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "results").glob("*.md"))
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def name_of(document: Path) -> str:
    """Where the document is, as test ids show it."""
    return document.relative_to(ROOT).as_posix()


def fences(document: Path) -> Iterator[tuple[str, str]]:
    """Language ("" where none is given) and content of every fenced code block."""
    yield from _FENCE.findall(document.read_text(encoding="utf-8"))


def blocks(document: Path, *languages: str) -> Iterator[str]:
    """Contents of the fenced code blocks in one of the languages."""
    return (content for language, content in fences(document) if language in languages)


def prose(document: Path) -> str:
    """The document without its code blocks."""
    return _FENCE.sub("", document.read_text(encoding="utf-8"))


def command_lines(document: Path) -> list[list[str]]:
    """Words of every command in the document, without prompts and comments; continued lines are joined."""
    console = [line for block in blocks(document, "console") for line in block.splitlines()]
    lines = [line.removeprefix("$ ") for line in console if line.startswith("$ ")]
    for block in blocks(document, "bash"):
        lines += block.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def anchors(document: Path) -> set[str]:
    """Anchors of the headings, those that both GitHub and the documentation site give them."""
    titles = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles]
    on_github = {re.sub(r"\s", "-", title) for title in plain}
    return on_github & {re.sub(r"[\s-]+", "-", title) for title in plain}


def links(document: Path) -> list[tuple[str, str]]:
    """Path and anchor of every link and picture that does not lead to another site."""
    targets = re.findall(r"\]\(\s*([^)\s]+)\s*\)", prose(document))
    inner = [target.partition("#") for target in targets if not target.startswith(("https://", "http://"))]
    return [(path, anchor) for path, _, anchor in inner]
