-- Places a run of orders: both stages, one after the other, in the transaction that holds the locks of all symbols and accounts.
--
-- What can't be paid for before earlier orders of its sequence are matched comes back as later, and has its turn in the next round.
create or replace function exchange.place_orders(
    p_places integer[],
    p_requests exchange.request[],
    p_held exchange.held_locks,
    p_replaced_order_id bigint default null,
    p_released_shares numeric default null
)
returns setof exchange.answer
language plpgsql
as $$
declare
    v_places integer[] := p_places;
    v_requests exchange.request[] := p_requests;
    v_balances exchange.run_balance[] := p_held.balances;
    v_orders exchange.reservation[];
    v_incoming exchange.incoming_orders[];
    v_order_ids bigint[];
    v_codes text[];
    v_messages text[];
    v_later integer[]; -- the places in this round of what has its turn in the next one
    v_most integer := 8; -- of the next round
    v_rest_places integer[] := array[]::integer[]; -- what is in no round yet
    v_rest_requests exchange.request[] := array[]::exchange.request[];
begin
    -- What is handed on is copied for each order.
    p_held.balances := null;
    loop
        -- Accounts that are locked already, or that this batch has created: nobody is waited for.
        if v_balances is null then
            select locked.balances
            into v_balances
            from exchange.lock_accounts(array(select asked.account_id from unnest(v_requests) as asked), false) as locked;
        end if;
        v_orders := exchange.reserve(v_requests, v_balances, p_held, p_held.goes_beyond);

        select
            array_agg(
                (
                    null, null, reserved.account_key, reserved.symbol_key, reserved.side, reserved.shares, reserved.limit_price,
                    reserved.terms
                )::exchange.incoming_orders
            ) filter (where reserved.code is null),
            array_agg(reserved.place) filter (where reserved.code = 'later')
        into v_incoming, v_later
        from unnest(v_orders) as reserved;

        if v_incoming is not null then
            select
                matched.order_ids,
                matched.codes,
                matched.messages
            into v_order_ids, v_codes, v_messages
            from exchange.match(v_incoming, p_replaced_order_id, p_released_shares) as matched;
        end if;

        return query
        select
            v_places[decided.place],
            case when decided.code is null then 'opened' else 'refused' end,
            decided.order_id,
            null::numeric,
            null::numeric,
            null::timestamptz,
            decided.code,
            case
                when decided.code is not null
                    then coalesce(decided.message, exchange.refusal(decided.code, v_requests[decided.place]))
            end,
            null::text,
            null::numeric,
            null::text
        from (
            select
                reserved.place,
                case when reserved.code is null then v_messages[reserved.turn] else reserved.message end as message,
                case when reserved.code is null then v_order_ids[reserved.turn] end as order_id,
                case when reserved.code is null then v_codes[reserved.turn] else reserved.code end as code
            from (
                select
                    asked.place,
                    asked.code,
                    asked.message,
                    count(*) filter (where asked.code is null) over (order by asked.place) as turn
                from unnest(v_orders) as asked
            ) as reserved
        ) as decided
        where (decided.code in ('later', 'duplicate')) is not true;

        if p_held.goes_beyond then
            return query
            select
                v_places[told.place],
                told.outcome,
                told.order_id,
                told.shares,
                null::numeric,
                null::timestamptz,
                null::text,
                null::text,
                null::text,
                null::numeric,
                null::text
            from exchange.answer_terms(v_orders, v_order_ids) as told;
        end if;

        exit when v_later is null and cardinality(v_rest_places) = 0;

        -- The next round takes few, for each order may have to wait for the one before it; more, where none had to.
        v_most := case when v_later is null then 2 * v_most else 8 end;
        v_places := array(select v_places[again.place] from unnest(v_later) as again (place)) || v_rest_places;
        v_requests := array(select v_requests[again.place] from unnest(v_later) as again (place)) || v_rest_requests;
        v_rest_places := v_places[v_most + 1:];
        v_rest_requests := v_requests[v_most + 1:];
        v_places := v_places[:v_most];
        v_requests := v_requests[:v_most];
        v_balances := null;
    end loop;
end
$$;

comment on function exchange.place_orders(integer[], exchange.request[], exchange.held_locks, bigint, numeric) is
'Places a run of orders: reserves cash or shares for each, matches them in the order given, and rests what stays open. The caller '
'holds the locks of all symbols and accounts, and says which order a replace has ended, and how much of it: use place_order.';

revoke all on function exchange.place_orders(integer[], exchange.request[], exchange.held_locks, bigint, numeric) from public;
