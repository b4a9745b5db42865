"""Ask the package registry whether everything that `pgbourse serve` needs installs without a compiler.

For each supported Python and platform, pip resolves the dependencies of pyproject.toml, transitive ones
included, from wheels alone. Nothing is installed. Where no registry can be reached, the check is skipped.
"""

import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# For glibc 2.28 (RHEL 8, Debian 10) and macOS 11, and so for later ones.
PLATFORMS = {
    "Linux x86_64": [f"manylinux_2_{minor}_x86_64" for minor in range(5, 29)] + ["manylinux2014_x86_64"],
    "Linux aarch64": [f"manylinux_2_{minor}_aarch64" for minor in range(17, 29)] + ["manylinux2014_aarch64"],
    "macOS x86_64": ["macosx_11_0_x86_64"],
    "macOS arm64": ["macosx_11_0_arm64"],
}
AT_ONCE = 4


def dependencies() -> list[str]:
    """Return what pyproject.toml asks for, without markers: pip would read them as of this machine.

    Every dependency is needed on each of PLATFORMS, so the markers leave nothing out there.
    """
    found: list[str] = tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
    return [dependency.split(";")[0].strip() for dependency in found]


def resolve(needed: list[str], python: str, platforms: list[str]) -> str:
    """Let pip find wheels for these requirements; return what it says is missing, or an empty string."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
        command += ["--disable-pip-version-check", "--retries", "2", "--only-binary=:all:"]
        command += ["--target", folder, "--python-version", python]
        for platform in platforms:
            command += ["--platform", platform]
        result = subprocess.run([*command, *needed], capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR: ")]
    return (errors or result.stderr.splitlines() or [f"pip exits {result.returncode}"])[-1]


def main() -> int:
    """Print a line for each combination that lacks a wheel; return 1 if there is any."""
    needed = dependencies()
    if problem := resolve(["click"], PYTHONS[0], PLATFORMS["Linux x86_64"]):
        print(f"wheels: skipped, no package registry can be reached: {problem}")  # noqa: T201
        return 0
    combinations = [(python, platform) for python in PYTHONS for platform in PLATFORMS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        problems = list(pool.map(lambda which: resolve(needed, which[0], PLATFORMS[which[1]]), combinations))
    missing = [
        f"wheels: Python {python} on {platform}: {problem}"
        for (python, platform), problem in zip(combinations, problems, strict=True)
        if problem
    ]
    print("\n".join(missing) or f"wheels: {len(combinations)} combinations install without a compiler")  # noqa: T201
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
