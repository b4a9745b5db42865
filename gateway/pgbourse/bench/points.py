"""What `pgbourse bench` measures: which loads, on which states of the exchange, how often and how long."""

import os
from dataclasses import dataclass

__all__ = [
    "BASE",
    "FULL",
    "FUNCTIONS",
    "GROUPS",
    "QUICK",
    "YARDSTICK",
    "YARDSTICK_CLIENTS",
    "Plan",
    "Point",
    "points",
    "steps",
]

YARDSTICK_CLIENTS = (1, 8, 32)  # ratios are to the best of them, those of one client to the first
GROUPS = (
    "clients", "orders", "cores", "history", "resting", "idle", "refs", "makers", "flush", "hostile", "lanes",
    "processes", "functions", "snapshot", "soak",
)  # fmt: skip
_CLIENTS = (1, 8, 32, 128, 512)
_MANY = 128  # clients, unless their number is what varies


@dataclass(frozen=True, slots=True)
class Point:
    """One load on one state of the exchange."""

    group: str
    label: str
    clients: int = _MANY
    orders: int = 1  # in a document
    history: int = 0  # orders placed and filled beforehand
    resting: int = 0  # orders in the book beforehand
    connections: int = 0  # open in total; 0: only those of the clients
    makers: int = 0  # accounts that quote while the others take; 0: orders are drawn evenly
    requotes: bool = False  # makers cancel an older order with each document
    refs: bool = False  # each order has one
    hostile: str = ""  # what other clients send in huge documents meanwhile: orders or queries
    flush_ms: float = 0  # how much longer each flush of the log takes than the disk needs
    serve: str = ""  # options of the server
    cores: int | None = None  # for gateway and database; None: all of them, shared with the load


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure, and what. Times are in seconds."""

    rounds: int  # passes over all points, so that a slow minute of the machine spoils no single one
    seconds: float  # of one run
    warm_up: float  # before each run, for caches and plans
    pgbench_seconds: float  # of one run of pgbench
    soak: float
    held: float  # how long another session holds a snapshot
    held_part: float  # compared: so many seconds before the snapshot, and the last of it
    history: tuple[int, ...]
    resting: int
    connections: int = 5000  # 0 if this process may not open that many
    accounts: int = 1000
    makers: int = 64
    flush_ms: float = 4  # 0 if the database isn't ours, where this can't be set
    judges: bool = True  # long enough to say whether targets are met
    cores: int = os.cpu_count() or 1  # lanes and processes are tried up to half of them, and two at least
    groups: tuple[str, ...] = GROUPS


FULL = Plan(5, 8.0, 2.0, 12.0, 60.0, 120.0, 15.0, (10_000, 100_000, 1_000_000), 100_000)
QUICK = Plan(2, 2.0, 0.5, 3.0, 10.0, 10.0, 3.0, (10_000, 100_000), 10_000, judges=False)

BASE = Point("clients", "128")  # the point that these groups are compared with
_BESIDE_BASE = ("history", "resting", "idle", "refs", "flush")
# Steps of a round that are not points, because they use no gateway.
YARDSTICK = Point("yardstick", "pgbench")
FUNCTIONS = Point("functions", "without a gateway")


def points(plan: Plan, cores: int) -> list[Point]:
    """Return what to measure. Points confine processes to up to `cores` cores; 0 if that is impossible."""
    found = [Point("clients", str(clients), clients) for clients in _CLIENTS]
    found += [Point("orders", "10", 32, 10), Point("orders", "100", 8, 100)]
    found += [Point("cores", str(some), cores=some) for some in _doubling(cores)]
    found += [Point("history", _short(orders), history=orders) for orders in plan.history]
    found.append(Point("resting", _short(plan.resting), resting=plan.resting))
    if plan.connections:
        found.append(Point("idle", str(plan.connections), connections=plan.connections))
    found += [
        Point("refs", "each", refs=True),
        Point("makers", str(plan.makers), makers=plan.makers),
        Point("makers", "all", makers=plan.accounts),
        Point("makers", "1", makers=1),
        Point("makers", f"{plan.makers} requoting", orders=2, makers=plan.makers, requotes=True),
        *(Point("hostile", other or "alone", 32, hostile=other) for other in ("", "orders", "queries")),
    ]
    some = _doubling(max(2, plan.cores // 2))
    found += [Point("lanes", str(lanes), serve=_lanes(lanes)) for lanes in (0, *some)]
    found += [Point("processes", str(each), 512, serve=f"--processes {each}") for each in some]
    if plan.flush_ms:
        found.append(Point("flush", f"{plan.flush_ms:g}", flush_ms=plan.flush_ms))
    groups = set(plan.groups)
    needs_base = not groups.isdisjoint(_BESIDE_BASE)
    return [point for point in found if point.group in groups or (point == BASE and needs_base)]


def steps(plan: Plan, measured: list[Point]) -> list[Point]:
    """Return a round: points, yardstick and functions, with those next to each other that are compared."""
    chosen = {*measured, *([FUNCTIONS] if "functions" in plan.groups else [])}
    if not chosen:
        return []
    one, most = Point("clients", "1", 1), Point("clients", "512", 512)
    many_orders = [point for point in measured if point.group == "orders"]
    beside = [point for point in measured if point.group in _BESIDE_BASE]
    half = len(beside) // 2
    order = [one, FUNCTIONS, YARDSTICK, most, *many_orders, *beside[:half], BASE, *beside[half:]]
    order = [step for step in order if step in chosen or step == YARDSTICK]
    return order + [point for point in measured if point not in order]


def _lanes(number: int) -> str:
    options = f"--processes 1 --lanes {number}"
    return f"{options} --reserve-workers {number}" if number else options


def _doubling(most: int) -> list[int]:
    """Return 1, 2, 4 … as long as they are not more."""
    return [1 << power for power in range(most.bit_length())]


def _short(number: int) -> str:
    return f"{number // 1_000_000}M" if number % 1_000_000 == 0 else f"{number // 1000}k"
