"""What a person gets from `pip install pgbourse`: a wheel in an empty environment, away from the checkout."""

import os
import signal
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The wheel is built once.
pytestmark = pytest.mark.xdist_group("wheel")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution that was built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT), cwd=folder)
    (wheel,) = folder.glob("pgbourse-*.whl")
    return wheel


def run(*command: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    result = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_wheel_holds_the_package_and_all_of_sql(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sql, gateway = ROOT / "sql", ROOT / "gateway"
    wanted = {f"pgbourse/_sql/{path.relative_to(sql)}" for path in sql.rglob("*.sql")}
    wanted |= {str(path.relative_to(gateway)) for path in gateway.rglob("*.py")}
    assert wanted | {"pgbourse/py.typed"} <= names
    assert not [name for name in names if not name.startswith(("pgbourse/", "pgbourse-"))]


@pytest.mark.parametrize(
    "borrowed",
    [
        pytest.param(True, id="dependencies of ours"),
        pytest.param(False, id="its own", marks=pytest.mark.long("it installs all dependencies anew")),
    ],
)
def test_an_installed_wheel_serves(wheel: Path, folder: Path, tmp_path: Path, borrowed: bool) -> None:
    # Nothing else of this environment may help: neither its packages nor its settings.
    ours = ("PYTHON", "PGBOURSE_", "VIRTUAL_ENV")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"), cwd=tmp_path, env=env)
    python, pgbourse = (str(folder / "venv" / "bin" / name) for name in ("python", "pgbourse"))
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    if borrowed:
        # A .pth file adds our packages, but reads no .pth file there: the checkout stays out of sight.
        (site,) = (folder / "venv").glob("lib/python*/site-packages")
        (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
        install.append("--no-deps")
    run(*install, str(wheel), cwd=tmp_path, env=env)
    where = run(python, "-c", "import pgbourse; print(pgbourse.__file__)", cwd=tmp_path, env=env)
    assert where.startswith(str(folder))

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
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
