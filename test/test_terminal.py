"""What commands say is safe for a terminal, and they end in order when they are told to."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fgsn_ros import cli
from fgsn_ros.errors import FgsnError, one_line
from fgsn_ros.outputs import Layout, whole_folder
from fgsn_ros.terminal import say


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain, ä, 地図", "plain, ä, 地図"),
        ("two\nlines\r\n and\ta tab ", "two lines and a tab"),
        ("\x1b[2Jclear", r"\x1b[2Jclear"),
        ("a\x00b\x07c\x7fd\x9b31m", r"a\x00b\x07c\x7fd\x9b31m"),
        ("abc\u202edef\u2066\u200b", r"abc\u202edef\u2066\u200b"),
        ("\udc80\ud800", r"\udc80\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_a_line_holds_nothing_that_commands_a_terminal(text: str, line: str) -> None:
    assert one_line(text) == line
    assert str(FgsnError(text)) == line


def test_a_long_line_keeps_its_beginning_and_its_end() -> None:
    line = one_line("cannot read " + "\x1b" * 10_000_000 + "; give another file")
    assert len(line) <= 1200
    assert line.startswith(r"cannot read \x1b\x1b")
    assert line.endswith("; give another file")
    assert one_line("x" * 100, longest=30) == "x" * 15 + " ... " + "x" * 10


def test_what_is_printed_keeps_its_lines_and_its_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say("class   IoU\n\x1b[31mroad  0.5")
    assert capsys.readouterr().out == "class   IoU\n\\x1b[31mroad  0.5\n"


def test_warnings_and_errors_are_escaped_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def warn_and_fail(_: list[str]) -> None:
        logging.getLogger("fgsn_ros.somewhere").warning("bag \x1b[2J\n%s: odd", "topic")
        raise FgsnError("topic '\x1b]0;title\x07'" + "y" * 100_000)

    monkeypatch.setattr(cli, "_run", warn_and_fail)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's
    for _ in range(2):  # a second run says nothing twice
        assert cli.main(["map"]) == 2
        first, second = capsys.readouterr().err.splitlines()
        assert first == r"fgsn: warning: bag \x1b[2J topic: odd"
        assert second.startswith(r"fgsn: error: topic '\x1b]0;title\x07'yyy")
        assert len(second) < 1300


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_with_one_line_and_no_temporary_folder(
    number: signal.Signals,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def work(_: list[str]) -> None:
        with whole_folder(tmp_path / "map", Layout("meta.json", "", ())) as folder:
            (folder / "half").touch()
            try:
                os.kill(os.getpid(), number)
                time.sleep(60)
            finally:
                os.kill(os.getpid(), number)  # as a closing terminal repeats it
                time.sleep(0.01)

    monkeypatch.setattr(cli, "_run", work)
    before = signal.signal(number, signal.SIG_DFL)
    try:
        assert cli.main(["map"]) == 128 + number
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert capsys.readouterr().err == f"fgsn: stopped by {number.name}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_run", lambda _: os.kill(os.getpid(), signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        assert cli.main(["map"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_command_runs_in_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(cli, "_run", lambda _: None)
    thread = threading.Thread(target=lambda: codes.append(cli.main(["map"])))
    thread.start()
    thread.join()
    assert codes == [0]


def fgsn(*words: str, **streams: object) -> "subprocess.CompletedProcess[str]":
    code = "import sys; from fgsn_ros.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, text=True, stderr=subprocess.PIPE, **streams)  # type: ignore[call-overload, no-any-return]


def test_a_reader_that_leaves_ends_a_command_in_silence() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = fgsn("--help", stdout=writing)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (2, "")


def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        ended = fgsn("--help", stdout=full)
    assert (ended.returncode, ended.stderr) == (2, "fgsn: error: No space left on device\n")


def test_text_that_standard_output_cannot_encode_is_escaped() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    code = (
        "from fgsn_ros import cli, terminal\n"
        "cli._run = lambda words: terminal.say('f\\u00fcr \\udc80')\n"
        "raise SystemExit(cli.main(['map']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "f\\xfcr \\udc80\n", "")


def test_a_command_without_standard_streams_runs() -> None:
    code = "import sys; from fgsn_ros.cli import main; sys.exit(main(['--help']))"
    shell = ["sh", "-c", 'exec "$0" "$@" >&- 2>&-', sys.executable, "-c", code]
    assert subprocess.run(shell).returncode == 0
