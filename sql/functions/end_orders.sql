-- Ends the open part of orders that rest: takes them out of the book, notes that, and owes their accounts what was reserved for it.
-- Everything that ends an order outside of a match is done here.
--
-- The caller holds the locks of the symbols. The refund is a credit, so no account needs a lock.
create or replace function exchange.end_orders(p_orders exchange.resting_orders[], p_now timestamptz)
returns exchange.resting_orders[]
language plpgsql
as $$
declare
    v_ended exchange.resting_orders[];
    v_symbol_keys bigint[];
    v_sides exchange.side[];
    v_events exchange.run_event[];
    v_stepped_over bigint; -- index entries of the book that led to no order any more
begin
    with ended as (
        delete from exchange.resting_orders
        using unnest(p_orders) as named
        where
            resting_orders.symbol_key = named.symbol_key
            and resting_orders.side = named.side
            and resting_orders.price_rank = named.price_rank
            and resting_orders.order_id = named.order_id
        returning
            resting_orders as resting,
            resting_orders.symbol_key,
            resting_orders.side,
            resting_orders.price_rank,
            resting_orders.order_id,
            resting_orders.account_key,
            resting_orders.open_shares
    ),

    noted as (
        insert into exchange.cancellations (order_id, shares, canceled_at)
        select
            ended.order_id,
            ended.open_shares,
            p_now
        from ended
        order by ended.order_id
    ),

    refunded as (
        insert into exchange.credits (account_key, symbol_key, shares, cash)
        select
            ended.account_key,
            ended.symbol_key,
            sum(case ended.side when 'sell' then ended.open_shares else 0 end),
            sum(case ended.side when 'buy' then ended.open_shares * abs(ended.price_rank) else 0 end)
        from ended
        group by ended.account_key, ended.symbol_key
    )

    select
        coalesce(array_agg(ended.resting order by ended.order_id), '{}'),
        array_agg(ended.symbol_key),
        array_agg(ended.side),
        array_agg(exchange.removal_of(ended.resting, ended.open_shares) order by ended.order_id)
    into v_ended, v_symbol_keys, v_sides, v_events
    from ended;

    v_stepped_over := -exchange.count_stepped_over();
    perform exchange.write_updates(v_events, null, null, p_now);
    v_stepped_over := v_stepped_over + exchange.count_stepped_over();
    if v_stepped_over > 50 + 4 * cardinality(v_ended) then
        perform exchange.note_book_hints(v_symbol_keys, v_sides, p_now);
    end if;
    return v_ended;
end
$$;

comment on function exchange.end_orders(exchange.resting_orders[], timestamptz) is
'Cancels what is open of these orders and owes their accounts what was reserved for it. Returns those that were there, by id, as they '
'were. The caller holds the locks of their symbols.';

revoke all on function exchange.end_orders(exchange.resting_orders[], timestamptz) from public;
