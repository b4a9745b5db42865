"""The images, built from this checkout, and containers that are removed after their test.

These tests are skipped where no Docker engine answers. PGBOURSE_TEST_POSTGRES_IMAGES names the images of
PostgreSQL to try the gateway on, separated by commas (default: postgres:15).
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.client import wait_until

# Containers are removed by the tests themselves; a second one to watch over that would need another image.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

from testcontainers.core.container import DockerContainer

ROOT = Path(__file__).parents[2]
PORT = 12345
POSTGRES_IMAGES = os.environ.get("PGBOURSE_TEST_POSTGRES_IMAGES", "postgres:15").split(",")
_TAG = "pgbourse-test"


def docker(*arguments: str, standard_input: str | None = None) -> str:
    """Run docker and return its standard output."""
    result = subprocess.run(
        ["docker", *arguments], input=standard_input, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"docker {arguments[0]}: {result.stderr}"
    return result.stdout.strip()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give all of these tests to one worker: the images are built once, and have one name."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group("containers"))
            item.add_marker(pytest.mark.long("it builds images; make test-containers does as well"))


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """Nothing here can be tested without a Docker engine."""
    try:
        reached = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no Docker here")
    if reached.returncode != 0:
        pytest.skip(f"no Docker engine answers: {reached.stderr.strip()}")


@pytest.fixture(scope="session")
def build(engine: None) -> Callable[[str], str]:
    """Build a target of the Dockerfile, once, and return the image's name."""
    built: dict[str, str] = {}

    def build(target: str) -> str:
        if target not in built:
            image = f"{_TAG}:{target}"
            # The host's network, because packages may come from a registry that only the host can reach.
            docker("build", "--quiet", "--network", "host", "--target", target, "--tag", image, str(ROOT))
            built[target] = image
        return built[target]

    return build


@pytest.fixture(scope="session")
def gateway_image(build: Callable[[str], str]) -> str:
    return build("gateway")


@pytest.fixture(scope="session")
def all_in_one_image(build: Callable[[str], str]) -> str:
    return build("all-in-one")


Start = Callable[[DockerContainer], DockerContainer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start containers, and remove them with their volumes after the test."""
    started: list[DockerContainer] = []

    def start(container: DockerContainer) -> DockerContainer:
        started.append(container.start())
        return container

    yield start
    for container in reversed(started):
        container.stop(delete_volume=True)


def address(container: DockerContainer, port: int = PORT) -> tuple[str, int]:
    """Where a container's port can be reached from here."""
    return container.get_container_host_ip(), int(container.get_exposed_port(port))


def wait_for_health(container_id: str, wanted: str = "healthy") -> None:
    """Wait until the engine has found a container healthy, by its HEALTHCHECK."""

    def health() -> str:
        state, _, found = docker(
            "inspect", "--format", "{{.State.Status}} {{.State.Health.Status}}", container_id
        ).partition(" ")
        assert state == "running", docker("logs", container_id)
        return found

    wait_until(lambda: health() == wanted, f"the container is {wanted}")
