"""What a benchmark was run on: figures of another machine, or of another version, mean nothing without it."""

import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

import pgbourse

__all__ = ["describe", "describe_machine", "find_commit"]

_FLUSHES = 200
_FLUSH_SECONDS = 1.0  # at most for all of them
_PAGE = bytes(8192)  # as PostgreSQL writes its log


def describe_machine(folder: Path | None) -> dict[str, Any]:
    """Return what this machine is, ready for JSON.

    `folder` is on the disk that PostgreSQL writes to: how long that takes to flush is tried. None if it is
    another machine's.
    """
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count() or 1,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "flush_us": None if folder is None else _flush_microseconds(folder),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


def describe(report: dict[str, Any]) -> str:
    """Return a line about what a report was made with. Older reports say less."""
    machine = report["machine"]
    version = f"pgbourse {report['pgbourse']}"
    if commit := report.get("commit"):
        version += f" ({commit})"
    parts = [version, f"PostgreSQL {report['postgresql']['version']}", f"{machine['cores']} cores"]
    if cpu := machine.get("cpu"):
        parts[-1] += f" of {cpu}"
    if flush := machine.get("flush_us"):
        parts.append(f"a flush takes {flush:.0f} µs")
    return ", ".join(parts)


def find_commit() -> str | None:
    """Return the commit that this runs from, with a + if files have changed; None outside a checkout."""
    package = Path(pgbourse.__file__).parent
    git = ["git", "-C", str(package), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        # Git may look no further up than a checkout has this package.
        ceiling = {"GIT_CEILING_DIRECTORIES": str(package.parents[2])}
        done = subprocess.run(
            git, capture_output=True, text=True, check=False, timeout=10, env=os.environ | ceiling
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _flush_microseconds(folder: Path) -> float:
    """Return the median time of a flush of one page, as the log of a single client does it."""
    flush = getattr(os, "fdatasync", os.fsync)
    with tempfile.TemporaryFile(dir=folder) as file:
        taken: list[float] = []
        end = time.perf_counter() + _FLUSH_SECONDS
        while len(taken) < _FLUSHES and (begin := time.perf_counter()) < end:
            file.write(_PAGE)
            file.flush()
            flush(file.fileno())
            taken.append(time.perf_counter() - begin)
    return round(statistics.median(taken) * 1e6, 1)
