"""Where the figures of a run are written: JSON lines, TensorBoard, and Weights & Biases."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from leopart.errors import LeopartError
from leopart.files import append_text, write_text, writing

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS, _BOARD = "metrics.jsonl", "tensorboard"


class MetricsFile:
    """`metrics.jsonl`: one JSON object a line, with `step`.

    Lines of steps beyond `start`, which a run that resumes will do again, are dropped.

    Args:
        path: the file.
        start: steps done before.
    """

    def __init__(self, path: Path, start: int) -> None:
        self.path = path
        kept = [line for line in _lines(path) if start and _step_of(line, path) <= start]
        write_text(path, "".join(f"{line}\n" for line in kept))

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Append a line."""
        line = {"step": step, **{name: _short(value) for name, value in figures.items()}}
        append_text(self.path, json.dumps(line) + "\n")


def _lines(path: Path) -> list[str]:
    """Whole lines of a file that may have been cut short; none where there is no file."""
    if not path.is_file():
        return []
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot read {path}: {error}; delete it, and the curves begin again"
        raise LeopartError(message) from error
    return text[: text.rfind("\n") + 1].splitlines()


def _step_of(line: str, path: Path) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        message = f"{path} has a line that is no JSON object with a step: {line[:60]!r}; remove the line"
        raise LeopartError(message) from error


def _short(value: float) -> float:
    return float(f"{value:.6g}")


@dataclass
class Loggers:
    """Where figures and pictures of a run go.

    Attributes:
        file: see `MetricsFile`; None on all processes but the first, and where nothing is kept.
        board: TensorBoard.
        wandb: a run of Weights & Biases, where it was asked for.
    """

    file: MetricsFile | None = None
    board: SummaryWriter | None = None
    wandb: Any = None

    @classmethod
    def open(cls, run: Path, start: int, wandb_project: str | None = None) -> Loggers:
        """Loggers of a run folder that continue after step `start`.

        Raises:
            LeopartError: Weights & Biases was asked for and is not installed.
        """
        from torch.utils.tensorboard import SummaryWriter

        project = None if wandb_project is None else _open_wandb(run, wandb_project)
        # Events of steps that will be done again are taken out.
        with writing(run / _BOARD):
            board = SummaryWriter(str(run / _BOARD), purge_step=start + 1 if start else 0)
        return cls(MetricsFile(run / METRICS, start), board, project)

    def figures(self, step: int, figures: dict[str, float]) -> None:
        """Write scalars."""
        if self.file is not None:
            self.file.write(step, figures)
        if self.board is not None:
            with writing(Path(self.board.log_dir)):
                for name, value in figures.items():
                    self.board.add_scalar(name, value, step)
        if self.wandb is not None:
            self.wandb.log(figures, step=step)

    def picture(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        """Show an RGB picture [H, W, 3] in TensorBoard."""
        if self.board is not None:
            with writing(Path(self.board.log_dir)):
                self.board.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Flush everything."""
        if self.board is not None:
            with writing(Path(self.board.log_dir)):
                self.board.close()
        if self.wandb is not None:
            self.wandb.finish()


def _open_wandb(run: Path, project: str) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise LeopartError("--wandb needs a package: run `pip install wandb`, or leave it out") from error
    place = hashlib.sha256(str(run.resolve()).encode()).hexdigest()  # a resumed run continues there
    return wandb.init(project=project, dir=str(run), name=run.name, id=place[:16], resume="allow")
