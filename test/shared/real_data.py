"""Where the real recordings are, on machines that have them."""

import os
from pathlib import Path

import pytest


def real_data(name: str = "") -> Path:
    """The folder of the recordings, or one in it; the test is skipped where it is not."""
    root = Path(os.environ.get("FGSN_DATA", Path(__file__).parents[2] / "../shared/data"))
    if not (root / name).is_dir():
        pytest.skip("the real recordings are not on this machine")
    return (root / name).resolve()
