-- Which requests of a batch need a lock that somebody else holds.
create or replace function exchange.find_locked(p_requests exchange.request[], p_held exchange.held_locks)
returns integer[]
language plpgsql
stable
as $$
begin
    return exchange.find_locked_accounts(p_requests, p_held.others) || array(
        select asked.place::integer
        from unnest(p_requests) with ordinality as asked (
            sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms, place
        )
        left join lateral (
            select symbols.symbol_key
            from exchange.symbols
            where symbols.sym = asked.sym
            offset 0
        ) as traded on true
        left join lateral (
            select found.symbol_key
            from exchange.account_order(
                asked.account_id,
                asked.order_id,
                case asked.action when 'replace_order' then (asked.terms).of_ref else (asked.terms).ref end
            ) as found
            where asked.action in ('cancel_order', 'reduce_order', 'reduce_order_to', 'replace_order')
        ) as owned on true
        where
            case
                when asked.action in ('create_account', 'create_symbol', 'grant_shares') then not p_held.creates
                when asked.action = 'place_order' then not exchange.is_held(p_held, traded.symbol_key)
                when asked.action in ('cancel_order', 'reduce_order', 'reduce_order_to', 'replace_order')
                    then not exchange.is_held(p_held, owned.symbol_key)
                when asked.action in ('cancel_all', 'fire_switch')
                    then exists (
                        select
                        from exchange.resting_of(asked.account_id, asked.sym) as resting
                        where not exchange.is_held(p_held, resting.symbol_key)
                    )
            end
    );
end
$$;

comment on function exchange.find_locked(exchange.request[], exchange.held_locks) is
'The places of the requests that need a lock which lock_batch did not get.';

revoke all on function exchange.find_locked(exchange.request[], exchange.held_locks) from public;
