"""What `pgbourse bench` measures: which loads on which states of the exchange, how often and how long."""

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

YARDSTICK_CLIENTS = (8, 32)  # the better of them is what ratios are to
GROUPS = (
    "clients", "orders", "cores", "history", "resting", "idle", "makers", "functions", "snapshot", "soak"
)  # fmt: skip
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
    connections: int = 0  # open in all; 0: those of the clients
    makers: int = 0  # accounts that quote, where others take
    cores: int | None = None  # for gateway and database; None: all of them, and the load on the same


@dataclass(frozen=True, slots=True)
class Plan:
    """How much time is spent, and on what. Times are in seconds."""

    rounds: int  # all points are run so often, one after the other, so that a slow minute hits no single one
    seconds: float  # of one run
    warm_up: float  # before each, for caches and plans
    pgbench_seconds: float  # of one run of pgbench
    soak: float
    held: float  # how long another session holds a snapshot
    held_part: float  # what is compared: so long before it is taken, and at its end
    history: tuple[int, ...]
    resting: int
    connections: int = 5000  # 0: not that many can be opened
    accounts: int = 1000
    makers: int = 64
    groups: tuple[str, ...] = GROUPS


FULL = Plan(5, 8.0, 2.0, 12.0, 60.0, 120.0, 15.0, (10_000, 100_000, 1_000_000), 100_000)
QUICK = Plan(2, 2.0, 0.5, 3.0, 10.0, 10.0, 3.0, (10_000, 100_000), 10_000)

BASE = Point("clients", "128")  # what those are compared with that have something beside the same load
_BESIDE_BASE = ("history", "resting", "idle")
# The steps of a round that are no points: they go through no gateway.
YARDSTICK = Point("yardstick", "pgbench")
FUNCTIONS = Point("functions", "without a gateway")


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
    if plan.connections:
        found.append(Point("idle", str(plan.connections), connections=plan.connections))
    found += [
        Point("makers", str(plan.makers), makers=plan.makers),
        Point("makers", "all", makers=plan.accounts),
    ]
    groups = set(plan.groups)
    needs_base = not groups.isdisjoint(_BESIDE_BASE)
    return [point for point in found if point.group in groups or (point == BASE and needs_base)]


def steps(plan: Plan, measured: list[Point]) -> list[Point]:
    """Return a round: the points, with the yardstick and the functions, what is compared close together."""
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


def _short(number: int) -> str:
    return f"{number // 1_000_000}M" if number % 1_000_000 == 0 else f"{number // 1000}k"
