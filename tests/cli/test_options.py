from __future__ import annotations

from pathlib import Path

import pytest

from leopart.cli.options import parse
from leopart.config import (
    DemoConfig,
    OverclusteringConfig,
    PredictConfig,
    SegmentConfig,
    TrainingFigureConfig,
)
from leopart.errors import LeopartError


@pytest.fixture
def yaml_file(tmp_path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "options.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_two_words_are_enough():
    config = parse(SegmentConfig, "segment", ["photos", "--out", "out"])

    assert config == SegmentConfig(images=(Path("photos"),), out=Path("out"))


def test_every_option_of_segment_reaches_the_configuration():
    words = (
        "a b.jpg --out o --no-overlays --device cuda:1 --batch-size 4 --quiet --backbone x.safetensors "
        "--adapt 2.5 "
        "--size 224 --keep-aspect --parts 7 --objects 3 --foreground 0.25 --communities map-equation "
        "--precision fp16 --features f --seed 5"
    )
    config = parse(SegmentConfig, "segment", words.split())

    assert config == SegmentConfig(
        images=(Path("a"), Path("b.jpg")),
        out=Path("o"),
        overlays=False,
        device="cuda:1",
        batch_size=4,
        quiet=True,
        backbone="x.safetensors",
        adapt=2.5,
        size=224,
        keep_aspect=True,
        parts=7,
        objects=3,
        foreground=0.25,
        communities="map-equation",
        precision="fp16",
        features=Path("f"),
        seed=5,
    )


def test_predict_takes_the_segmenter_first():
    config = parse(PredictConfig, "predict", ["seg", "a.jpg", "b", "--out", "o"])

    assert config == PredictConfig(segmenter=Path("seg"), images=(Path("a.jpg"), Path("b")), out=Path("o"))


def test_every_option_of_evaluate_reaches_the_configuration():
    words = (
        "overclustering --data folder:d --out o.json --backbone b --masks m --split val "
        "--ignore horse mountain --k 21 100 --seeds 3 --size 224 --eval-size 50 --features 8 "
        "--normalise --precision fp16 --device cuda:1 --batch-size 4 --quiet"
    )
    assert parse(OverclusteringConfig, "evaluate", words.split()) == OverclusteringConfig(
        task="overclustering",
        data="folder:d",
        out=Path("o.json"),
        backbone="b",
        masks="m",
        split="val",
        ignore=("horse", "mountain"),
        k=(21, 100),
        seeds=3,
        size=224,
        eval_size=50,
        features=8,
        normalise=True,
        precision="fp16",
        device="cuda:1",
        batch_size=4,
        quiet=True,
    )


def test_figure_takes_its_name_and_the_run_first():
    config = parse(
        TrainingFigureConfig, "figure training", ["training", "run", "--out", "o", "--milliseconds", "90"]
    )

    assert config == TrainingFigureConfig(name="training", run=Path("run"), out=Path("o"), milliseconds=90)


def test_demo_needs_no_word_at_all():
    assert parse(DemoConfig, "demo", []) == DemoConfig()


@pytest.mark.parametrize("word", ["auto", "none"])
def test_foreground_takes_words_and_numbers(word):
    assert parse(DemoConfig, "demo", ["--foreground", word]).foreground == word


@pytest.mark.parametrize(
    ("words", "minutes"),
    [
        ("photos --out o", False),
        ("photos --out o --adapt", True),
        ("--adapt photos --out o", True),
        ("photos --adapt --out o", True),
        ("photos --out o --adapt 5", 5.0),
        ("photos --adapt 0.5 --out o", 0.5),
        ("photos --out o --adapt=7", 7.0),
        ("photos --out o --adapt auto", "auto"),
        ("--no-adapt photos --out o", False),
    ],
)
def test_adapt_takes_minutes_or_stands_alone(words, minutes):
    config = parse(SegmentConfig, "segment", words.split())

    assert (config.adapt, type(config.adapt)) == (minutes, type(minutes))
    assert config.images == (Path("photos"),)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("5", 5.0), ("0.5", 0.5), ("1", 1.0), ("true", True), ("false", False), ("auto", "auto")],
)
def test_a_file_gives_adapt_as_minutes_or_yes_or_no(yaml_file, text, minutes):
    path = str(yaml_file(f"adapt: {text}\n"))
    adapt = parse(SegmentConfig, "segment", ["photos", "--out", "o", "--config", path]).adapt

    assert (adapt, type(adapt)) == (minutes, type(minutes))


@pytest.mark.parametrize("words", ["--adapt -1", "--adapt=-1", "--adapt 0"])
def test_minutes_that_make_no_sense_are_refused_in_one_sentence(words):
    with pytest.raises(LeopartError, match="--adapt must be auto or above 0, got"):
        parse(SegmentConfig, "segment", ["photos", "--out", "o", *words.split()])


@pytest.mark.parametrize(
    ("config", "command", "says"),
    [
        (SegmentConfig, "segment", "`leopart segment IMAGES`"),
        (PredictConfig, "predict", "`leopart predict SEGMENTER IMAGES`"),
        (OverclusteringConfig, "evaluate", "`leopart evaluate TASK --data DATA`"),
        (TrainingFigureConfig, "figure", "`leopart figure NAME RUN`"),
    ],
)
def test_without_any_word_the_command_says_what_to_give(config, command, says):
    with pytest.raises(LeopartError, match=says):
        parse(config, command, [])


@pytest.mark.parametrize(
    ("config", "words"), [(SegmentConfig, ["--out", "o"]), (PredictConfig, ["seg", "--out", "o"])]
)
def test_missing_photos_are_asked_for(config, words):
    with pytest.raises(LeopartError, match="no photos are given: name their folder"):
        parse(config, "segment", words)


def test_only_the_missing_option_is_asked_for(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(PredictConfig, "predict", ["--out", "o"])

    message = capsys.readouterr().err
    assert caught.value.code == 2
    assert "SEGMENTER" in message
    assert "--device" not in message


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--part", "6"], "--part"),
        (["--parts", "many"], "--parts"),
        (["--precision", "bf8"], "--precision"),
        (["--size"], "--size"),
        (["--config"], "--config"),
    ],
)
def test_what_cannot_be_parsed_is_named_and_exits_with_2(capsys, words, named):
    with pytest.raises(SystemExit) as caught:
        parse(SegmentConfig, "segment", ["photos", "--out", "o", *words])

    assert caught.value.code == 2
    assert named in capsys.readouterr().err


def test_a_value_that_makes_no_sense_is_refused_in_one_sentence():
    with pytest.raises(LeopartError, match="--size must be at least 1, got 0"):
        parse(SegmentConfig, "segment", ["photos", "--out", "o", "--size", "0"])


@pytest.mark.parametrize("form", ["--config {}", "--config={}"])
def test_a_file_gives_options_and_the_command_line_wins(yaml_file, form):
    path = yaml_file("images: [a, b]\nout: o\nsize: 64\nparts: 9\nforeground: none\nfeatures: null\n")
    words = form.format(path).split()

    config = parse(SegmentConfig, "segment", [*words, "--parts", "3"])
    assert config == SegmentConfig(
        images=(Path("a"), Path("b")),
        out=Path("o"),
        size=64,
        parts=3,
        foreground="none",
        config=path,
    )
    assert parse(SegmentConfig, "segment", ["c", *words]).images == (Path("c"),)


def test_a_file_may_leave_out_what_the_command_line_gives(yaml_file):
    config = parse(
        SegmentConfig, "segment", ["photos", "--config", str(yaml_file("seed: 3\n")), "--out", "o"]
    )

    assert (config.seed, config.images, config.out) == (3, (Path("photos"),), Path("o"))


def test_values_from_a_file_are_checked_like_words(yaml_file):
    with pytest.raises(LeopartError, match="--parts must be auto or from 1 to 2000, got 0"):
        parse(SegmentConfig, "segment", ["photos", "--out", "o", "--config", str(yaml_file("parts: 0"))])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sise: 64\n", r"there is no option 'sise'; did you mean size\?"),
        ("qqqqqq: 64\n", r"there is no option 'qqqqqq'; known: .*size"),
        ("3: 64\n", r"line 1, column 1: the key 3 is no text"),
        ("images: [a]\n", None),
        ("size: large\n", r"size: 'large' does not fit: .*valid integer"),
        ("parts: [1]\n", r"parts: \[1\] does not fit: "),
        ("images: photos\n", r"images: 'photos' does not fit: .*list"),
        ("precision: bf8\n", r"precision: 'bf8' does not fit: .*'fp32'"),
        ("- size\n- 64\n", r"must hold `option: value` lines"),
        ("", r"must hold `option: value` lines"),
        ("size: [64\n", r"is not YAML: "),
        ("a: !!python/object/apply:os.system ['true']\n", r"is not YAML: "),
        (b"size: \xff\xfe\n", r"not UTF-8 from byte 7 on"),
        ("size: 1\nsize: 2\n", r"line 2, column 1: the key 'size' comes twice"),
        ("seed: 2024-01-31\n", r"seed: '2024-01-31' does not fit"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence_that_names_it(yaml_file, text, says):
    path = yaml_file(text)
    words = ["photos", "--out", "o", "--config", str(path)]
    if says is None:
        parse(SegmentConfig, "segment", words)
        return
    with pytest.raises(LeopartError, match=says) as caught:
        parse(SegmentConfig, "segment", words)

    assert str(path) in str(caught.value)
    assert "--config" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "reason"), [("absent.yaml", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, reason):
    path = tmp_path / name
    with pytest.raises(LeopartError, match=f"cannot read {path}: {reason}.*; give --config a file"):
        parse(SegmentConfig, "segment", ["photos", "--out", "o", "--config", str(path)])


def test_options_that_a_command_sets_itself_are_passed_over(yaml_file):
    path = yaml_file("images: [a]\nsize: 64\n")

    assert parse(DemoConfig, "demo", ["--config", str(path)], ignored=("images",)).size == 64
    with pytest.raises(LeopartError, match="there is no option 'images'"):
        parse(DemoConfig, "demo", ["--config", str(path)])
