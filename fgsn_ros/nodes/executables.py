"""Entry points of the nodes: what they import takes seconds, and may be interrupted too."""

import importlib
import signal


def segmentation_node() -> int:
    """Run the segmentation node."""
    return _run("segmentation_node")


def localization_node() -> int:
    """Run the localization node."""
    return _run("localization_node")


def _run(name: str) -> int:
    try:
        return int(importlib.import_module(f"fgsn_ros.nodes.{name}").main())
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return 0  # as when it is told to end later
