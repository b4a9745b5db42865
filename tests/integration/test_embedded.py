"""The PostgreSQL of those who have none: durable, private, restarted, taken over, refused."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from pgbourse.database import binaries
from pgbourse.database.embedded import EmbeddedError, EmbeddedPostgres
from tests.integration.client import wait_until
from tests.integration.disks import SmallDisk, fill_up


def postmaster(folder: Path) -> psutil.Process:
    """Return the server's own process."""
    pid = (folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0]
    return psutil.Process(int(pid))


def setting(postgres: EmbeddedPostgres, name: str) -> str:
    with psycopg.connect(postgres.dsn()) as connection:
        row = connection.execute("select current_setting(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])


def accepts(postgres: EmbeddedPostgres) -> bool:
    """Say whether the server takes a connection."""
    try:
        psycopg.connect(postgres.dsn()).close()
    except psycopg.OperationalError:
        return False
    return True


def test_it_is_durable_and_private(folder: Path) -> None:
    with EmbeddedPostgres(folder / "server") as postgres:
        for name in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
            assert setting(postgres, name) == "on"
        assert setting(postgres, "listen_addresses") == ""
        assert setting(postgres, "server_encoding") == "UTF8"
        assert setting(postgres, "server_version") == postgres.version
        for private in ("data", "run"):
            assert stat.S_IMODE((folder / "server" / private).stat().st_mode) == 0o700
        connections = postmaster(folder / "server").net_connections("inet")
        assert connections == []


def test_data_and_settings_outlive_a_restart(folder: Path) -> None:
    postgres = EmbeddedPostgres(folder / "server")
    with postgres, psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute("create table kept ()")
        connection.execute("alter system set work_mem = '5MB'")
    with postgres:
        assert setting(postgres, "work_mem") == "5MB"
        with psycopg.connect(postgres.dsn()) as connection:
            connection.execute("select from kept")


def test_it_ends_with_stop(folder: Path) -> None:
    with EmbeddedPostgres(folder / "server"):
        process = postmaster(folder / "server")
        assert process.is_running()
    assert not process.is_running()
    assert not (folder / "server" / "data" / "postmaster.pid").exists()


def test_it_is_started_again_when_it_dies(folder: Path) -> None:
    with EmbeddedPostgres(folder / "server") as postgres:
        with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
            connection.execute("create table kept ()")
        first = postmaster(folder / "server")
        first.kill()
        first.wait()
        wait_until(lambda: accepts(postgres), "it is started again")
        assert postmaster(folder / "server").pid != first.pid
        with psycopg.connect(postgres.dsn()) as connection:
            connection.execute("select from kept")


def test_a_folder_in_use_is_refused(folder: Path) -> None:
    with EmbeddedPostgres(folder / "server"):
        with pytest.raises(EmbeddedError, match=f"in use by another pgbourse .pid {os.getpid()}"):
            EmbeddedPostgres(folder / "server").start()
        # …and the refusal has not hurt the one who has it.
        with pytest.raises(EmbeddedError, match="in use"):
            EmbeddedPostgres(folder / "server").start()


def test_no_cluster_is_made_amid_other_things(folder: Path) -> None:
    checkout = folder / "checkout"
    (checkout / "docs").mkdir(parents=True)
    with pytest.raises(EmbeddedError, match=r"checkout holds other things \(docs\) and no exchange: name an"):
        EmbeddedPostgres(checkout).start()
    assert [entry.name for entry in checkout.iterdir()] == ["docs"]
    # What an earlier start left when it was killed, and what a file system puts there, is no reason.
    (checkout / "docs").rename(checkout / "lost+found")
    (checkout / "data.partial").mkdir()
    with EmbeddedPostgres(checkout):
        pass


def test_what_a_killed_pgbourse_left_running_is_taken_over(folder: Path) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from pgbourse.database.embedded import EmbeddedPostgres\n"
        "EmbeddedPostgres(pathlib.Path(sys.argv[1])).start()\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(folder / "server")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"ready\n"
        left = postmaster(folder / "server")
        victim.kill()
        victim.wait()
    assert left.is_running()
    with EmbeddedPostgres(folder / "server") as postgres:
        assert not left.is_running()
        assert setting(postgres, "server_version") == postgres.version


def test_a_stale_pid_of_another_process_is_left_alone(folder: Path) -> None:
    with EmbeddedPostgres(folder / "server"):
        pass
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        stale = folder / "server" / "data" / "postmaster.pid"
        stale.write_text(f"{bystander.pid}\n{stale.parent}\n0\n5432\n\n\n\n")
        with EmbeddedPostgres(folder / "server") as postgres:
            assert setting(postgres, "server_version") == postgres.version
        assert bystander.poll() is None
        bystander.communicate(b"\n")


def test_ctrl_c_on_the_terminal_does_not_reach_it(folder: Path) -> None:
    with EmbeddedPostgres(folder / "server"):
        assert os.getpgid(postmaster(folder / "server").pid) != os.getpgid(0)


def test_a_deep_folder_has_its_socket_elsewhere(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    with EmbeddedPostgres(deep) as postgres:
        assert setting(postgres, "server_version") == postgres.version
        sockets = Path(setting(postgres, "unix_socket_directories"))
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert not sockets.exists()


def test_a_folder_of_another_major_version_is_refused(folder: Path) -> None:
    with EmbeddedPostgres(folder / "server"):
        pass
    version = folder / "server" / "data" / "PG_VERSION"
    version.write_text("14\n")
    with pytest.raises(
        EmbeddedError, match="made by PostgreSQL 14, and there are no binaries of that version"
    ):
        EmbeddedPostgres(folder / "server").start()


def test_a_folder_that_cannot_be_made_is_one_error(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(EmbeddedError, match="can't use the data folder"):
        EmbeddedPostgres(folder / "file" / "server").start()


def test_a_server_that_does_not_start_says_why(folder: Path) -> None:
    with EmbeddedPostgres(folder / "server"):
        pass
    with (folder / "server" / "data" / "postgresql.auto.conf").open("a") as settings:
        settings.write("shared_preload_libraries = 'nowhere'\n")
    with pytest.raises(EmbeddedError, match=r"does not start in .*could not access file .nowhere"):
        EmbeddedPostgres(folder / "server").start()


def test_initdb_on_a_full_disk_says_so_and_nothing_of_rights(small_disk: SmallDisk) -> None:
    for size in ("1m", "20m"):
        with pytest.raises(EmbeddedError, match=r"initdb failed .*(No space left|Check free disk)") as told:
            EmbeddedPostgres(small_disk(size) / "server").start()
        assert "must let in" not in str(told.value)


def test_a_start_on_a_full_disk_says_so(small_disk: SmallDisk) -> None:
    disk = small_disk("80m")
    with EmbeddedPostgres(disk / "server"):
        pass
    log = disk / "server" / "postgresql.log"
    with log.open("ab") as end:  # so that not even the log has room for another line
        end.write(b"\n" * (-log.stat().st_size % 4096))
    fill_up(disk)
    with pytest.raises(EmbeddedError, match="No space left on device"):
        EmbeddedPostgres(disk / "server").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_a_folder_that_the_user_of_postgresql_may_not_enter_is_told(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o700)
    with pytest.raises(EmbeddedError, match=r"as user \w+, whom every folder above it must let in"):
        EmbeddedPostgres(folder / "closed" / "server").start()


def test_a_server_that_refuses_us_is_told_at_once(folder: Path) -> None:
    """Not after the ten minutes that a recovery may take."""
    with EmbeddedPostgres(folder / "server"):
        pass
    (folder / "server" / "data" / "pg_hba.conf").write_text("local all all reject\n")
    with pytest.raises(EmbeddedError, match=r"does not start in .*pg_hba.conf rejects connection"):
        EmbeddedPostgres(folder / "server").start()


def test_a_half_made_cluster_is_made_anew(folder: Path) -> None:
    (folder / "server" / "data.partial" / "base").mkdir(parents=True)
    (folder / "server").chmod(0o755)
    with EmbeddedPostgres(folder / "server") as postgres:
        assert setting(postgres, "server_version") == postgres.version


def test_installed_binaries_serve_where_the_wheel_has_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "wheel_folder", lambda: None)
    try:
        found = binaries.find_binaries(None)
    except EmbeddedError:
        pytest.skip("no PostgreSQL is installed on this machine")
    with EmbeddedPostgres(folder / "server") as postgres:
        assert postgres.version == found.version
        assert setting(postgres, "server_version").split()[0] == postgres.version


def test_a_machine_without_binaries_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "wheel_folder", lambda: None)
    monkeypatch.setattr(binaries, "INSTALLED", ())
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EmbeddedError, match=r"no PostgreSQL 15 to 18 .*found none.*--database-url"):
        binaries.find_binaries(None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_root_gives_it_to_another_user(folder: Path) -> None:
    with EmbeddedPostgres(folder / "server"):
        process = postmaster(folder / "server")
        assert process.uids().real != 0
        assert process.gids().real != 0
        groups = Path(f"/proc/{process.pid}/status").read_text()
        assert "\nGroups:\t \n" in groups or "\nGroups:\t\n" in groups


def test_stop_is_safe_before_start_and_twice(folder: Path) -> None:
    postgres = EmbeddedPostgres(folder / "server")
    postgres.stop()
    postgres.start()
    postgres.stop()
    postgres.stop()


def test_a_hanging_shutdown_is_forced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stops = ((signal.SIGINT, 0.0), (signal.SIGQUIT, 30.0))
    monkeypatch.setattr("pgbourse.database.embedded.STOP_SIGNALS", stops)
    with EmbeddedPostgres(folder / "server"):
        process = postmaster(folder / "server")
    assert not process.is_running()
