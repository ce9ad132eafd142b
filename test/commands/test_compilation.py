import numba
import pytest

from fgsn_ros.commands.compilation import compilation_said


def test_compiling_is_said_once_and_only_when_it_happens(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @numba.njit
    def added(first: float, second: float) -> float:
        return first + second

    with compilation_said(about_s=3):
        assert added(1.0, 2.0) == 3.0
        assert added(1, 2) == 3  # other types: compiled again
    assert capsys.readouterr().err.count("compiling kernels for this machine, about 3 s") == 1
    with compilation_said(about_s=3):
        assert added(1.0, 2.0) == 3.0
    assert capsys.readouterr().err == ""
