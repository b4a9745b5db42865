"""Small file systems of their own, and how to fill them: only root may mount one, and not everywhere."""

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

__all__ = ["SmallDisk", "fill_up", "mounting"]

SmallDisk = Callable[[str], Path]  # mounts one of such a size, such as 80m, and returns where


@contextlib.contextmanager
def mounting(folder: Path) -> Iterator[SmallDisk]:
    """Give a function that mounts file systems below a folder; unmount them at the end of the block."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        place = folder / f"disk-{len(mounted)}-{size}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(place)]
        if (
            shutil.which("mount") is None
            or subprocess.run(command, capture_output=True, check=False).returncode
        ):
            pytest.skip("no file system can be mounted here")
        mounted.append(place)
        return place

    try:
        yield mount
    finally:
        for place in mounted:
            subprocess.run(["umount", str(place)], check=True)


def fill_up(disk: Path) -> Path:
    """Leave no room on a disk; return the file that has it all."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return filler
