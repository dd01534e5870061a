"""`constraints.txt` pins all that `pyproject.toml` asks for, within its bounds, and no build or platform."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
ASKED = [
    Requirement(line)
    for lines in (
        PROJECT["dependencies"],
        *map(PROJECT["optional-dependencies"].get, PROJECT["optional-dependencies"]),
    )
    for line in lines
    if not line.startswith("leopart")
]
NOT_NEEDED_TO_RUN = {"detect-secrets", "mkdocs-material", "mkdocstrings", "mypy", "pre-commit", "ruff"}


def pins() -> dict[str, Requirement]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in found}


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_what_is_asked_for_is_pinned_within_its_bounds(asked: Requirement):
    name = canonicalize_name(asked.name)
    if name in NOT_NEEDED_TO_RUN or name.startswith("types-"):
        pytest.skip("a tool of developers, always the newest")
    (pin,) = pins()[name].specifier
    assert pin.operator == "=="
    assert asked.specifier.contains(pin.version)


def test_processor_and_card_are_left_open():
    """A CPU build of torch must fit, and its own packages for a GPU come with it."""
    for name, requirement in pins().items():
        (pin,) = requirement.specifier
        assert "+" not in pin.version
        assert not name.startswith(("nvidia-", "cuda-", "triton"))
    assert pins()["torch"].specifier.contains(f"{next(iter(pins()['torch'].specifier)).version}+cpu")
