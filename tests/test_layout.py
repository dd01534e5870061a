"""The package as a whole: which way imports point, what importing costs, what is documented."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import leopart

REPOSITORY = Path(__file__).parents[1]
SOURCE = REPOSITORY / "src" / "leopart"
MODULES = sorted(SOURCE.rglob("*.py"))


def run(code: str, folder: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(SOURCE.parent)}  # this checkout, whatever is installed
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def test_imports_point_down():
    result = run(LINT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Data flows one way KEPT" in result.stdout


def test_every_module_stands_in_the_contract():
    """A module that no layer names could import anything."""
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    named = {name.strip() for layer in contracts[0]["layers"] for name in layer.split("|")}
    there = {
        f"leopart.{path.stem}"
        for path in SOURCE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert there - named == {"leopart.__init__", "leopart.__main__"}


@pytest.mark.parametrize("statement", ["import leopart", "import leopart.cli.main"])
def test_importing_does_not_load_what_takes_seconds(statement: str):
    heavy = ("torch", "timm", "scipy")
    code = f"{statement}; import sys; print([name for name in {heavy} if name in sys.modules])"
    result = run(code)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


def test_public_names_are_there_and_are_what_they_say():
    assert sorted(leopart.__all__) == ["Backbone", "Segmenter", "__version__", "load_backbone", "view"]
    from leopart.models.backbone import Backbone, load_backbone
    from leopart.segment.segmenter import Segmenter

    assert leopart.Backbone is Backbone
    assert leopart.load_backbone is load_backbone
    assert leopart.Segmenter is Segmenter
    with pytest.raises(AttributeError, match="no attribute 'Segmentor'"):
        _ = leopart.Segmentor


def test_the_version_is_that_of_the_project():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project.get("version", leopart.__version__) == leopart.__version__


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_modules_say_what_they_are_for_and_stay_short(path: Path):
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 400
    assert path.stem not in ("utils", "helpers", "misc")


def test_no_two_classes_have_one_name():
    names = [
        node.name
        for path in MODULES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    ]
    assert sorted(names) == sorted(set(names))
