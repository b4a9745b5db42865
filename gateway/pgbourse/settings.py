"""The settings of a server: one frozen value, with defaults and the reason for each bound.

The command line makes its options, their help and their PGBOURSE_… variables from these fields, so that each
setting is written down once.
"""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["LogFormat", "ReplyFraming", "ServeSettings", "default_data_dir", "usable_cores"]

LogFormat = Literal["text", "json"]
ReplyFraming = Literal["plain", "length", "mirror"]

_SYSTEM_FOLDER = Path("/var/lib/pgbourse")


def default_data_dir() -> Path:
    """Return the folder that holds the embedded PostgreSQL's data for this user.

    Root gets a system folder: PostgreSQL refuses to run as root, and the user that it runs as instead can't
    enter root's home. A user without a home, such as a service's, gets it too.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return _SYSTEM_FOLDER
    try:
        has_home = Path.home() != Path("/") and Path.home().is_dir()
    except (RuntimeError, OSError):
        has_home = False
    if not (has_home or os.environ.get("XDG_DATA_HOME")):
        return _SYSTEM_FOLDER
    import platformdirs  # only where it is needed: `pgbourse send` is felt

    return platformdirs.user_data_path("pgbourse", appauthor=False)


def usable_cores() -> int:
    """Return how many cores this process may use: all that it may run on, or a quota of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError, IndexError):  # without a quota it is no number
        group = Path("/proc/self/cgroup").read_text().split("::", 1)[1].strip("/\n")
        quota, period = Path("/sys/fs/cgroup", group, "cpu.max").read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def _default_processes() -> int:
    """Return one for each six cores, at least one: docs/performance.md has what was measured."""
    return min(64, max(1, usable_cores() // 6))


def _setting(
    default: Any,
    text: str,
    *,
    minimum: int | None = None,
    maximum: int | None = None,
    without: str | None = None,
    old_name: str | None = None,
) -> Any:
    """Declare a field with its help text and, for a number, its minimum and maximum.

    `without` says what happens without a value. It makes an empty value, most likely a mistake, an error.
    `old_name` is what the setting was called before: option and variable still work under it.
    """
    metadata = {
        "help": text,
        "minimum": minimum,
        "maximum": maximum,
        "without": without,
        "old_name": old_name,
    }
    return field(default=default, metadata=metadata)


def _default_lanes() -> int:
    """Return a power of two, at most a quarter of the cores, and none below four cores."""
    quarter = usable_cores() // 4
    return 1 << (min(quarter, 64).bit_length() - 1) if quarter else 0


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """The settings of `pgbourse serve`. Times are in seconds, sizes in bytes."""

    host: str = _setting(
        "127.0.0.1",
        "Address to listen on. The protocol has no login but client certificates: think before you open it.",
    )
    port: int = _setting(12345, "Port to listen on; 0 takes a free one.", minimum=0, maximum=65535)
    database_url: str | None = _setting(
        None,
        "An existing PostgreSQL 15 to 18, as postgresql://… or key=value text (set it in the environment, "
        "not here, if it holds a password). Without it pgbourse runs its own.",
        without="pgbourse runs a PostgreSQL of its own",
    )
    database_password_file: Path | None = _setting(  # noqa: RUF009 - it returns a field
        None,
        "File with the password of the database URL's role, which is how containers and services get their "
        "secrets. Read at the start; a newline at its end is not part of it.",
        without="the database URL says how to log in",
    )
    data_dir: Path = field(
        default_factory=default_data_dir,
        metadata={"help": "Folder of the embedded PostgreSQL; unused with a database URL."},
    )
    migrate: bool = _setting(True, "Apply the schema's new migrations and functions before serving.")
    tls_cert: Path | None = _setting(  # noqa: RUF009 - it returns a field
        None,
        "Speak TLS, and present the certificate in this file (PEM, followed by its chain). Read at the start "
        "and at each SIGHUP, as are the two below.",
        without="clients speak plain TCP",
    )
    tls_key: Path | None = _setting(  # noqa: RUF009 - it returns a field
        None, "File with the certificate's key, without a passphrase; by default the certificate's file."
    )
    tls_client_ca: Path | None = _setting(  # noqa: RUF009 - it returns a field
        None,
        "File of authorities. Clients must then present a certificate that one of them has signed, and may "
        "do what exchange.certificate_accounts and certificate_operators allow its common name.",
        without="clients need no certificates",
    )
    processes: int = field(
        default_factory=_default_processes,
        metadata={
            "help": "Processes that serve clients, each as many; with more than one, there is a parent too. "
            "One keeps one core busy, and its database two to four. Workers and buffers are each process's "
            "own; limits on connections and waiting documents are for all together.",
            "minimum": 1,
            "maximum": 64,
        },
    )
    lanes: int = field(
        default_factory=_default_lanes,
        metadata={
            "help": "Lanes of symbols, each with a worker that matches their orders; best the same number in "
            "all gateways of a database. 0 carries out orders in one transaction, not in two stages: that "
            "is as quick on up to 3 cores.",
            "minimum": 0,
            "maximum": 64,
        },
    )
    reserve_workers: int = _setting(
        2,
        "Workers that read documents, reserve for orders, and do all else but matching; each, as each lane, "
        "has a connection to the database. Two keep it busy while one of them reads.",
        minimum=1,
        maximum=50,
    )
    batch_requests: int = _setting(
        1000,
        "Most requests in one database call. It bounds how long a call holds its locks and others wait, to "
        "about 100 ms. Clients share it; a document with more requests is carried out in parts.",
        minimum=1,
    )
    queue_documents: int = _setting(
        20_000,
        "Most documents waiting for a worker: a few seconds of work. At the limit the server stops reading, "
        "so that memory stays bounded and clients slow down.",
        minimum=1,
    )
    reply_framing: ReplyFraming = _setting(  # noqa: RUF009 - it returns a field
        "plain",
        "How replies are framed: plain is the XML and a newline, length puts a length line before it, mirror "
        "uses the request's framing.",
    )
    close_after_reply: bool = _setting(
        False, "Close each connection after its reply, for clients that read to end of file."
    )
    max_document_bytes: int = _setting(
        8 * 1024 * 1024,
        "Largest request, in bytes: some 100,000 orders. Parsing takes several times its size in memory.",
        minimum=1,
    )
    max_connections: int = _setting(
        10_000,
        "Most connections open at once; more wait to be accepted. Each costs a file descriptor and buffers.",
        minimum=1,
    )
    max_connections_per_address: int = _setting(
        0,
        "Most connections open at once from one IP address; more are refused. 0 sets no limit: behind a "
        "proxy all clients may have the same address.",
        minimum=0,
    )
    request_timeout: float = _setting(
        30.0,
        "Seconds that a client has to finish a request it has begun, and to read some of its replies, so "
        "that half-sent requests and unread replies don't pile up. 0 sets no limit.",
        minimum=0,
    )
    idle_timeout: float = _setting(
        0.0,
        "Seconds after which a connection is closed if it neither sends a request nor waits for a reply. 0 "
        "sets no limit: clients may stay connected for days.",
        minimum=0,
    )
    away_timeout: float = _setting(
        120.0,
        "Seconds for which requests wait for a database that is away: longer than a failover or a restart "
        "takes. Then they are answered as not carried out until it is back, if that is certain; else their "
        "clients are closed. 0 sets no limit.",
        minimum=0,
    )
    drain_timeout: float = _setting(
        30.0,
        "Seconds that a stop waits until every request received is answered and its reply read.",
        minimum=0,
    )
    sweep_seconds: float = _setting(
        1.0,
        "Seconds between two sweeps that fold credits into the rows of accounts, so that they don't pile up.",
        minimum=0,
    )
    keep_updates: float = _setting(
        86_400.0,
        "Seconds for which updates of books are kept, so that feeds can resume: a day. 0 keeps them for "
        "ever. The shortest time counts, where the gateways of a database don't agree.",
        minimum=0,
        maximum=1_000_000_000,
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", "Lowest level of log lines to write to standard error; debug adds tracebacks."
    )
    log_format: LogFormat = _setting(  # noqa: RUF009 - it returns a field
        "text", "Format of log lines: for people, or JSON."
    )
    http_port: int | None = _setting(
        None,
        "Port of a page that shows the market, of /metrics for Prometheus, and of /healthz and /readyz; 0 "
        "takes a free one. Off without it.",
        minimum=0,
        maximum=65535,
        old_name="metrics_port",
    )
    http_host: str = _setting("127.0.0.1", "Address of that port.", old_name="metrics_host")
    page_viewers: int = _setting(
        100,
        "Most browsers that look at the page at once; more are told to come back. They share one database "
        "session and what it reads; each costs a connection and its buffers. 0: no page.",
        minimum=0,
    )
