"""Where caches go when neither the package's folder nor the home can be written.

Installed by root, from a read-only image, or as a service without a home, a run is no reason to
fail: a private folder in the temporary one serves, or none.
"""

import os
import stat
import tempfile
from pathlib import Path


def private_folder() -> Path | None:
    """A folder for caches that nobody else can write, in the temporary one.

    None where there cannot be one. What is in it is run: another user's would be theirs to fill.
    """
    folder = Path(tempfile.gettempdir()) / f"fgsn_ros-{os.geteuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return folder if own and not found.st_mode & 0o077 else None


def provide(*variables: str) -> None:
    """Set environment variables that name other packages' caches, if the home has no room for them.

    To be called before those packages are imported.
    """
    if os.access(os.path.expanduser("~"), os.W_OK):
        return
    folder = private_folder()
    for variable in variables if folder is not None else ():
        os.environ.setdefault(variable, f"{folder}/{variable.lower()}")
