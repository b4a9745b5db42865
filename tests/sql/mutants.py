"""Faults that the functions of exchange could have, each put around one of them by its name.

A mutant is a function's name and the body in PL/pgSQL that stands in its place (`wrap` in market.py). It says
what the fault does, and not where in the text it would be, so that the text can change.
"""

from typing import NamedTuple

from tests.sql.market import Connection, wrap

__all__ = [
    "ACCOUNTS_AS_NAMED",
    "ACCOUNTS_AS_NAMED_SLOWLY",
    "EQUAL_LIMITS_MISS",
    "IMPROVEMENT_LOST",
    "LAST_COMES_FIRST",
    "REFS_MEAN_NOTHING",
    "SYMBOLS_AS_NAMED",
    "Mutant",
    "after",
    "after_match",
    "hiding",
    "install",
]


class Mutant(NamedTuple):
    """A function's name, and the body that takes its place."""

    function: str
    body: str


def install(connection: Connection, mutant: Mutant) -> None:
    """Put a mutant in the place of its function, in this database."""
    wrap(connection, mutant.function, mutant.body)


def after(function: str, change: str) -> Mutant:
    """Make a mutant that does what the function does, then something more; a function with answers.

    `v_execution_id` and `v_entry_id` are the last ones that there were before.
    """
    return Mutant(
        function,
        f"""
        declare
            v_answers exchange.answer[];
            v_execution_id bigint := coalesce((select max(execution_id) from exchange.executions), 0);
            v_entry_id bigint := coalesce((select max(entry_id) from exchange.cancellations), 0);
        begin
            v_answers := array(select answer from {{call}} as answer);
            {change};
            return query select * from unnest(v_answers);
        end
        """,
    )


def after_match(change: str) -> Mutant:
    """Make a mutant of the match that does what it does, then something more: see `after`."""
    return Mutant(
        "match",
        f"""
        declare
            v_execution_id bigint := coalesce((select max(execution_id) from exchange.executions), 0);
        begin
            select * into order_ids, codes, messages, told from {{call}};
            {change};
        end
        """,
    )


def hiding(condition: str) -> Mutant:
    """Make a mutant that matches as if the orders `rest` for which a condition holds weren't in the book."""
    return Mutant(
        "match",
        f"""
        declare
            v_hidden constant exchange.resting_orders[] := array(
                select rest from exchange.resting_orders as rest where {condition}
            );
        begin
            delete from exchange.resting_orders as gone using unnest(v_hidden) as hidden
            where gone.symbol_key = hidden.symbol_key and gone.side = hidden.side
                and gone.price_rank = hidden.price_rank and gone.order_id = hidden.order_id;
            select * into order_ids, codes, messages, told from {{call}};
            insert into exchange.resting_orders select * from unnest(v_hidden);
        end
        """,
    )


LAST_COMES_FIRST = hiding(
    "exists (select from exchange.resting_orders as later where later.symbol_key = rest.symbol_key "
    "and later.side = rest.side and later.price_rank = rest.price_rank and later.order_id > rest.order_id)"
)
EQUAL_LIMITS_MISS = hiding(
    "exists (select from unnest(p_incoming) as placed where placed.symbol_key = rest.symbol_key "
    "and placed.side <> rest.side and placed.limit_price = abs(rest.price_rank))"
)
IMPROVEMENT_LOST = Mutant(
    "write_gains",
    """
    declare
        v_events exchange.run_event[] := p_events;
    begin
        for n in 1 .. cardinality(v_events) loop
            if v_events[n].kind = 'trade' and v_events[n].side = 'buy' then
                v_events[n].limit_price := v_events[n].price;
            end if;
        end loop;
        p_events := v_events;
        perform {call};
    end
    """,
)

# Each order is let in whenever it comes.
REFS_MEAN_NOTHING = Mutant(
    "reserve",
    """
    begin
        for n in 1 .. cardinality(p_requests) loop
            p_requests[n].terms.ref := p_requests[n].terms.ref || '.' || md5(random()::text);
        end loop;
        return {call};
    end
    """,
)

# Locks in the order in which the client named them: what the design forbids.
SYMBOLS_AS_NAMED = Mutant(
    "lock_batch",
    """
    declare
        v_asked exchange.request;
    begin
        foreach v_asked in array p_requests loop
            perform pg_advisory_xact_lock(5000, exchange.symbol_slot(symbols.symbol_key))
            from exchange.symbols where symbols.sym = v_asked.sym;
        end loop;
        return {call};
    end
    """,
)


def _accounts_as_named(pause: float) -> Mutant:
    return Mutant(
        "lock_batch",
        f"""
        declare
            v_asked exchange.request;
        begin
            foreach v_asked in array p_requests loop
                perform from exchange.balances where account_key =
                    (select account_key from exchange.accounts where account_id = v_asked.account_id)
                order by generation desc limit 1 for no key update;
                perform pg_sleep({pause});
            end loop;
            return {{call}};
        end
        """,
    )


ACCOUNTS_AS_NAMED = _accounts_as_named(0)
ACCOUNTS_AS_NAMED_SLOWLY = _accounts_as_named(0.005)  # so that others do so meanwhile
