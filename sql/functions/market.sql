-- Tells where each symbol stands, for whoever looks at the market: what its newest and oldest updates say, a look-up each.
create or replace function exchange.market()
returns table (
    sym text,
    halted boolean,
    seq bigint,
    last_price numeric,
    last_at timestamptz,
    reference_price numeric,
    bid numeric,
    ask numeric
)
language sql
stable
security definer
set search_path = exchange, pg_temp
set jit = off
as $$
select
    symbols.sym,
    symbols.halted_at is not null,
    coalesce(newest.seq, 0),
    trim_scale(newest.last_price),
    newest.last_at,
    trim_scale(oldest.last_price),
    case when newest.bid_id > 0 then trim_scale(-newest.bid_rank) end,
    case when newest.ask_id > 0 then trim_scale(newest.ask_rank) end
from exchange.symbols
left join lateral (
    select
        updates.seq,
        updates.bid_rank,
        updates.bid_id,
        updates.ask_rank,
        updates.ask_id,
        updates.last_price,
        updates.last_at
    from exchange.updates
    where updates.symbol_key = symbols.symbol_key
    order by updates.seq desc
    limit 1
) as newest on true
-- Where there has been no trade, all updates would be looked at; before the oldest, the index entries of those that were forgotten.
left join lateral (
    select updates.last_price
    from exchange.updates
    where
        updates.symbol_key = symbols.symbol_key
        and updates.seq >= exchange.oldest_update(symbols.symbol_key)
        and newest.last_price is not null
        and updates.last_price is not null
    order by updates.seq
    limit 1
) as oldest on true
order by symbols.sym
$$;

comment on function exchange.market() is
'A row for each symbol, by name: whether trading is halted, the number of its newest update (0 where there is none), price and time of '
'its last trade, the price to compare that with, and the best bid and ask. Null where there is none. reference_price is the earliest last '
'price that updates tell: that of a day ago, if they are kept for a day, or of the first trade.';

revoke all on function exchange.market() from public;
grant execute on function exchange.market() to exchange_gateway, exchange_reader;
