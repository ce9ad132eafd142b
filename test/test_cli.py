import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tqdm import tqdm

from fgsn_ros import cli
from fgsn_ros.errors import FgsnError, Stopped


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_help_lists_every_command_without_loading_them() -> None:
    code = (
        "import sys, time; from fgsn_ros.cli import main; assert main(['--help']) == 0; "
        "assert not {'torch', 'numba', 'open3d', 'matplotlib'} & set(sys.modules)"
    )
    began = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert time.perf_counter() - began < 5.0
    assert all(name in result.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        cli.main([*name.split(), "--help"])
    assert exited.value.code == 0
    assert f"fgsn {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["fly"], ["simulate"], ["simulate", "boat"], [""]])
def test_an_unknown_command_ends_in_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("fgsn: error: no command")
    assert error.count("\n") == 1


def trajectory(path: Path, x_m: float = 0.0) -> Path:
    path.write_text("".join(f"{t / 10} {x_m + t} 0 0 0 0 0 1\n" for t in range(20)))
    return path


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (KeyboardInterrupt(), "fgsn: interrupted\n", 130),
        (MemoryError(), "fgsn: error: out of memory", 2),
        (RuntimeError("CUDA out of memory. Tried"), "fgsn: error: out of GPU memory", 2),
        (OSError(28, "No space left on device", "/disk/x"), "fgsn: error: /disk/x: No space", 2),
        (OSError(28, "No space left on device", b"/disk/x"), "fgsn: error: /disk/x: No space", 2),
        (ModuleNotFoundError("No module named 'h5py'"), "fgsn: error: No module named 'h5py'", 2),
    ],
)
def test_what_stops_a_command_ends_it_in_one_line(
    error: BaseException,
    line: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(path: Path) -> None:
        raise error

    monkeypatch.setattr("fgsn_ros.commands.evaluate.read_tum", fail)
    assert run("evaluate", tmp_path / "a", tmp_path / "b") == code
    message = capsys.readouterr().err
    assert message.startswith(line)
    assert message.count("\n") == 1


def test_an_error_of_the_program_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr("fgsn_ros.commands.evaluate.read_tum", fail)
    with pytest.raises(RuntimeError, match="a mistake"):
        run("evaluate", "a", "b")


def test_flags_override_the_settings_file(tmp_path: Path) -> None:
    estimate = trajectory(tmp_path / "estimate.tum", 0.5)
    reference = trajectory(tmp_path / "reference.tum")
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"skip_s: 1\noutput: {tmp_path / 'from_file'}\n")

    output = tmp_path / "from_flag"
    assert run("evaluate", estimate, reference, "--config", settings, "--output", output) == 0

    assert not (tmp_path / "from_file").exists()
    assert (output / "metrics.json").exists()
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["localized"]["frames"] == 10


def test_required_values_may_come_from_the_settings_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.yaml"
    trajectory(tmp_path / "a.tum")
    settings.write_text(f"estimate: {tmp_path / 'a.tum'}\nreference: {tmp_path / 'a.tum'}\n")
    assert run("evaluate", f"--config={settings}") == 0
    assert "position [m]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("skip: 1\n", "unknown setting 'skip'"),
        ("skip_s: soon\n", "skip_s: 'soon' is not float"),
        ("- 1\n", "no mapping"),
        ("a: [\n", "cannot read settings"),
    ],
)
def test_a_wrong_settings_file_ends_in_one_line(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(content)
    assert run("evaluate", "a", "b", "--config", settings) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_training_that_was_asked_to_stop_says_so_and_exits_as_the_signal_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: list[str]) -> None:
        raise Stopped("stopped after step 5; --resume continues", 15)

    monkeypatch.setattr(cli, "_run", stop)
    assert run("train") == 143
    assert capsys.readouterr().err == "fgsn: stopped after step 5; --resume continues\n"


def test_an_error_has_its_own_line_below_a_progress_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []  # as a reference cycle keeps it

    def fail_halfway(_: list[str]) -> None:
        bar = iter(tqdm(range(2)))
        next(bar)
        kept.append(bar)
        raise FgsnError("it broke")

    monkeypatch.setattr(cli, "_run", fail_halfway)
    assert run("demo") == 2
    assert capsys.readouterr().err.splitlines()[-1] == "fgsn: error: it broke"
