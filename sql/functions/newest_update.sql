-- The newest update of a symbol: its number, and where both sides of the book begin. Simple enough to be inlined.
create or replace function exchange.newest_update(p_symbol_key bigint)
returns table (
    seq bigint,
    bid_rank numeric,
    bid_id bigint,
    ask_rank numeric,
    ask_id bigint
)
language sql
stable
as $$
select
    updates.seq,
    updates.bid_rank,
    updates.bid_id,
    updates.ask_rank,
    updates.ask_id
from exchange.updates
where updates.symbol_key = p_symbol_key
order by updates.seq desc
limit 1
$$;

comment on function exchange.newest_update(bigint) is
'The number of the newest update of a symbol and the best orders that it tells, as in updates; no row where there is none.';

revoke all on function exchange.newest_update(bigint) from public;
grant execute on function exchange.newest_update(bigint) to exchange_reader;
