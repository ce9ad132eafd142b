"""The processes around the nodes: entry points, start, spin, end.

Errors become one line and an exit code. What the nodes import, ROS first, takes seconds and may be
interrupted too: so it is imported inside. An interrupt is an end like any other: no exception,
which could come out anywhere, and no waiting for a thread that is at work.
"""

import importlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from rclpy.node import Node

EXIT_ERROR = 2


def segmentation_node() -> NoReturn:
    """Run the segmentation node."""
    _run_and_end("segmentation_node")


def localization_node() -> NoReturn:
    """Run the localization node."""
    _run_and_end("localization_node")


def _run_and_end(name: str) -> NoReturn:
    # Nothing is there yet that would need an end, and an import need not survive an exception.
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    code = int(importlib.import_module(f"fgsn_ros.nodes.{name}").main())
    # The interpreter's own end would take half a second, and wait for threads in compiled code.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(make_node: Callable[[], "Node"], name: str) -> int:
    """Make a node and spin it until SIGINT or shutdown; the process's exit code.

    A FgsnError is one line on stderr and exit code 2, as in the command line.
    """
    import rclpy
    from rclpy.executors import ExternalShutdownException

    from fgsn_ros.errors import FgsnError

    interrupted = threading.Event()
    # ROS's own handler, made in its init, shuts the context down and then calls this one.
    signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        _start_ros()
        _spin(make_node(), interrupted)
    except FgsnError as error:
        if interrupted.is_set():
            return 0
        print(f"{name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_ERROR
    except ExternalShutdownException:
        pass  # how a node is told to end
    except Exception:
        if not interrupted.is_set():  # else the context went while the node was being made
            raise
    finally:
        rclpy.try_shutdown()
        rclpy.get_default_context()._logging_fini()  # what is not yet in the log file
    return 0


def _start_ros() -> None:
    """Take over the ROS arguments of the command line.

    Raises:
        SettingsError: they, or a parameter file that they name, cannot be parsed.
    """
    import rclpy

    from fgsn_ros.errors import SettingsError

    try:
        rclpy.init()
    except RuntimeError as error:  # with the places in rcl's source
        raise SettingsError(re.sub(r", at \S+", "", str(error))) from error


def _spin(node: "Node", interrupted: threading.Event) -> None:
    """Run a node's callbacks, one at a time; destroys the node at the end."""
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if not interrupted.is_set():
            executor.spin()
    finally:
        executor.shutdown(timeout_sec=0.0)
        node.destroy_node()
