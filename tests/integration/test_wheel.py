"""What a person gets from `pip install pgbourse`: a wheel in an empty environment, away from the checkout."""

import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The wheel is built once.
pytestmark = pytest.mark.xdist_group("wheel")


def run(*command: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    result = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution that was built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT), cwd=folder)
    (wheel,) = folder.glob("pgbourse-*.whl")
    return wheel


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(True, id="dependencies of ours"),
        pytest.param(False, id="its own", marks=pytest.mark.long("it installs all dependencies anew")),
    ],
)
def installed(wheel: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A virtual environment with the wheel and pytest, in a folder that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="pgbourse-wheel-") as name:
        Path(name).chmod(0o755)  # when we are root, PostgreSQL is another user
        venv = Path(name) / "venv"
        env = bare_environment()
        run(sys.executable, "-m", "venv", "--without-pip", str(venv), cwd=wheel.parent, env=env)
        install = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(venv / "bin" / "python"),
            "install",
            "--quiet",
        ]
        if request.param:
            # A .pth file adds our packages, but reads no .pth file there: the checkout stays out of sight.
            (site,) = venv.glob("lib/python*/site-packages")
            (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
            run(*install, "--no-deps", str(wheel), cwd=wheel.parent, env=env)
        else:
            run(*install, str(wheel), "pytest", cwd=wheel.parent, env=env)
        yield venv


def bare_environment() -> dict[str, str]:
    """The environment without our settings: nothing of this checkout may help."""
    ours = ("PYTHON", "PGBOURSE_", "PYTEST_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def test_the_wheel_holds_the_package_and_all_of_sql(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sql, gateway = ROOT / "sql", ROOT / "gateway"
    wanted = {f"pgbourse/_sql/{path.relative_to(sql)}" for path in sql.rglob("*.sql")}
    wanted |= {str(path.relative_to(gateway)) for path in gateway.rglob("*.py")}
    wanted |= {f"pgbourse/_schema/pgbourse.{kind}" for kind in ("rng", "xsd")}
    assert wanted | {"pgbourse/py.typed"} <= names
    assert not [name for name in names if not name.startswith(("pgbourse/", "pgbourse-"))]


def test_an_installed_wheel_serves(installed: Path, folder: Path, tmp_path: Path) -> None:
    python, pgbourse = (str(installed / "bin" / name) for name in ("python", "pgbourse"))
    env = bare_environment()
    where = run(python, "-c", "import pgbourse; print(pgbourse.__file__)", cwd=tmp_path, env=env)
    assert where.startswith(str(installed))

    serve = [pgbourse, "serve", "--port", "0", "--data-dir", str(folder / "data")]
    with subprocess.Popen(serve, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            banner = server.stdout.readline()
            assert banner.startswith("pgbourse: listening on 127.0.0.1:")
            assert banner.endswith(", embedded)\n")
            port = banner.split()[3].rsplit(":", 1)[1]
            request = tmp_path / "create.xml"
            request.write_text('<create><account id="1" balance="5"/></create>')
            reply = run(pgbourse, "send", "--port", port, str(request), cwd=tmp_path, env=env)
            assert '<created id="1"/>' in reply
            validate = "import sys; from pgbourse.schema import validate; validate(sys.stdin.buffer.read())"
            subprocess.run([python, "-c", validate], input=reply.encode(), cwd=tmp_path, env=env, check=True)
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait() == 0


def test_a_project_with_a_gateway_of_its_own_gets_its_own(installed: Path, tmp_path: Path) -> None:
    """The wheel brings a pytest plugin, which every project loads: it must not import theirs."""
    files = {
        "gateway/__init__.py": "",
        "gateway/server.py": 'OWNER = "them"\n',
        "conftest.py": "",  # by which pytest finds their packages
        "tests/test_server.py": (
            "import gateway.server\n"
            "\n"
            "def test_it_is_theirs():\n"
            '    assert gateway.server.OWNER == "them"\n'
            "\n"
            "def test_our_fixtures_are_there(pgbourse_database_url):\n"
            "    assert pgbourse_database_url is None\n"
        ),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    # -P: as the script `pytest`, it gets no help from the current folder.
    pytest = [str(installed / "bin" / "python"), "-P", "-m", "pytest"]
    said = run(*pytest, cwd=tmp_path, env=bare_environment())
    assert "2 passed" in said
    assert "pgbourse" in said.split("plugins:")[1].splitlines()[0]
