-- Checks every promise that the tables can prove, on a live database.
--
-- It is one statement, so one snapshot: it sees each transaction whole or not at all, takes no lock that anybody would
-- notice, and works on a standby. It reads the whole history: for a large database, run it on a standby.
create or replace function exchange.check_integrity()
returns table (
    invariant text,
    subject text,
    detail text
)
language sql
stable
as $$
select found.invariant, found.subject, found.detail from exchange.check_conservation() as found
union all
select found.invariant, found.subject, found.detail from exchange.check_holdings() as found
union all
select found.invariant, found.subject, found.detail from exchange.check_orders() as found
union all
select found.invariant, found.subject, found.detail from exchange.check_terms() as found
union all
select found.invariant, found.subject, found.detail from exchange.check_links() as found
union all
select found.invariant, found.subject, found.detail from exchange.check_book() as found
union all
select found.invariant, found.subject, found.detail from exchange.check_updates() as found
union all
select found.invariant, found.subject, found.detail from exchange.check_events() as found
union all
select found.invariant, found.subject, found.detail from exchange.check_executions() as found
union all
select found.invariant, found.subject, found.detail from exchange.check_priority() as found
union all
select found.invariant, found.subject, found.detail from exchange.check_keys() as found
$$;

comment on function exchange.check_integrity() is
'A row for each violated invariant, none when the exchange is sound: conservation of cash and shares, orders that add up and ended '
'as their terms say, a book that is not crossed, fills within limits and by price-time priority, updates that tell of all of it, no '
'orphans. From the tables alone.';

revoke all on function exchange.check_integrity() from public;
grant execute on function exchange.check_integrity() to exchange_reader;
