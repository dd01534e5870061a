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
    names = (
        "Backbone LeopartError NotFittedError PhotoFeatures Recipe Scores Segmentation Segmenter __version__ "
        "adapt datasets evaluate extract kmeans load_backbone overcluster train view"
    )
    assert sorted(leopart.__all__) == names.split()
    assert dir(leopart) == sorted(leopart.__all__)
    assert all(getattr(leopart, name).__doc__ for name in leopart.__all__)
    from leopart.models.backbone import Backbone, load_backbone
    from leopart.segment.segmenter import Segmenter

    assert leopart.Backbone is Backbone
    assert leopart.load_backbone is load_backbone
    assert leopart.Segmenter is Segmenter
    with pytest.raises(AttributeError, match="no attribute 'Segmentor'"):
        _ = leopart.Segmentor


def test_editors_see_the_types_of_the_public_names():
    """What is imported for type checkers is what is handed out, name by name."""
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    (checked,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in checked.body
        for alias in node.names
    }
    assert imported | {"datasets": "leopart.datasets"} == leopart._PLACES
    assert (SOURCE / "py.typed").is_file()


def test_importing_takes_less_than_a_fifth_of_a_second():
    """The least of three: another process may be busy meanwhile."""
    code = "import time; start = time.perf_counter(); import leopart; print(time.perf_counter() - start)"
    assert min(float(run(code).stdout) for _ in range(3)) < 0.2


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
