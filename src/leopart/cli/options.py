"""From words on the command line, and an optional YAML file, to a checked configuration."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, fields
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import tyro

from leopart.cli.display import say
from leopart.cli.help import asks_for_help, show_help
from leopart.config import (
    CompareConfig,
    EvaluateConfig,
    ExportConfig,
    FigureConfig,
    LabelConfig,
    ReproduceConfig,
    RunConfig,
    TrainConfig,
    ViewConfig,
)
from leopart.config.checks import Unused
from leopart.errors import LeopartError
from leopart.files import cannot_use
from leopart.paths import clipped
from leopart.settings import option_types, updated

Config = TypeVar(
    "Config",
    bound=RunConfig
    | ExportConfig
    | EvaluateConfig
    | CompareConfig
    | FigureConfig
    | LabelConfig
    | ReproduceConfig
    | TrainConfig
    | ViewConfig,
)

_MEND = "give --config a file of `option: value` lines, like a run's config.yaml"
#: Bytes of a file of options; a hundred thousand names of photos fit.
_LARGEST = 2**24


def parse(
    config: type[Config],
    command: str,
    argv: Sequence[str],
    *,
    ignored: Sequence[str] = (),
    defaults: Mapping[str, Any] | None = None,
    renamed: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> Config:
    """The configuration that `argv` asks for; options it leaves out come from the file behind `--config`.

    Args:
        config: what the command takes.
        command: its name.
        argv: the words after it.
        ignored: options of the file that the command sets itself.
        defaults: values in place of the dataclass's own; file and command line win over them.
        renamed: brings the options of a file that an earlier version wrote to today's names.

    Raises:
        LeopartError: the file cannot be used, or a value makes no sense.
        SystemExit: help was asked for, or an option is unknown (status 2).
    """
    required = {field.name: tyro.MISSING for field in fields(config) if _is_required(field)}
    if required and not argv:
        words = " ".join(_asked_for(config, required))
        message = f"nothing to do: `leopart {command} {words}`; --help lists the options"
        raise LeopartError(message)
    given = _read_yaml(config, _config_path(argv), ignored, renamed)
    default = updated(config(**required), **(required | dict(defaults or {}) | given))
    if asks_for_help(argv):
        show_help(command, default, argv)
    parsed: Config = tyro.cli(
        config,
        prog=f"leopart {command}",
        args=_spelt_out(argv),
        default=default,
        config=(tyro.conf.PositionalMetavarFromFieldName,),
    )
    _say_out(default, argv, given)
    try:
        parsed.check()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise cannot_use(error) from error
    return parsed


def _say_out(default: Any, argv: Sequence[str], given: Mapping[str, Any]) -> None:
    """Say where a run goes if nobody named a place, since that is what it must be continued with."""
    chosen = any(
        one.name == "out" and isinstance(one.default_factory, Unused) for one in fields(type(default))
    )
    if chosen and not default.out.suffix and not names_out(argv) and "out" not in given:
        quiet = default.quiet or "--quiet" in argv
        say(f"output: {default.out}; give --out {default.out} to continue it", quiet=quiet)


def names_out(argv: Sequence[str]) -> bool:
    """Whether the words name a place for the output."""
    return any(word.partition("=")[0] == "--out" for word in argv)


def given_in_file(argv: Sequence[str], name: str) -> Any:
    """What the file behind `--config` says of one option; None where there is no file, or it is silent.

    Raises:
        LeopartError: the file cannot be read as YAML.
    """
    path = _config_path(argv)
    return None if path is None else _yaml_content(path).get(name)


def named_first(argv: Sequence[str], option: str, kind: str, form: str, known: Collection[str]) -> str:
    """The first word, which says what the others are about; or what the file behind `--config` says.

    Args:
        argv: the words after the command.
        option: its name in the file.
        kind: what it is, in messages.
        form: how the command is written.
        known: what it may be.

    Raises:
        LeopartError: there is no word, or it is none of those known.
    """
    if not argv:
        known_ones = f"the {kind}s are {', '.join(known)}, --help describes them"
        raise LeopartError(f"nothing to do: {form}; {known_ones}")
    name = given_in_file(argv, option) if argv[0].startswith("-") else argv[0]
    if name in known:
        return str(name)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there is: {', '.join(known)}"
    what = f"there is no {kind} {name!r}" if name is not None else f"{argv[0]} comes before the {kind}"
    raise LeopartError(f"{what}; {hint}")


def _spelt_out(argv: Sequence[str]) -> list[str]:
    """The words with a value behind `--adapt` that may stand alone, and for `--no-adapt`."""
    words: list[str] = []
    for word, following in zip_longest(argv, argv[1:], fillvalue=""):
        if word == "--no-adapt":
            words.append("--adapt=False")
        elif word == "--adapt" and not _is_minutes(following):
            words.append("--adapt=True")
        elif words and words[-1] == "--adapt":
            words[-1] = f"--adapt={word}"  # in one, or -1 would be taken for an option
        else:
            words.append(word)
    return words


def _is_minutes(word: str) -> bool:
    with suppress(ValueError):
        float(word)
        return True
    return word == "auto"


def _asked_for(config: type[Config], required: Iterable[str]) -> list[str]:
    """How the required options are written: `IMAGES`, `--out OUT`."""
    types = get_type_hints(config, include_extras=True)
    positional = [
        name for name in required if tyro.conf.Positional in getattr(types[name], "__metadata__", ())
    ]
    named = [name for name in required if name not in positional]
    return [name.upper() for name in positional] + [f"--{name} {name.upper()}" for name in named]


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _config_path(argv: Sequence[str]) -> Path | None:
    for index, word in enumerate(argv):
        if word == "--config" and index + 1 < len(argv):
            return Path(argv[index + 1])
        if word.startswith("--config="):
            return Path(word.removeprefix("--config="))
    return None


def _read_yaml(
    config: type[Config],
    path: Path | None,
    ignored: Sequence[str],
    renamed: Callable[[dict[str, Any]], dict[str, Any]],
) -> dict[str, Any]:
    if path is None:
        return {}
    from pydantic import TypeAdapter, ValidationError

    content = renamed(_yaml_content(path))
    types = option_types(config, bounds=False)  # `check` refuses numbers alike, wherever they come from
    values = {}
    for name, value in content.items():
        if name in ignored:
            continue
        if name not in types:
            near = difflib.get_close_matches(str(name), types, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(types)}"
            raise LeopartError(f"--config {path}: there is no option {name!r}; {hint}")
        try:
            values[name] = TypeAdapter(types[name]).validate_python(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].replace("tuple", "list")
            shown = clipped(repr(value), 200)
            raise LeopartError(f"--config {path}: {name}: {shown} does not fit: {reason}") from error
    return values


def _yaml_content(path: Path) -> dict[str, Any]:
    from leopart.documents import read_yaml

    content = read_yaml(path, object, _MEND, limit=_LARGEST)
    if not isinstance(content, dict):
        raise LeopartError(f"--config {path} must hold `option: value` lines, like a run's config.yaml")
    return content
