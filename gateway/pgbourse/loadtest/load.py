"""`pgbourse load`: set-up, load, summary, and on request a check of the server's answers."""

import itertools
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import click

from pgbourse.client import Client
from pgbourse.client.features import expect_features
from pgbourse.loadtest.check import Checker
from pgbourse.loadtest.connections import LoadError, Target
from pgbourse.loadtest.measurement import Measurement
from pgbourse.loadtest.progress import LoadProgress
from pgbourse.loadtest.run import OnReply, Run, Source
from pgbourse.loadtest.subscribers import Subscribers
from pgbourse.loadtest.workload import Feeder, Template, Workload
from pgbourse.logs import printable

__all__ = ["LoadSettings", "load", "run_closed_loop", "set_up"]

_CHECK_CLIENTS = 8  # query all orders at the end
_CHECK_ROUNDS = 10  # of queries: lost ones are repeated


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """The settings of `pgbourse load`."""

    target: Target
    workload: Workload
    clients: int
    seconds: float | None
    documents: int | None
    rate: float | None
    check: bool
    json_file: Path | None
    progress: bool
    subscribers: int = 0


def load(settings: LoadSettings) -> int:
    """Put load on a server and print the results. Ctrl-C ends the run early, with its summary.

    Returns 0; 1 if documents went unanswered (unless clients were told to reconnect) or were answered
    wrongly, or if nothing was accepted; 130 if interrupted.

    Raises LoadError if the server can't be reached, fails in the set-up, or fails during the run (after the
    summary).
    """
    workload = settings.workload
    _expect_features(settings)
    seconds = set_up(settings.target, workload)
    where = f"{settings.target.host}:{settings.target.port}"
    what = f"{workload.accounts} accounts x {workload.symbols} symbols"
    click.echo(f"set-up on {where}: {what} in {seconds:.2f} s")
    checker = Checker() if settings.check else None
    with _subscribers(settings) as subscribers:
        measurement, interrupted = _run(settings, checker, subscribers)
        for line in [*measurement.lines(), *(subscribers.lines() if subscribers else ())]:
            click.echo(line)
        if measurement.failure is not None:
            checker = None  # there is no point in asking a server that has failed
        if checker is not None:
            _check(settings, checker)
        differences = subscribers.compare(workload.account_ids()[0]) if subscribers and checker else []
    for difference in differences:
        click.echo(f"check: {printable(difference)}")
    if checker is not None and subscribers and not differences:
        click.echo(f"check: {workload.symbols} books that a feed told are those that the server shows")
    if settings.json_file is not None:
        _write_json(settings, measurement, checker, subscribers)
    if measurement.failure is not None:
        raise LoadError(measurement.failure)
    if interrupted:
        return 130
    unanswered = 0 if settings.target.reconnect else measurement.unanswered
    wrong = measurement.incomplete or unanswered or (checker and checker.number_of_findings)
    wrong = wrong or len(differences) or (subscribers is not None and subscribers.problem != "")
    return 1 if wrong or (measurement.refused and not measurement.opened) else 0


def _expect_features(settings: LoadSettings) -> None:
    """Raise NotSupported if the server would ignore what the workload asks for, and do something else."""
    target, needed = settings.target, settings.workload.features()
    if settings.subscribers:
        needed |= {"subscribe"} | ({"book"} if settings.check else set())
    if needed:
        with Client(target.host, target.port, timeout=target.stall_seconds, tls=target.tls) as client:
            expect_features(client.server(), needed)


def set_up(target: Target, workload: Workload) -> float:
    """Create the workload's accounts, one document after the other, and return how many seconds it took.

    Raises LoadError if the server can't be reached, or does not create all of them.
    """
    begin = time.perf_counter()
    measurement = Run(replace(target, reconnect=False), workload.setup_documents(), clients=1).go()
    if measurement.failure is not None:
        raise LoadError(f"the set-up failed: {measurement.failure}")
    if measurement.refused or measurement.incomplete:
        message = next(iter(measurement.errors), "a reply has another number of results than requests")
        raise LoadError(f"the set-up was refused: {measurement.refused} x {message}")
    return time.perf_counter() - begin


def run_closed_loop(
    target: Target,
    feeder: Feeder,
    *,
    clients: int,
    seconds: float,
    on_tick: Callable[[Measurement], None] | None = None,
) -> Measurement:
    """Run a closed loop for some seconds and return the figures.

    Raises LoadError if it ends early or any document was not answered in full.
    """
    learn = feeder.learn if feeder.workload.asks_back else None
    run = Run(target, feeder, clients=clients, seconds=seconds, on_reply=learn, on_tick=on_tick)
    measurement = run.go()
    if measurement.failure is not None or measurement.incomplete:
        raise LoadError(measurement.failure or "replies have another number of results than requests")
    return measurement


@contextmanager
def _subscribers(settings: LoadSettings) -> Iterator[Subscribers | None]:
    """Have the load's symbols followed, if that is asked for."""
    if not settings.subscribers:
        yield None
        return
    syms, keeps_books = settings.workload.syms(), settings.check
    subscribers = Subscribers(settings.target, syms, settings.subscribers, keeps_books=keeps_books)
    try:
        yield subscribers
    finally:
        subscribers.close()


def _run(
    settings: LoadSettings, checker: Checker | None, subscribers: Subscribers | None
) -> tuple[Measurement, bool]:
    """Return the figures of the run, and whether it was interrupted."""
    feeder = Feeder(settings.workload)
    source: Source = feeder if settings.documents is None else itertools.islice(feeder, settings.documents)
    hooks: list[OnReply] = []
    if settings.workload.asks_back:
        hooks.append(feeder.learn)
    if checker is not None:
        hooks.append(checker.saw)
    progress = None
    if settings.progress:
        progress = LoadProgress(seconds=settings.seconds, documents=settings.documents)
    run = Run(
        settings.target,
        source,
        clients=settings.clients,
        seconds=settings.seconds,
        rate=settings.rate,
        on_reply=_all_of(hooks),
        on_unknown=checker.saw_no_reply if checker is not None else None,
        on_resend=checker.saw_resent if checker is not None else None,
        resends=bool(settings.workload.refs),
        on_tick=progress,
    )
    with progress or nullcontext(), _interruptible(run) as interrupted:
        if subscribers is not None:
            subscribers.begin()
        measurement = run.go()
        if subscribers is not None:
            subscribers.end()
    return measurement, bool(interrupted)


def _all_of(hooks: list[OnReply]) -> OnReply | None:
    if len(hooks) < 2:
        return hooks[0] if hooks else None

    def call(template: Template, document: bytes, reply: bytes) -> None:
        for hook in hooks:
            hook(template, document, reply)

    return call


@contextmanager
def _interruptible(run: Run) -> Iterator[list[int]]:
    """Let Ctrl-C end a run in order, once; a second one ends it at once. The list says whether it came."""
    seen: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)
        run.stop()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def _check(settings: LoadSettings, checker: Checker) -> None:
    """Ask for every order's status and print what can't be."""
    target = replace(settings.target, stall_seconds=max(60.0, settings.target.stall_seconds))
    for _ in range(_CHECK_ROUNDS):
        clients = min(settings.clients, _CHECK_CLIENTS)
        measurement = Run(target, checker.queries(), clients=clients, on_reply=checker.saw_status).go()
        if not checker.unasked or measurement.failure is not None:
            break
    checker.conclude()
    if not checker.number_of_findings:
        click.echo(f"check: {len(checker.orders)} orders agree with their fills, limits and each other")
    if checker.unknown_documents:
        click.echo(
            f"check: {checker.unknown_documents} documents went unanswered, and may have been done or not"
        )
    for finding in checker.findings:
        click.echo(f"check: {printable(finding)}")
    if checker.number_of_findings > len(checker.findings):
        click.echo(f"check: {checker.number_of_findings - len(checker.findings)} findings more")


def _write_json(
    settings: LoadSettings,
    measurement: Measurement,
    checker: Checker | None,
    subscribers: Subscribers | None,
) -> None:
    assert settings.json_file is not None
    target, workload = settings.target, settings.workload
    report: dict[str, Any] = {
        "server": f"{target.host}:{target.port}",
        "request_framing": target.framing.name.lower(),
        "new_connection_each": target.new_connection_each,
        "reconnect": target.reconnect,
        "clients": settings.clients,
        "rate": settings.rate,
        "workload": asdict(workload),
        "result": measurement.as_dict(),
    }
    if subscribers is not None:
        report["subscribers"] = subscribers.as_dict()
    if checker is not None:
        report["check"] = {
            "unknown_documents": checker.unknown_documents,
            "findings": checker.number_of_findings,
            "first": checker.findings,
        }
    try:
        settings.json_file.write_text(json.dumps(report, indent=2) + "\n")
    except OSError as error:
        raise LoadError(f"can't write {settings.json_file}") from error
