-- The second stage of an order: takes incoming orders into the market. The first is reserve_orders.
--
-- Locks symbols and nothing else. No row that says what anybody has is read or written: what an order can cost was taken from its
-- account by the first stage, and what a trade brings waits in credits until its account's own next transaction.
--
-- Takes no caller's word for what an order is: that stands in incoming_orders, under its id.
create or replace function exchange.match_orders(
    p_incoming_ids bigint[],
    p_addresses tid[],
    p_slots integer[],
    p_waits boolean default true
)
returns table (
    place integer,
    outcome text,
    order_id bigint,
    shares numeric,
    code text,
    message text
)
language plpgsql
security definer
set search_path = exchange, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_locked integer[];
    v_taken record;
    v_matched record;
    v_still_there bigint[]; -- ids of those that were not taken because their symbol isn't locked
    v_left integer[] := array[]::integer[]; -- the places of those that were not taken
begin
    perform exchange.require_read_committed();

    -- Lock 1 of 1: the symbols, ascending.
    v_locked := exchange.lock_symbols(p_slots, p_waits);

    select
        taken.places,
        taken.incoming
    into v_taken
    from exchange.take_incoming(p_incoming_ids, p_addresses, v_locked) as taken;

    select
        matched.order_ids,
        matched.codes,
        matched.messages,
        matched.told
    into v_matched
    from exchange.match(v_taken.incoming) as matched;

    if cardinality(v_taken.places) < cardinality(p_incoming_ids) then
        v_left := array(select n from generate_series(1, cardinality(p_incoming_ids)) as n where n <> all(v_taken.places));
        v_still_there := array(
            select waiting.incoming_id from exchange.incoming_orders as waiting where waiting.incoming_id = any(p_incoming_ids)
        );
    end if;

    return query
    select
        answer.place,
        answer.outcome,
        answer.order_id,
        answer.shares,
        answer.code,
        answer.message
    from (
        select
            v_taken.places[n] as place,
            0 as part,
            case when v_matched.codes[n] is null then 'opened' else 'refused' end as outcome,
            v_matched.order_ids[n] as order_id,
            null::numeric as shares,
            v_matched.codes[n] as code,
            case
                when v_matched.codes[n] is not null then (
                    select
                        coalesce(
                            v_matched.messages[n],
                            exchange.refusal(
                                v_matched.codes[n], row(null, null, null, symbols.sym, null, null, null, null, null)::exchange.request
                            )
                        )
                    from exchange.symbols
                    where symbols.symbol_key = (v_taken.incoming[n]).symbol_key
                )
            end as message
        from generate_series(1, cardinality(v_taken.places)) as n
        union all
        select
            v_taken.places[array_position(v_matched.order_ids, terms.order_id)],
            part.ordinality,
            part.outcome,
            part.order_id,
            part.shares,
            null,
            null
        from unnest(v_matched.told) as terms
        cross join lateral exchange.opened_parts(terms) with ordinality as part
        where exchange.tells_more(terms)
        union all
        select
            left_over.place,
            0,
            case when waits.waits then 'later' else 'gone' end,
            null,
            null,
            case when waits.waits then 'locked' end,
            null
        from unnest(v_left) as left_over (place)
        cross join lateral (select p_incoming_ids[left_over.place] = any(v_still_there) as waits) as waits
    ) as answer
    order by answer.place, answer.part;
end
$$;

comment on function exchange.match_orders(bigint[], tid[], integer[], boolean) is
'Takes incoming orders, named by incoming_id, into the market: a row for each, by its place in p_incoming_ids. opened: it has '
'an order_id, and has traded or rests; what opened_parts says of it follows in rows of their own. refused: its reservation is given '
'back. gone: it was given back before, and nothing happened. later (code locked): its symbol''s lock was not taken, and nothing '
'happened. p_addresses and p_slots, as reserve_orders returned them, tell where the rows are and which locks to take; if p_waits is '
'false, none is waited for.';

revoke all on function exchange.match_orders(bigint[], tid[], integer[], boolean) from public;
grant execute on function exchange.match_orders(bigint[], tid[], integer[], boolean) to exchange_gateway;
