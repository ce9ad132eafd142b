"""What the launch's demo localizes with: two simulated drives and a map, made once."""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import fgsn_ros

CHECKPOINT = Path(fgsn_ros.__file__).parent / "data" / "town.safetensors"
_DRIVE = ("simulate", "drive", "--town-seed", "2024", "--duration-s", "22")


@dataclass(frozen=True)
class DemoDrives:
    """Drives of one town in two seasons, and the map of the first."""

    folder: Path

    @property
    def summer(self) -> Path:
        """Bag of the mapped drive."""
        return self.folder / "summer"

    @property
    def winter(self) -> Path:
        """Bag of the drive to localize."""
        return self.folder / "winter"

    @property
    def map(self) -> Path:
        """Map folder; named by the network, as a map of another one would be refused."""
        return self.folder / f"map_{zlib.crc32(CHECKPOINT.read_bytes()):08x}"

    def missing(self) -> list[tuple[str, ...]]:
        """`fgsn` commands, in order, that make what is not there."""
        commands = {
            self.summer: (*_DRIVE, "--drive-seed", "0", "--season", "summer"),
            self.winter: (*_DRIVE, "--drive-seed", "1", "--season", "winter"),
            self.map: ("map", str(self.summer), str(CHECKPOINT)),
        }
        return [
            (*command, "--output", str(path))
            for path, command in commands.items()
            if not path.exists()
        ]


def demo_drives() -> DemoDrives:
    """Those below ROS_HOME, ~/.ros where it is not set."""
    home = Path(os.environ.get("ROS_HOME") or "~/.ros").expanduser()
    return DemoDrives(home / "fgsn_ros" / "demo")
