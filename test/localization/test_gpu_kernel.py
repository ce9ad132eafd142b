"""The GPU's kernel against the plain one, in Triton's interpreter, and compiled without a GPU."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

try:
    TRITON = tuple(map(int, importlib.metadata.version("triton").split(".")[:2]))
except importlib.metadata.PackageNotFoundError:
    TRITON = (0, 0)
pytestmark = pytest.mark.skipif(TRITON == (0, 0), reason="Triton comes with PyTorch for CUDA")
SCRIPTS = Path(__file__).parents[1] / "shared"


def output_of(script, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, SCRIPTS / script, *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_interpreted_kernel_and_numpy_agree_for_few_labels_and_many(tmp_path):
    output_of("interpret_gpu_kernel.py", tmp_path / "scores.npz", TRITON_INTERPRET="1")
    scores = np.load(tmp_path / "scores.npz")
    for labels in (20, 300):
        found, plain = scores[f"found_{labels}"], scores[f"plain_{labels}"]
        assert np.abs(plain).max() > 1.0
        np.testing.assert_allclose(found, plain, atol=1e-4)


@pytest.mark.skipif(TRITON < (3, 3), reason="older versions are asked to compile in other ways")
def test_the_kernel_compiles_for_a_gpu_that_is_not_there():
    assert output_of("compile_gpu_kernel.py", 80).split() == ["ld.global", "st.global"]
