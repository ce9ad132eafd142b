import json
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import get_type_hints

import pytest
import tyro
from tqdm import tqdm

from fgsn_ros import cli
from fgsn_ros.config import leaves
from fgsn_ros.errors import FgsnError, Stopped


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_help_lists_every_command_without_loading_them() -> None:
    code = (
        "import sys, time; from fgsn_ros.cli import main; assert main(['--help']) == 0; "
        "assert time.process_time() < 0.6, time.process_time(); "  # 0.1 s on a machine at rest
        "assert not {'numpy', 'torch', 'numba', 'open3d', 'tyro'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert all(name in result.stdout for name in cli.COMMANDS)


def help_of(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(*name.split(), "--help") == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_shows_at_most_ten_options_before_the_others(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(name, capsys)
    assert text.startswith(f"usage: fgsn {name} ")
    first = next(lines for lines in map(flag_lines, text.split("\n\n")) if lines)
    assert len(first) <= 10
    shown = [line.split()[0].rstrip(",") for line in first]
    assert shown == [
        "--" + option.replace("_", "-") for option in cli.COMMANDS[name].common.split()
    ]


def flag_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("  --")]


def test_the_list_of_commands_wraps_at_the_width_of_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert run("--help") == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 60


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_wraps_at_the_width_of_the_terminal(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in (60, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        words = [line for line in help_of(name, capsys).splitlines() if " " in line.strip()]
        assert max(map(len, words)) <= columns


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_names_every_option_as_it_is_given(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each default, given by its flag as the help shows it, makes the default again."""
    monkeypatch.setenv("COLUMNS", "100")
    text = help_of(name, capsys)
    shown = {word for line in flag_lines(text) for word in line.replace(",", "").split()}
    arguments = [word for flag, values in given(name) for word in (*flag, *values)]
    assert {word for flag, _ in given(name) for word in flag} <= shown
    assert cli._parse(name, arguments) == cli._parse(name, needed(name))


def needed(name: str) -> list[str]:
    return [word for flag, values in given(name, all_options=False) for word in (*flag, *values)]


def given(name: str, all_options: bool = True) -> list[tuple[list[str], list[str]]]:
    """Flag, if it has one, and values of each option: of what must be given, and of all others."""
    settings = cli._settings(name)
    hints = get_type_hints(settings, include_extras=True)
    arguments = []
    for option in leaves(cli._default(settings, None)):
        flag = "--" + option.name.replace("_", "-")
        if tyro.conf.Positional in getattr(hints.get(option.name), "__metadata__", ()):
            arguments.append(([], ["x"]))
        elif option.default is tyro.MISSING:
            arguments.append(([flag], ["x"]))
        elif all_options and option.default not in (None, ()):
            arguments.append(as_given(flag, option.default))
    return arguments


def as_given(flag: str, value: object) -> tuple[list[str], list[str]]:
    if isinstance(value, bool):
        group, dot, leaf = flag.removeprefix("--").rpartition(".")
        return [flag if value else f"--{group}{dot}no-{leaf}"], []
    values = value if isinstance(value, tuple) else (value,)
    return [flag], [str(item.value if isinstance(item, Enum) else item) for item in values]


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
        (
            ModuleNotFoundError("No module named 'h5py._hl'", name="h5py._hl"),
            "fgsn: error: training or its data needs h5py, not installed here: "
            "pip install 'fgsn_ros[train]'\n",
            2,
        ),
        (
            ModuleNotFoundError("No module named 'tyro'", name="tyro"),
            "fgsn: error: tyro is not installed: pip install tyro\n",
            2,
        ),
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
