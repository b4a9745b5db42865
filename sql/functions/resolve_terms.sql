-- Refuses the orders of a run whose terms are unsound, and finds those that are there already under their refs: the same one again
-- is a duplicate, another one finds the ref taken. Nothing goes before that but the spelling: an order that was placed is told of
-- also while its account is frozen.
--
-- The second of two orders with one ref in a run waits for what becomes of the first, and what is behind it in its sequence with it.
--
-- The caller holds the locks of the accounts, and has looked for refs in flight (find_in_flight) before it calls this. Of a replace
-- it tells which order that replaces, for a replace is never the same as an order; 0 where there is no such order.
create or replace function exchange.resolve_terms(p_orders exchange.reservation[], p_replaced_order_id bigint default null)
returns exchange.reservation[]
language plpgsql
stable
as $$
begin
    return array(
        -- Kept as it is found: what is wrong is asked for more than once.
        with asked as materialized (
            select
                placed.*,
                coalesce(
                    fault.code,
                    exchange.terms_fault(
                        (
                            null, 'place_order', null, null, case placed.side when 'buy' then placed.shares else -placed.shares end,
                            placed.limit_price, null, null, placed.terms
                        )::exchange.request
                    )
                ) as fault
            from unnest(p_orders) as placed
            cross join lateral (
                select case when placed.code not in ('unknown_symbol', 'account_frozen') then placed.code end as code
            ) as fault
        ),

        named as (
            select
                asked.*,
                (asked.terms).ref as ref,
                first_one.order_id as first_id,
                first_one.is_same
            from asked
            left join lateral (
                select
                    order_terms.order_id,
                    (
                        (orders.symbol_key, orders.side, orders.shares, orders.limit_price, order_terms.replaced_order_id)
                        is not distinct from (asked.symbol_key, asked.side, asked.shares, asked.limit_price, p_replaced_order_id)
                    )
                    and exchange.is_same(
                        asked.terms,
                        (
                            null, order_terms.type, order_terms.budget, order_terms.tif, order_terms.post, order_terms.stp, null, null
                        )::exchange.terms
                    ) as is_same
                from exchange.order_terms
                left join exchange.orders on order_terms.order_id = orders.order_id
                where order_terms.account_key = asked.account_key and order_terms.ref = (asked.terms).ref
                offset 0
            ) as first_one on asked.fault is null
        ),

        ordered as (
            select
                named.*,
                named.ref is not null
                and named.fault is null
                and named.first_id is null
                and row_number() over (
                    partition by named.account_key, named.ref, named.fault is null order by named.place
                ) > 1 as is_second
            from named
        ),

        decided as (
            select
                ordered.*,
                bool_or(ordered.is_second) over (partition by ordered.sequence order by ordered.place) as waits
            from ordered
        )

        select
            (
                decided.place,
                decided.sequence,
                decided.account_key,
                decided.symbol_key,
                decided.side,
                decided.shares,
                decided.limit_price,
                decided.holding_key,
                case
                    when decided.waits then 'later'
                    when decided.is_same then 'duplicate'
                    when decided.first_id is not null then 'ref_taken'
                    else coalesce(decided.fault, decided.code)
                end,
                case when decided.is_same is false then format('ref %s is order %s already', decided.ref, decided.first_id) end,
                decided.terms,
                decided.first_id
            )::exchange.reservation
        from decided
        order by decided.place
    );
end
$$;

comment on function exchange.resolve_terms(exchange.reservation[], bigint) is
'The orders of a run, with a code where their terms have something to say: what is wrong with them; duplicate (with the id of the order '
'that was placed) or ref_taken; or later. p_replaced_order_id is what a replace replaces.';

revoke all on function exchange.resolve_terms(exchange.reservation[], bigint) from public;
