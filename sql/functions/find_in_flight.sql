-- Which requests have to wait for orders of their account that are in flight: reserved and not in the market yet. Those that name
-- such an order by its ref; and, if p_wholly, sequences that are done whole, for a match would come in between.
--
-- The caller holds the accounts' locks, so that no such order is added. It looks for refs in order_terms after this, and not before:
-- meanwhile an order goes from here to there. A query by ref doesn't wait, for nobody was told of the order yet.
create or replace function exchange.find_in_flight(p_requests exchange.request[], p_wholly boolean)
returns integer[]
language plpgsql
stable
as $$
declare
    v_account_keys constant bigint[] := array(
        select acting.account_key
        from (select distinct asked.account_id from unnest(p_requests) as asked) as named
        cross join lateral (
            select accounts.account_key
            from exchange.accounts
            where accounts.account_id = named.account_id
            offset 0
        ) as acting
    );
    v_account_ids text[];
    v_refs text[]; -- each behind its account
begin
    select
        array_agg(distinct acting.account_id),
        array_agg(concat_ws(' ', acting.account_id, (incoming_orders.terms).ref)) filter (where (incoming_orders.terms).ref is not null)
    into v_account_ids, v_refs
    from exchange.incoming_orders
    cross join lateral (
        select accounts.account_id
        from exchange.accounts
        where accounts.account_key = incoming_orders.account_key
        offset 0
    ) as acting
    where incoming_orders.account_key = any(v_account_keys);

    if v_account_ids is null then
        return array[]::integer[];
    end if;
    return array(
        select asked.place
        from exchange.survey(p_requests) as asked
        cross join lateral (
            select
                (asked.request).account_id || ' ' || (asked.request).terms.ref as ref,
                (asked.request).account_id || ' ' || (asked.request).terms.of_ref as of_ref
        ) as named
        where
            (p_wholly and asked.is_whole and (asked.request).account_id = any(v_account_ids))
            or (
                (asked.request).action in ('place_order', 'replace_order', 'reduce_order', 'reduce_order_to', 'cancel_order')
                and (named.ref = any(v_refs) or named.of_ref = any(v_refs))
            )
    );
end
$$;

comment on function exchange.find_in_flight(exchange.request[], boolean) is
'The places of the requests that must wait for an order of their account that is reserved for and not matched yet: because they name '
'its ref, or, if p_wholly, because their sequence is done whole (survey).';

revoke all on function exchange.find_in_flight(exchange.request[], boolean) from public;
