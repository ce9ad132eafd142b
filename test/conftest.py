"""What all tests share."""

import sys

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Random numbers of PyTorch are the same in every run of a test, those of its fixtures too."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
