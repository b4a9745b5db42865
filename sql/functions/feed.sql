-- Shows what happened to the book of a symbol, as a feed tells it: for people.
create or replace function exchange.feed(p_sym text, p_from bigint default null, p_most integer default 20)
returns table (
    seq bigint,
    updated_at timestamptz,
    kind exchange.event_kind,
    side exchange.side,
    order_id bigint,
    sell_order_id bigint,
    price numeric,
    shares numeric
)
language sql
stable
as $$
select
    told.seq,
    told.updated_at,
    told.kind,
    told.side,
    told.order_id,
    told.sell_order_id,
    told.price,
    told.shares
from exchange.symbols
left join lateral exchange.newest_update(symbols.symbol_key) as newest on true
cross join lateral exchange.read_updates(
    array[symbols.symbol_key], array[coalesce(p_from - 1, newest.seq - p_most)], p_most
) with ordinality as told
where symbols.sym = p_sym
order by told.ordinality
$$;

comment on function exchange.feed(text, bigint, integer) is
'What happened to the book of a symbol: a row for each event of p_most updates from number p_from on, or of the last ones where it is '
'null. To begin at a moment, let seq_at tell the number.';

revoke all on function exchange.feed(text, bigint, integer) from public;
grant execute on function exchange.feed(text, bigint, integer) to exchange_reader;
