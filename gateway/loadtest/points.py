"""What `pgbourse bench` measures: which loads on which states of the exchange, how often and how long."""

from dataclasses import dataclass

__all__ = ["FULL", "QUICK", "YARDSTICK_CLIENTS", "Plan", "Point", "points"]

YARDSTICK_CLIENTS = (8, 32)  # the better of them is what ratios are to
_CLIENTS = (1, 8, 32, 128, 512)
_MANY = 128  # clients where their number is not what is varied


@dataclass(frozen=True, slots=True)
class Point:
    """One load on one state of the exchange."""

    group: str
    label: str
    clients: int = _MANY
    orders: int = 1  # in a document
    history: int = 0  # orders placed and filled beforehand
    resting: int = 0  # orders in the book beforehand
    cores: int | None = None  # for gateway and database; None: all of them, and the load on the same


@dataclass(frozen=True, slots=True)
class Plan:
    """How much time is spent. Times are in seconds."""

    rounds: int  # all points are run so often, one after the other, so that a slow minute hits no single one
    seconds: float  # of one run
    warm_up: float  # before each, for caches and plans
    pgbench_seconds: float  # of one run of pgbench
    soak: float
    history: tuple[int, ...]
    resting: int


FULL = Plan(5, 8.0, 2.0, 15.0, 60.0, (10_000, 100_000, 1_000_000), 100_000)
QUICK = Plan(2, 2.0, 0.5, 3.0, 10.0, (10_000, 100_000), 10_000)


def points(plan: Plan, cores: int) -> list[Point]:
    """Return what to measure, with points for up to so many cores; 0: processes can't be confined to some."""
    found = [Point("clients", str(clients), clients) for clients in _CLIENTS]
    found += [Point("orders", "10", 32, 10), Point("orders", "100", 8, 100)]
    some = 1
    while some <= cores:
        found.append(Point("cores", str(some), cores=some))
        some *= 2
    found += [Point("history", _short(orders), history=orders) for orders in plan.history]
    found.append(Point("resting", _short(plan.resting), resting=plan.resting))
    return found


def _short(number: int) -> str:
    return f"{number // 1_000_000}M" if number % 1_000_000 == 0 else f"{number // 1000}k"
