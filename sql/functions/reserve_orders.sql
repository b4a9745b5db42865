-- The first of the two stages of orders, as a call of its own: reserves what they can cost, and notes them as incoming orders,
-- which match_orders takes. Locks accounts and nothing else, and waits for nobody.
--
-- Nobody is told that an order is reserved. Until it is matched, it is nothing that has happened: the incoming orders of
-- a session that ends are given back. The planner settings are those of process_batch, for the same reasons.
create or replace function exchange.reserve_orders(p_requests exchange.request[], p_certified boolean default false)
returns table (
    request integer,
    incoming_id bigint,
    address tid,
    slot integer,
    code text,
    message text,
    outcome text,
    order_id bigint,
    shares numeric
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
    v_requests exchange.request[] := p_requests;
    v_balances exchange.run_balance[];
    v_others bigint[];
    v_account_ids text[];
    v_are_orders boolean;
    v_has_terms boolean;
    v_orders exchange.reservation[];
    v_incoming_ids bigint[];
    v_addresses tid[];
begin
    perform exchange.require_read_committed();
    perform exchange.require_straight(p_requests);
    if p_certified then
        v_requests := exchange.mark_forbidden(p_requests);
    end if;
    select
        array_agg(asked.account_id) filter (where asked.action = 'place_order'),
        bool_and((asked.action in ('place_order', 'forbidden_order')) is true),
        bool_or(not (asked.terms is null))
    into v_account_ids, v_are_orders, v_has_terms
    from unnest(v_requests) as asked;
    if not v_are_orders then
        raise exception 'only orders are reserved for'
            using errcode = 'EX001', hint = 'process_batch does everything else.';
    end if;

    select
        locked.balances,
        locked.others
    into v_balances, v_others
    from exchange.lock_accounts(v_account_ids, false) as locked;
    if v_others is not null then
        v_requests := exchange.mark_later(v_requests, exchange.find_locked_accounts(v_requests, v_others));
    end if;

    if v_has_terms then
        v_requests := exchange.mark_later(v_requests, exchange.find_in_flight(v_requests, false));
    end if;

    v_orders := exchange.reserve(v_requests, v_balances, null, v_has_terms);

    with written as (
        insert into exchange.incoming_orders (session_pid, account_key, symbol_key, side, shares, limit_price, terms)
        select
            pg_backend_pid(),
            reserved.account_key,
            reserved.symbol_key,
            reserved.side,
            reserved.shares,
            reserved.limit_price,
            reserved.terms
        from unnest(v_orders) as reserved
        where reserved.code is null
        order by reserved.place
        returning incoming_orders.incoming_id, incoming_orders.ctid
    )

    select
        array_agg(written.incoming_id),
        array_agg(written.ctid)
    into v_incoming_ids, v_addresses
    from written;

    return query
    select
        decided.place,
        case when decided.code is null then v_incoming_ids[decided.turn] end,
        case when decided.code is null then v_addresses[decided.turn] end,
        case when decided.code is null then exchange.symbol_slot(decided.symbol_key) end,
        decided.code,
        case
            when decided.code in ('later', 'locked') then null
            when decided.code = 'not_permitted'
                then exchange.forbidden(
                    (v_requests[decided.place]).action,
                    (v_requests[decided.place]).account_id,
                    (v_requests[decided.place]).certificate_name
                )
            when decided.code is not null
                then coalesce(decided.message, exchange.refusal(decided.code, v_requests[decided.place]))
        end,
        null::text,
        null::bigint,
        null::numeric
    from (
        select
            reserved.place,
            reserved.symbol_key,
            reserved.code,
            reserved.message,
            count(*) filter (where reserved.code is null) over (order by reserved.place)::integer as turn
        from unnest(v_orders) as reserved
    ) as decided
    where decided.code is distinct from 'duplicate'
    order by decided.place;

    if v_has_terms then
        return query
        select
            told.place,
            null::bigint,
            null::tid,
            null::integer,
            null::text,
            null::text,
            told.outcome,
            told.order_id,
            told.shares
        from exchange.answer_terms(v_orders) as told;
    end if;
end
$$;

comment on function exchange.reserve_orders(exchange.request[], boolean) is
'Reserves cash or shares for orders (place_order requests, as in process_batch) and notes them as incoming orders. One row a '
'request: incoming_id, and address and slot, for match_orders; or the code of why not: a refusal; later, of an order that what '
'precedes it in its sequence may pay for once it is matched, and of what follows; locked, of an account that somebody else has at '
'this moment, or of a ref that is in flight, and of what follows. An order that was placed before, under its ref, has rows behind all '
'others, with outcome, order_id and shares as process_batch would give them. Never waits. The session has called begin_session.';

revoke all on function exchange.reserve_orders(exchange.request[], boolean) from public;
grant execute on function exchange.reserve_orders(exchange.request[], boolean) to exchange_gateway;
