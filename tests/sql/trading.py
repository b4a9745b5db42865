"""Random trading: requests that often, but not always, can be carried out."""

import random
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from tests.sql.market import Request, Said

__all__ = ["BALANCES", "GRANTS", "KINDS", "Trading", "names", "random_batch"]

BALANCES = ["0", "1000", "123456.789", "5000000"]
GRANTS = ["1", "100", "7.5", "1000.00000000000000000001"]
# Few prices, so that orders meet, and some apart by the last digit.
PRICE_DIGITS = ["", ".5", ".00000000000000000001"]

# What the protocol has beyond the base.
KINDS = ("ref", "tif", "post", "stp", "market", "reduce", "replace", "cancel_all", "switch", "look")


def random_batch(
    chance: random.Random, size: int, accounts: int, syms: int, newest: int, *, creating: bool = False
) -> list[Request]:
    """Make a batch of the base protocol: mostly orders, some queries and cancels, few creates."""
    return Trading(chance, names(accounts), names(syms, "S"), ()).batch(size, newest, creating=creating)


def names(count: int, start: str = "") -> list[str]:
    """Return so many names: 1, 2, …, or with a start S1, S2, …."""
    return [f"{start}{number}" for number in range(1, count + 1)]


class Trading:
    """A source of batches: orders, queries and cancels of orders up to the newest id, few creates; and kinds.

    It remembers what it made, so that it can send that again.
    """

    def __init__(
        self,
        chance: random.Random,
        accounts: Sequence[str],
        syms: Sequence[str],
        kinds: Iterable[str] = KINDS,
    ) -> None:
        self._chance = chance
        self._accounts = accounts
        self._syms = syms
        self._kinds = set(kinds)
        self._named: list[Request] = []  # orders and replaces with a ref
        self.orders: dict[int, str] = {}  # whose orders are to be asked for; who trades may fill it
        makers: dict[str, list[Callable[[int], Request]]] = {
            "reduce": [self._reduce] * 4,
            "replace": [self._replace] * 5,
            "cancel_all": [self._cancel_all],
            "switch": [self._switch],
            "look": [self._look] * 3,
        }
        self._makers = [maker for kind in sorted(self._kinds & makers.keys()) for maker in makers[kind]]

    def batch(self, size: int, newest: int, *, creating: bool = False) -> list[Request]:
        """Make a batch; with creating, of creates alone."""
        return [self.request(newest, creating=creating) for _ in range(size)]

    def beginning(self) -> list[Request]:
        """Make requests that give all accounts something to trade with."""
        give = self._chance.choice
        requests = [
            Request("create_account", account, amount=give(BALANCES[1:])) for account in self._accounts
        ]
        requests += [
            Request("grant_shares", account, sym, give(GRANTS[1:]))
            for sym in self._syms
            for account in self._accounts
        ]
        return requests

    def request(self, newest: int, *, creating: bool = False) -> Request:
        """Make a request; with creating, to create."""
        chance = self._chance
        if not creating and chance.random() >= 0.05:
            return self.transaction(newest)
        if chance.random() < 0.5:
            return Request("create_account", self._account(), amount=chance.choice(BALANCES))
        return Request("grant_shares", self._account(), self._sym(), chance.choice(GRANTS))

    def transaction(self, newest: int) -> Request:
        """Make a request that creates nothing."""
        chance = self._chance
        account, dice = self._account(), chance.random()
        if self._makers and dice < 0.25:
            return chance.choice(self._makers)(newest)
        if self._mine() and dice < 0.33:
            return self._again()
        if dice < 0.8:
            return self._order(account)
        return self._named_by_id_or_ref(chance.choice(["query_order", "cancel_order"]), account, newest)

    def narrow(self, chance: random.Random, account: str) -> None:
        """From now on, go by this chance, and make requests of this account alone."""
        self._chance, self._accounts = chance, [account]

    def _account(self) -> str:
        return self._chance.choice(self._accounts)

    def _sym(self) -> str:
        return self._chance.choice(self._syms)

    def _shares(self) -> Decimal:
        most = 200 if self._chance.random() < 0.9 else 3000
        return Decimal(self._chance.randint(1, most)) / self._chance.choice([1, 1, 1, 2, 8])

    def _order(self, account: str) -> Request:
        chance = self._chance
        shares = self._shares() * chance.choice([1, -1])
        amount = "0" if chance.random() < 0.02 else str(shares)
        limit: str | None = f"{chance.randint(96, 104)}{chance.choice(PRICE_DIGITS)}"
        said = self._terms()
        if "market" in self._kinds and chance.random() < 0.2:
            limit, budget = None, None
            if shares > 0:
                budget = str(chance.choice([50, 200, 5000, Decimal("1234.5678901"), abs(shares) * 100]))
                amount += chance.choice(["", "", ".0" if shares == int(shares) else "0"])
            tif = chance.choice([None, "IOC", "FOK"]) if "tif" in self._kinds else None
            said = said._replace(type="market", budget=budget, tif=tif, post=None)
            if chance.random() < 0.04:  # a contradiction
                wrong = Said(type="market", tif="GTC"), Said(type="market", post=True), Said(type="limit")
                said = chance.choice(wrong)._replace(ref=said.ref, budget=budget)
        return self._remember(Request("place_order", account, self._sym(), amount, limit, said=said))

    def _terms(self) -> Said:
        """Say something of an order, or nothing."""
        chance = self._chance
        post = "post" in self._kinds and chance.random() < 0.08
        tif = chance.choice([None] * 4 + ["GTC", "IOC", "FOK"]) if "tif" in self._kinds else None
        stp = chance.choice([None] * 5 + ["taker", "maker", "both"]) if "stp" in self._kinds else None
        ref = f"r{len(self._named)}" if "ref" in self._kinds and chance.random() < 0.3 else None
        if ref is not None and self._mine() and chance.random() < 0.1:
            old = chance.choice(self._mine())  # which is taken, unless it was refused or is another account's
            assert old.said is not None
            ref = old.said.ref
        if post and chance.random() < 0.95:
            tif = chance.choice([None, "GTC"])
        kind = "limit" if "market" in self._kinds and chance.random() < 0.05 else None
        return Said(ref, kind, None, tif, post or None, stp)

    def _mine(self) -> list[Request]:
        return [request for request in self._named if request.account in self._accounts]

    def _remember(self, request: Request) -> Request:
        if request.said is not None and not any(value is not None for value in request.said):
            return request._replace(said=None)
        if request.said is not None and request.said.ref is not None:
            self._named.append(request)
        return request

    def _again(self) -> Request:
        """Send an order again, as it was or in other words."""
        chance = self._chance
        request = chance.choice(self._mine()[-20:])
        amount, said = request.amount or "", request.said or Said()
        if chance.random() < 0.3:
            amount = f"{amount}000" if "." in amount else f"{amount}.0"
        if chance.random() < 0.3:
            is_limit = said.type in (None, "limit")
            usual = "GTC" if is_limit else "IOC"
            said = said._replace(tif=chance.choice([None, usual]) if said.tif in (None, usual) else said.tif)
        return request._replace(amount=amount, said=said)

    def _named_by_id_or_ref(self, action: str, account: str, newest: int) -> Request:
        if self._mine() and self._chance.random() < 0.2:
            old = self._chance.choice(self._mine()[-50:])
            return Request(action, old.account, said=Said(ref=(old.said or Said()).ref))
        mine = [order_id for order_id, owner in self.orders.items() if owner in self._accounts]
        if mine and self._chance.random() < 0.9:
            order_id = self._chance.choice(mine[-40:])
            return Request(action, self.orders[order_id], order_id=order_id)
        return Request(action, account, order_id=self._chance.randint(1, newest + 2))

    def _reduce(self, newest: int) -> Request:
        if self._chance.random() < 0.5:
            request = self._named_by_id_or_ref("reduce_order", self._account(), newest)
            return request._replace(amount=str(self._shares()))
        request = self._named_by_id_or_ref("reduce_order_to", self._account(), newest)
        return request._replace(amount=self._chance.choice(["0", str(self._shares())]))

    def _replace(self, newest: int) -> Request:
        chance = self._chance
        old = self._named_by_id_or_ref("replace_order", self._account(), newest)
        said = self._terms()._replace(type=None, of_ref=None if old.said is None else old.said.ref)
        if chance.random() < 0.2:
            said = said._replace(if_open=str(chance.choice([1, 5, self._shares()])))
        amount = self._shares() * chance.choice([1, -1])
        limit = f"{chance.randint(96, 104)}{chance.choice(PRICE_DIGITS)}"
        return self._remember(old._replace(amount=str(amount), limit=limit, said=said))

    def _cancel_all(self, _newest: int) -> Request:
        sym = self._chance.choice([None, self._sym(), "S99"])
        return Request("cancel_all", self._account(), sym)

    def _switch(self, _newest: int) -> Request:
        action = self._chance.choice(["arm_switch", "arm_switch", "disarm_switch", "fire_switch"])
        seconds = self._chance.choice(["1000", "86400"]) if action == "arm_switch" else None
        return Request(action, self._account(), amount=seconds)

    def _look(self, newest: int) -> Request:
        chance, account = self._chance, self._account()
        match chance.choice(["look_account", "list_orders", "look_book"]):
            case "look_account":
                return Request("look_account", account)
            case "look_book":
                return Request("look_book", account, self._sym(), chance.choice(["1", "3", "1000"]))
        sym, after = (
            chance.choice([None, self._sym(), "S99"]),
            chance.choice([None, chance.randint(1, newest + 1)]),
        )
        return Request("list_orders", account, sym, chance.choice(["1", "3", "1000"]), order_id=after)
