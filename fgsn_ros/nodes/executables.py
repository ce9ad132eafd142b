"""The processes around the nodes: entry points, start, spin, end.

Errors become one line and an exit code. What the nodes import, ROS first, takes seconds and may be
interrupted too: so it is imported inside.
"""

import importlib
import re
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from fgsn_ros.errors import FgsnError, SettingsError

if TYPE_CHECKING:
    from rclpy.node import Node

EXIT_ERROR = 2


def segmentation_node() -> int:
    """Run the segmentation node."""
    return _interruptible("segmentation_node")


def localization_node() -> int:
    """Run the localization node."""
    return _interruptible("localization_node")


def _interruptible(name: str) -> int:
    try:
        return int(importlib.import_module(f"fgsn_ros.nodes.{name}").main())
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return 0  # as when it is told to end later


def run(make_node: Callable[[], "Node"], name: str) -> int:
    """Make a node and spin it until SIGINT or shutdown; the process's exit code.

    A FgsnError is one line on stderr and exit code 2, as in the command line.
    """
    import rclpy
    from rclpy.executors import ExternalShutdownException

    try:
        _start_ros()
        _spin(make_node())
    except FgsnError as error:
        print(f"{name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_ERROR
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # how a node is told to end
    finally:
        rclpy.try_shutdown()
    return 0


def _start_ros() -> None:
    """Take over the ROS arguments of the command line.

    Raises:
        SettingsError: they, or a parameter file that they name, cannot be parsed.
    """
    import rclpy

    try:
        rclpy.init()
    except RuntimeError as error:  # with the places in rcl's source
        raise SettingsError(re.sub(r", at \S+", "", str(error))) from error


def _spin(node: "Node") -> None:
    """Run a node's callbacks, one at a time; destroys the node at the end."""
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        executor.spin()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end takes its time, once is enough
        executor.shutdown(timeout_sec=0.0)
        node.destroy_node()
