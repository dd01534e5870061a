"""`leopart completion`: the script of bash, asked as bash asks it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from leopart.cli.completion import options_of
from leopart.cli.main import COMMANDS


def completed(script: str, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    line = " ".join(f"'{word}'" for word in ("leopart", *words))
    asked = f"COMP_WORDS=({line}); COMP_CWORD={len(words)}; _leopart; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", script + asked], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_and_their_options(run):
    script = run("completion", "bash").out
    assert completed(script, "") == list(COMMANDS)
    assert completed(script, "pre") == ["predict"]
    assert completed(script, "segment", "--obj") == ["--objects", "--objects-by"]
    assert completed(script, "label", "x", "--na") == ["--name"]
    assert completed(script, "train", "quick", "--help") == ["--help", "--help-all"]
    assert completed(script, "segment", "--prototypes") == []
    assert completed(script, "train", "--prototypes") == ["--prototypes"]


def test_positional_words_are_no_options():
    assert "--images" not in options_of("segment")
    assert "--out" not in options_of("label")
    assert {"--out", "--from"} <= {*options_of("predict"), *options_of("label")}
    assert options_of("weights") == []


def test_fish_and_zsh_have_a_script_and_others_are_refused(run):
    fish = run("completion", "fish").out
    assert "-n '__fish_seen_subcommand_from segment' -l objects\n" in fish
    assert all(f"-f -a {command} -d '" in fish for command in COMMANDS)
    assert run("completion", "bash").out in run("completion", "zsh").out
    assert run("completion", "tcsh").lines == [
        "leopart: there is no completion for tcsh; there is: bash, zsh, fish"
    ]
    assert run("completion", "--help").out.startswith("usage: leopart completion")
