"""The process around a node: start, spin, end; errors become one line and an exit code."""

import re
import signal
import sys
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from fgsn_ros.errors import FgsnError, SettingsError

EXIT_ERROR = 2


def run(make_node: Callable[[], Node], name: str) -> int:
    """Make a node and spin it until SIGINT or shutdown; the process's exit code.

    A FgsnError is one line on stderr and exit code 2, as in the command line.
    """
    try:
        start_ros()
        spin(make_node())
    except FgsnError as error:
        print(f"{name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_ERROR
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # how a node is told to end
    finally:
        rclpy.try_shutdown()
    return 0


def start_ros() -> None:
    """Take over the ROS arguments of the command line.

    Raises:
        SettingsError: they, or a parameter file that they name, cannot be parsed.
    """
    try:
        rclpy.init()
    except RuntimeError as error:  # with the places in rcl's source
        raise SettingsError(re.sub(r", at \S+", "", str(error))) from error


def spin(node: Node) -> None:
    """Run a node's callbacks, one at a time; destroys the node at the end."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        executor.spin()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end takes its time, once is enough
        executor.shutdown(timeout_sec=0.0)
        node.destroy_node()
