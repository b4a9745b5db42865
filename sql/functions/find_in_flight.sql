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
begin
    if not exists (select from exchange.incoming_orders) then
        return array[]::integer[];
    end if;

    return array(
        select asked.place::integer
        from unnest(p_requests) with ordinality as asked (
            sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms, place
        )
        inner join exchange.survey(p_requests) as surveyed on asked.place = surveyed.place
        where
            exists (
                select
                from exchange.incoming_orders
                where
                    incoming_orders.account_key = (
                        select accounts.account_key
                        from exchange.accounts
                        where accounts.account_id = asked.account_id
                    )
                    and (
                        (p_wholly and surveyed.is_whole)
                        or (
                            asked.action in ('place_order', 'replace_order', 'reduce_order', 'reduce_order_to', 'cancel_order')
                            and (incoming_orders.terms).ref in ((asked.terms).ref, (asked.terms).of_ref)
                        )
                    )
            )
    );
end
$$;

comment on function exchange.find_in_flight(exchange.request[], boolean) is
'The places of the requests that must wait for an order of their account that is reserved for and not matched yet: because they name '
'its ref, or, if p_wholly, because their sequence is done whole (survey).';

revoke all on function exchange.find_in_flight(exchange.request[], boolean) from public;
