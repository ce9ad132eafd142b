"""The pictures of rooms, data flow and frames: python docs/pictures/architecture.py.

Draws architecture.png and nodes.png beside this file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

HERE = Path(__file__).parent
ROOM, FILE, OUTSIDE = "#cfe8e4", "#ffe3a8", "#ececec"
"""Colours of what computes, of what lies on disk, and of what is not ours."""


@dataclass(frozen=True)
class Box:
    """A box of the picture."""

    x: float
    y: float
    text: str
    colour: str = ROOM
    width: float = 2.0
    height: float = 0.8


def main() -> None:
    """Draw both."""
    draw("architecture.png", ROOMS, ARROWS, NOTES, (11.0, 5.6))
    draw("nodes.png", NODES, TOPICS, (), (11.0, 4.2))


ROOMS = {
    "drive": Box(0.0, 4.9, "recorded drive\nimages, odometry", OUTSIDE),
    "town": Box(0.0, 3.1, "simulation/"),
    "recordings": Box(2.7, 4.0, "recordings/\nmessages/"),
    "correspondences": Box(5.4, 4.9, "correspondences/"),
    "training": Box(8.1, 4.9, "training/"),
    "mapping": Box(5.4, 3.1, "mapping/"),
    "checkpoint": Box(10.8, 4.9, "checkpoint\n.safetensors, .onnx", FILE, 2.2),
    "map": Box(10.8, 3.1, "map", FILE, 2.2),
    "image": Box(0.0, 0.6, "image", OUTSIDE),
    "odometry": Box(5.4, -0.6, "wheel odometry", OUTSIDE, 1.8),
    "segmentation": Box(2.7, 0.6, "segmentation/\nruns the checkpoint"),
    "labels": Box(5.4, 0.6, "LabelMap", OUTSIDE, 1.6),
    "localization": Box(8.3, 0.6, "localization/\nmotion, measurement, filter", ROOM, 2.8),
    "locating": Box(7.7, 1.85, "locating/\none image alone", ROOM, 2.0),
    "pose": Box(11.1, 0.6, "pose, quality", OUTSIDE, 1.6),
    "evaluation": Box(11.1, -0.6, "evaluation/", ROOM, 1.6),
}
ARROWS = (
    ("drive", "recordings"),
    ("town", "recordings"),
    ("recordings", "correspondences"),
    ("recordings", "mapping"),
    ("correspondences", "training"),
    ("training", "checkpoint"),
    ("mapping", "map"),
    ("image", "segmentation"),
    ("segmentation", "labels"),
    ("labels", "localization"),
    ("odometry", "localization"),
    ("localization", "pose"),
    ("labels", "locating"),
    ("locating", "pose"),
    ("pose", "evaluation"),
    ("map", "localization"),
    ("map", "locating"),
    ("checkpoint", "mapping"),
)
NOTES = (
    (-1.0, 5.75, "offline: once"),
    (-1.0, 1.35, "online: each image, from a bag (commands/) or a robot (nodes/)"),
)
NODES = {
    "camera": Box(0.0, 2.2, "camera", OUTSIDE),
    "rviz": Box(0.0, 1.0, "RViz, Nav2", OUTSIDE),
    "base": Box(0.0, -0.2, "wheel odometry", OUTSIDE),
    "segmentation": Box(3.9, 2.2, "segmentation_node\none a camera", ROOM, 2.2),
    "localization": Box(8.4, 1.0, "localization_node", ROOM, 2.2, 2.0),
    "out": Box(12.6, 1.0, "Nav2, RViz,\nyour nodes", OUTSIDE, 2.0, 1.2),
}
TOPICS = (
    ("camera", "segmentation", "image\ncamera_info"),
    ("segmentation", "localization", "labels, labels/info\nlabels/camera_info"),
    ("rviz", "localization", "initialpose"),
    ("base", "localization", "odom, /tf_static"),
    ("localization", "out", "pose, quality\nmap -> odom\n/diagnostics"),
)


def draw(
    name: str,
    boxes: dict[str, Box],
    arrows: tuple[tuple[str, ...], ...],
    notes: tuple[tuple[float, float, str], ...],
    size: tuple[float, float],
) -> None:
    """Write a picture of boxes and of arrows between them, with a text on those that have one."""
    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    panel = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    for box in boxes.values():
        draw_box(panel, box)
    for start, end, *text in arrows:
        draw_arrow(panel, boxes[start], boxes[end], *text)
    for x, y, text in notes:
        panel.text(x, y, text, fontsize=11, style="italic", color="0.35", va="center")
    panel.set_xlim(min(b.x - b.width / 2 for b in boxes.values()) - 0.2, edge(boxes))
    heights = [box.y for box in boxes.values()]
    panel.set_ylim(min(heights) - 0.9, max(heights) + (1.2 if notes else 0.9))
    panel.set_axis_off()
    figure.savefig(HERE / name, dpi=100)


def edge(boxes: dict[str, Box]) -> float:
    """Where the picture ends on the right."""
    return max(box.x + box.width / 2 for box in boxes.values()) + 0.2


def draw_box(panel: Any, box: Box) -> None:
    """A rounded box with its text."""
    corner = (box.x - box.width / 2, box.y - box.height / 2)
    style = "round,pad=0,rounding_size=0.12"
    panel.add_patch(
        FancyBboxPatch(corner, box.width, box.height, style, facecolor=box.colour, edgecolor="0.4")
    )
    panel.text(box.x, box.y, box.text, ha="center", va="center", fontsize=10)


def draw_arrow(panel: Any, start: Box, end: Box, text: str = "") -> None:
    """An arrow from border to border; sideways where the boxes stand beside each other."""
    if abs(end.x - start.x) > 0.5 * (start.width + end.width):
        sign = 1 if end.x > start.x else -1
        a = (
            start.x + sign * start.width / 2,
            start.y + 0.25 * start.height * step(end.y - start.y),
        )
        b = (end.x - sign * end.width / 2, end.y + 0.25 * end.height * step(start.y - end.y))
    else:
        sign = 1 if end.y > start.y else -1
        a = (start.x, start.y + sign * start.height / 2)
        b = (end.x, end.y - sign * end.height / 2)
    panel.annotate("", b, a, arrowprops={"arrowstyle": "-|>", "color": "0.3", "lw": 1.4})
    if text:
        middle = ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)
        panel.text(*middle, text, ha="center", va="center", fontsize=9, backgroundcolor="white")


def step(value: float) -> float:
    """-1, 0 or 1, as the value's sign."""
    return float((value > 0) - (value < 0))


if __name__ == "__main__":
    main()
