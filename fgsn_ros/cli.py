"""The command line: `fgsn COMMAND ...`, settings from `--config file.yaml` overridden by flags."""

import dataclasses
import importlib
import os
import shutil
import sys
import textwrap
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

from fgsn_ros.caches import provide
from fgsn_ros.commands.paths import check_inputs
from fgsn_ros.config import load_yaml, missing_module, override, require
from fgsn_ros.errors import FgsnError, Stopped
from fgsn_ros.terminal import (
    Terminated,
    complain,
    end_output,
    end_progress_bars,
    orderly_end,
    prepare_streams,
    say,
    warnings_said,
)


@dataclass(frozen=True)
class Command:
    """Where a command is, and what of it is said first."""

    module: str
    """of fgsn_ros.commands"""
    settings: str
    """name of its dataclass there"""
    summary: str
    common: str
    """options that people use, ten at most: `--help` shows them first"""


COMMANDS = {
    "simulate drive": Command(
        "simulate",
        "SimulateDrive",
        "drive through a simulated town, to a rosbag2",
        "output town_seed season drive_seed duration_s rate_hz width height overwrite",
    ),
    "simulate correspondences": Command(
        "simulate",
        "SimulateCorrespondences",
        "simulated drives in several seasons, to training data",
        "output first_town towns validation_towns seasons length_m points seed",
    ),
    "correspondences": Command(
        "correspondences",
        "Correspondences",
        "recordings, of one or several seasons, to training data",
        "output poses overwrite recording.first recording.last recording.image_topics "
        "recording.ground_truth_topic pairs.max_points",
    ),
    "train": Command(
        "train",
        "Train",
        "train a network, to a checkpoint",
        "data output objective init architecture label_count iterations batch_size device resume",
    ),
    "teach": Command(
        "teach",
        "Teach",
        "raw recordings of several seasons, to a network and a map",
        "init train output rounds resume start.pose recording.image_topics "
        "recording.odometry_topic segmenter.device",
    ),
    "poses": Command(
        "poses",
        "Poses",
        "raw recordings with odometry, to poses in one frame",
        "output overwrite recording.first recording.last recording.image_topics "
        "recording.odometry_topic poses.keyframes.spacing_m poses.keyframes.turn_deg",
    ),
    "map": Command(
        "map",
        "Map",
        "recording or COLMAP model, and checkpoint, to a labelled map",
        "checkpoint output colmap add map start.pose overwrite recording.poses "
        "recording.image_topics segmenter.device",
    ),
    "localize": Command(
        "localize",
        "Localize",
        "localize a recording on a map, with a report",
        "map checkpoint output reference start.pose start.std_m view overwrite "
        "recording.image_topics recording.odometry_topic",
    ),
    "locate": Command(
        "locate",
        "Locate",
        "single images on a map, to poses",
        "map checkpoint output camera images overwrite locator.consistency.method "
        "recording.image_topics segmenter.device",
    ),
    "evaluate": Command(
        "evaluate", "Evaluate", "compare two trajectories", "output skip_s overwrite"
    ),
    "evaluate images": Command(
        "evaluate_images",
        "EvaluateImages",
        "recall of located images by condition",
        "centres output overwrite",
    ),
    "evaluate segmentation": Command(
        "evaluate_segmentation",
        "EvaluateSegmentation",
        "compare label images with class images",
        "class_names ignore label_suffix class_suffix output overwrite",
    ),
    "segment": Command(
        "segment",
        "Segment",
        "label images, a video or a recording",
        "checkpoint output full_resolution crop overlays video overwrite "
        "recording.image_topics segmenter.device segmenter.stride",
    ),
    "export": Command(
        "export",
        "Export",
        "write a network as ONNX: for a robot, TensorRT and other runtimes",
        "checkpoint output height width stride overwrite",
    ),
    "demo": Command(
        "demo",
        "Demo",
        "map a simulated town in summer, localize in winter",
        "output view checkpoint season duration_s town_seed seed start.offset_m "
        "start.offset_deg overwrite",
    ),
}
"""Commands by their words."""

_NO_MEMORY = ("can't allocate memory", "bad_alloc", "Failed to allocate memory")
"""How PyTorch and ONNX Runtime say so, of the CPU's."""

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_SIGNAL = 128
"""To which a signal's number is added, as shells do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors that a user can act on become one line on stderr and exit code 2."""
    # numba finds the older TBB that open3d brings, and takes another threading layer
    warnings.filterwarnings("ignore", message="The TBB threading layer requires")
    provide("MPLCONFIGDIR")
    prepare_streams()
    with warnings_said(), orderly_end():
        message, exit_code = _attempt(list(sys.argv[1:] if arguments is None else arguments))
        end_progress_bars()
        if message:
            complain(message)
        with suppress(OSError):  # said already, or nobody listens
            end_output()
        return exit_code


def _attempt(arguments: list[str]) -> tuple[str, int]:
    """Run one command; what to report, empty if all went well, and the exit code."""
    try:
        _run(arguments)
        end_output()
    except Terminated as signalled:
        return str(signalled), EXIT_SIGNAL + signalled.number
    except KeyboardInterrupt:
        return "interrupted", EXIT_INTERRUPTED
    except Stopped as stopped:
        return str(stopped), EXIT_SIGNAL + stopped.signal_number
    except FgsnError as error:
        return f"error: {error}", EXIT_ERROR
    except MemoryError:
        return "error: out of memory; give it less at once", EXIT_ERROR
    except RuntimeError as error:
        message = _out_of_memory(error)
        if not message:
            raise
        return message, EXIT_ERROR
    except ModuleNotFoundError as error:
        return f"error: {missing_module(error.name or str(error))}", EXIT_ERROR
    except ValueError as error:
        if "null byte" not in str(error):
            raise
        return "error: a path holds a NUL character", EXIT_ERROR
    except BrokenPipeError:
        return "", EXIT_ERROR  # whoever read the output has left
    except OSError as error:
        name = error.filename
        name = os.fsdecode(name) if isinstance(name, bytes) else name
        return f"error: {f'{name}: ' if name else ''}{error.strerror or error}", EXIT_ERROR
    return "", 0


def _out_of_memory(error: RuntimeError) -> str:
    """What to say if memory is what PyTorch or ONNX Runtime lacked; empty if it is not."""
    text = str(error)
    if "out of memory" in text:
        return "error: out of GPU memory; give it less at once"
    if any(words in text for words in _NO_MEMORY):
        return "error: out of memory; give it less at once"
    return ""


def _run(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help"):
        say(_usage())
        return
    if arguments[0] == "--version":
        say(_version())
        return
    if arguments[0] == "simulate" and arguments[1:2] in (["-h"], ["--help"]):
        say(_usage())
        return
    name = _command_name(arguments)
    flags = arguments[len(name.split()) :]
    if {"-h", "--help"} & set(flags):
        from fgsn_ros.command_help import help_page

        say(help_page(name, _default(_settings(name), None), COMMANDS[name].common.split()))
        return
    command = _parse(name, flags)
    check_inputs(command)
    command.run()


def _version() -> str:
    from importlib.metadata import version

    return f"fgsn_ros {version('fgsn_ros')}"


def _usage() -> str:
    longest = max(len(name) for name in COMMANDS)
    columns = max(2 * longest, shutil.get_terminal_size().columns)
    lines = {f"  {name:<{longest}}  ": command.summary for name, command in COMMANDS.items()}
    commands = (
        textwrap.fill(summary, columns, initial_indent=start, subsequent_indent=" " * len(start))
        for start, summary in lines.items()
    )
    purpose = (
        "Localize a robot with a camera and wheel odometry, in winter on a map made in summer."
    )
    return "\n\n".join(
        [
            "usage: fgsn COMMAND [--config FILE.yaml] [options]",
            textwrap.fill(purpose, columns),
            "\n".join(commands),
            "fgsn COMMAND --help shows a command's options.",
        ]
    )


def _command_name(arguments: list[str]) -> str:
    for length in (2, 1):
        name = " ".join(arguments[:length])
        if name in COMMANDS:
            return name
    longer = [name for name in COMMANDS if name.split()[0] == arguments[0]]
    known = ", ".join(longer or COMMANDS)
    raise FgsnError(f"no command '{' '.join(arguments[:2])}'; one of: {known}")


def _parse(name: str, arguments: list[str]) -> Any:
    """Instance of the command's dataclass: its defaults, then --config's values, then the flags."""
    import tyro

    command = _settings(name)
    config, flags = _split_config(_with_views(arguments))
    return tyro.cli(
        command,
        prog=f"fgsn {name}",
        args=flags,
        default=_default(command, config),
        config=(tyro.conf.EnumChoicesFromValues,),
    )


def _settings(name: str) -> type[Any]:
    """The dataclass of a command."""
    command = COMMANDS[name]
    module = importlib.import_module(f"fgsn_ros.commands.{command.module}")
    return cast(type[Any], getattr(module, command.settings))


def _with_views(arguments: list[str]) -> list[str]:
    """The arguments with a value for each `--view`: "live" unless a file (.rrd) follows it."""
    given = []
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        given.append(argument)
        if argument == "--view" and not following.endswith(".rrd"):
            given.append("live")
    return given


def _split_config(arguments: list[str]) -> tuple[Path | None, list[str]]:
    config, flags = None, []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--config":
            path = next(remaining, None)
            require(path is not None, "--config needs a YAML file")
            config = Path(str(path))
        elif argument.startswith("--config="):
            config = Path(argument.removeprefix("--config="))
        else:
            flags.append(argument)
    return config, flags


def _default(command: type[Any], config: Path | None) -> Any:
    import tyro

    required = {
        field.name: tyro.MISSING
        for field in dataclasses.fields(command)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    default = command(**required)
    return default if config is None else override(default, load_yaml(config), str(config))


if __name__ == "__main__":
    sys.exit(main())
