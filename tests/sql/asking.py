"""Requests of all kinds in a few words, and what they are answered: for tests to be read at a glance.

`1 order X 10 5 ref=a7` is account 1, which buys 10 X at 5. The others: `1 replace 3 10 6 open=4`, with the
old order's id or `of=a7`; `1 reduce 3 shares=4`, or `to=4`; `1 query 3`, `1 cancel ref=a7`,
`1 cancel-all X`, `1 arm 60`, `1 disarm`, `1 fire`, `1 account`.
"""

from collections.abc import Sequence

from tests.sql.market import Answer, Market, Request, Said

__all__ = ["ask", "parse", "say"]

_ACTIONS = {
    "order": "place_order",
    "replace": "replace_order",
    "query": "query_order",
    "cancel": "cancel_order",
    "cancel-all": "cancel_all",
    "arm": "arm_switch",
    "disarm": "disarm_switch",
    "fire": "fire_switch",
    "account": "look_account",
}
_NAMES = {"of": "of_ref", "open": "if_open"}
_FLAGS = {None: None, "true": True, "false": False}


def parse(words: str, sequence: int = 1) -> Request:
    """Read one request."""
    account, verb, *rest = words.split()
    plain = [word for word in rest if "=" not in word]
    said = dict(word.split("=") for word in rest if "=" in word)
    request = Request(_ACTIONS.get(verb, verb), account, sequence=sequence)
    match verb:
        case "order":
            sym, amount, *limit = plain
            request = request._replace(sym=sym, amount=amount, limit=limit[0] if limit else None)
        case "replace":
            *named, amount, limit_ = plain
            order_id = int(named[0]) if named else None
            request = request._replace(order_id=order_id, amount=amount, limit=limit_)
        case "reduce":
            action = "reduce_order_to" if "to" in said else "reduce_order"
            amount = said.pop("to") if "to" in said else said.pop("shares")
            request = request._replace(action=action, amount=amount)
        case "cancel-all":
            request = request._replace(sym=plain[0] if plain else None)
        case "arm":
            request = request._replace(amount=plain[0])
    if verb in ("reduce", "query", "cancel") and plain:
        request = request._replace(order_id=int(plain[0]))
    if said:
        terms = Said(post=_FLAGS[said.pop("post", None)])
        for name, value in said.items():
            terms = terms._replace(**{_NAMES.get(name, name): value})  # type: ignore[arg-type]
        request = request._replace(said=terms)
    return request


def ask(market: Market, *requests: str | Request) -> list[str]:
    """Ask in one batch; return what each is answered, as in `opened #3, filled 4, canceled 6`."""
    batch = [parse(request) if isinstance(request, str) else request for request in requests]
    return [say(rows) for rows in market.batch(batch)]


def say(rows: Sequence[Answer]) -> str:
    """Return an answer in words: of a refusal its code, else its rows with ids, shares and prices."""
    return ", ".join(map(_say_row, rows))


def _say_row(row: Answer) -> str:
    if row.outcome == "refused":
        return str(row.code)
    words = [row.outcome]
    if row.order_id is not None:
        words.append(f"#{row.order_id}")
    words += [value for value in (row.sym, row.shares) if value is not None]
    if row.price is not None:
        words.append(f"@ {row.price}")
    return " ".join(words)
