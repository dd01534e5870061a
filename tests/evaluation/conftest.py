from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    folder = Path(os.environ.get("LEOPART_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden"))
    if not folder.is_dir():
        pytest.skip("no golden vectors here; set LEOPART_GOLDEN to their folder")
    return folder
