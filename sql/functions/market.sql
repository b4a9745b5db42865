-- Tells where each symbol stands, for whoever looks at the market: what its newest update says, a look-up each.
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
    trim_scale(
        case
            when newest.updated_at < date_bin(interval '1 day', now(), timestamptz '2000-01-01 00:00+00') then newest.last_price
            else newest.reference_price
        end
    ),
    case when newest.bid_id > 0 then trim_scale(-newest.bid_rank) end,
    case when newest.ask_id > 0 then trim_scale(newest.ask_rank) end
from exchange.symbols
left join lateral (
    select
        updates.seq,
        updates.updated_at,
        updates.bid_rank,
        updates.bid_id,
        updates.ask_rank,
        updates.ask_id,
        updates.last_price,
        updates.last_at,
        updates.reference_price
    from exchange.updates
    where updates.symbol_key = symbols.symbol_key
    order by updates.seq desc
    limit 1
) as newest on true
order by symbols.sym
$$;

comment on function exchange.market() is
'A row for each symbol, by name: whether trading is halted, the number of its newest update (0 where there is none), price and time of '
'its last trade, the price to compare that with (of the last trade before today, in UTC; on its first day of trading of the first), and '
'the best bid and ask. Null where there is none.';

revoke all on function exchange.market() from public;
grant execute on function exchange.market() to exchange_gateway, exchange_reader;
