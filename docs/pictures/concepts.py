"""The pictures of the concepts page and of the demo, from simulated drives.

    python docs/pictures/concepts.py --work /tmp/pictures

Makes in --work what is not there yet (two drives, a map, a localized run, labels and the demo; some
minutes each), then draws demo.png, labels.png, map.png and particles.png beside this file.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import open3d
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from rosbags.highlevel import AnyReader

import fgsn_ros

FloatArray = NDArray[np.float64]

HERE = Path(__file__).parent
NETWORK = Path(fgsn_ros.__file__).parent / "data" / "town.onnx"
ON_THE_MAP = ("localize", "winter", "--map", "map", "--checkpoint", str(NETWORK))
DRIVE = ("simulate", "drive", "--town-seed", "2024", "--duration-s", "22")
COMMANDS = {
    "summer": (*DRIVE, "--drive-seed", "0", "--season", "summer"),
    "winter": (*DRIVE, "--drive-seed", "1", "--season", "winter"),
    "map": ("map", "summer", "--checkpoint", str(NETWORK), "--ply", "map.ply"),
    "found": (*ON_THE_MAP, "--start.offset-m", "2", "--start.offset-deg", "5"),
    "labels_summer": ("segment", "summer", "--checkpoint", str(NETWORK)),
    "labels_winter": ("segment", "winter", "--checkpoint", str(NETWORK)),
    "demo": ("demo",),
}
"""Outputs and the `fgsn` commands, in order, that make them."""
SHOWN_SHARE = 0.45
"""Share of the drive at which a place is shown."""
PARTICLE_TIMES_S = (0.0, 0.5, 2.0, 6.0)
TRUTH, ESTIMATE, RECKONED, PARTICLES = "black", "tab:blue", "tab:red", "magenta"


def main() -> None:
    """Make what is missing, then draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of drives and runs")
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    for name, command in COMMANDS.items():
        if not (work / name).exists():
            fgsn = (sys.executable, "-m", "fgsn_ros.cli", *command, "--output", name)
            subprocess.run(fgsn, cwd=work, check=True)
    save(Image.open(work / "demo" / "demo.png").convert("RGB").resize((1260, 700)), "demo.png")
    draw_labels(work)
    draw_map(work)
    draw_particles(work)


# One place in two seasons


def draw_labels(work: Path) -> None:
    """Images of one place in both seasons above their labels."""
    summer = fgsn_ros.open_recording(work / "summer")
    truth = summer.ground_truth
    stamps = np.array([float(path.stem) for path in label_paths(work, "summer")])
    shown = stamps[int(SHOWN_SHARE * len(stamps))]
    position = truth.at(shown)[:3, 3]
    figure = new_figure(10, 7.6)
    panels = figure.subplots(2, 2)
    for column, season in enumerate(("summer", "winter")):
        path = nearest(work, season, position)
        panels[0, column].imshow(image_at(work / season, float(path.stem)))
        panels[0, column].set_title(season)
        panels[1, column].imshow(coloured(path))
    for panel in panels.flat:
        panel.set_axis_off()
    write(figure, "labels.png")


def label_paths(work: Path, season: str) -> list[Path]:
    """Label images of a season's drive, in order of time."""
    return sorted((work / f"labels_{season}" / "labels").glob("*.png"))


def nearest(work: Path, season: str, position: FloatArray) -> Path:
    """Label image of the season that was taken nearest to a position (3,)."""
    truth = fgsn_ros.open_recording(work / season).ground_truth
    paths = label_paths(work, season)
    positions = truth.at(np.array([float(path.stem) for path in paths]))[:, :3, 3]
    return paths[int(np.argmin(np.linalg.norm(positions - position, axis=1)))]


def image_at(recording: Path, stamp: float) -> NDArray[np.uint8]:
    """The image of a recording nearest to a stamp, RGB."""
    frames = fgsn_ros.open_recording(recording).frames()
    return min(frames, key=lambda frame: abs(frame.stamp - stamp)).image


def coloured(labels: Path) -> NDArray[np.uint8]:
    """A label image in the colours that its labels.json gives."""
    described = json.loads((labels.parents[1] / "labels.json").read_text())
    colours = np.zeros((65536, 3), np.uint8)
    rgb = [bytes.fromhex(label["colour"].removeprefix("#")) for label in described["labels"]]
    colours[: len(rgb)] = [list(colour) for colour in rgb]
    return colours[cv2.imread(str(labels), cv2.IMREAD_UNCHANGED)]


# The map


def draw_map(work: Path) -> None:
    """The map's points from above, with the drive that it was made of."""
    xy, colours = map_points(work)
    driven = fgsn_ros.open_recording(work / "summer").ground_truth.poses[:, :2, 3]
    figure = new_figure(10, 4.6)
    panel = figure.subplots()
    turn = along(driven)
    panel.scatter(*(turn @ (xy - driven[0]).T), s=1.2, c=colours, linewidths=0)
    panel.plot(*(turn @ (driven - driven[0]).T), color="black", linewidth=2)
    across = (turn @ (driven - driven[0]).T)[1]
    panel.set_ylim(across.min() - 28, across.max() + 28)
    panel.set(aspect="equal", xlabel="[m]", ylabel="[m]")
    write(figure, "map.png")


def map_points(work: Path) -> tuple[FloatArray, FloatArray]:
    """Positions (N, 2) and colours (N, 3) of the map's points."""
    cloud = open3d.io.read_point_cloud(str(work / "map.ply"))
    return np.asarray(cloud.points)[:, :2], np.asarray(cloud.colors)


def along(positions: FloatArray) -> FloatArray:
    """Rotation (2, 2) that lays a drive's positions (N, 2) along the x axis."""
    x, y = (positions[-1] - positions[0]) / np.linalg.norm(positions[-1] - positions[0])
    return np.array([[x, y], [-y, x]])


# The filter


def draw_particles(work: Path) -> None:
    """The particles around the truth at the first moments of a run."""
    xy, colours = map_points(work)
    truth = fgsn_ros.open_recording(work / "winter").ground_truth
    particles = list(messages(work / "found", "/particles"))
    poses = dict(messages(work / "found", "/pose"))
    start = particles[0][0]
    figure = new_figure(12, 3.6)
    panels = figure.subplots(1, len(PARTICLE_TIMES_S))
    for panel, time_s in zip(panels, PARTICLE_TIMES_S, strict=True):
        stamp, cloud = min(particles, key=lambda item: abs(item[0] - start - time_s))
        centre, turn = truth.at(stamp)[:2, 3], truth.at(stamp)[:2, :2].T
        estimate = poses[stamp].pose.pose.position
        panel.scatter(*(turn @ (xy - centre).T), s=4, c=colours, linewidths=0, alpha=0.6)
        spread = np.array([(pose.position.x, pose.position.y) for pose in cloud.poses])
        panel.scatter(*(turn @ (spread - centre).T), s=5, color=PARTICLES, linewidths=0)
        panel.plot(*(turn @ ([estimate.x, estimate.y] - centre)), "o", color=ESTIMATE, ms=8)
        panel.plot(0, 0, "x", color=TRUTH, ms=11, mew=3)
        panel.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal", xlabel="along the road [m]")
        panel.set_title(f"after {stamp - start:.1f} s")
    panels[0].set_ylabel("across [m]")
    write(figure, "particles.png")


# Files


def messages(run: Path, topic: str) -> Iterator[tuple[float, Any]]:
    """Stamps [s] and messages of a topic in a run's bag."""
    with AnyReader([run / "bag"]) as reader:
        chosen = [connection for connection in reader.connections if connection.topic == topic]
        for connection, nanoseconds, data in reader.messages(chosen):
            yield nanoseconds * 1e-9, reader.deserialize(data, connection.msgtype)


def new_figure(width: float, height: float) -> Figure:
    """A figure of that size [inch]."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write(figure: Figure, name: str) -> None:
    """Write a figure."""
    figure.canvas.draw()
    save(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB"), name)


def save(image: Image.Image, name: str) -> None:
    """Write a picture in 256 colours, a third of the size."""
    image.quantize(256, dither=Image.Dither.NONE).save(HERE / name, optimize=True)


if __name__ == "__main__":
    main()
