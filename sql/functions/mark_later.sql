-- Marks what needs a lock that somebody else holds, and all that follows it in its sequence: its action becomes later, which does
-- nothing.
create or replace function exchange.mark_later(p_requests exchange.request[], p_held exchange.held_locks)
returns exchange.request[]
language plpgsql
stable
as $$
begin
    return array(
        select
            (
                marked.sequence,
                case when marked.waits then 'later' else marked.action end,
                marked.account_id,
                marked.sym,
                marked.amount,
                marked.limit_price,
                marked.order_id,
                marked.certificate_name
            )::exchange.request
        from (
            select
                asked.*,
                bool_or(
                    case
                        when asked.action in ('create_account', 'create_symbol', 'grant_shares') then not p_held.creates
                        when asked.action = 'cancel_order' then not exchange.is_held(p_held, owned.symbol_key)
                        when asked.action = 'place_order'
                            then acting.account_key = any(p_held.others) or not exchange.is_held(p_held, traded.symbol_key)
                    end
                ) over (partition by asked.sequence order by asked.place) is true as waits
            from unnest(p_requests) with ordinality as asked (
                sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, place
            )
            left join lateral (
                select accounts.account_key
                from exchange.accounts
                where
                    accounts.account_id = asked.account_id
                    and exists (select from exchange.balances where balances.account_key = accounts.account_key)
                offset 0
            ) as acting on true
            left join lateral (
                select symbols.symbol_key
                from exchange.symbols
                where symbols.sym = asked.sym
                offset 0
            ) as traded on true
            left join lateral (
                select found.symbol_key
                from exchange.account_order(asked.account_id, asked.order_id) as found
            ) as owned on true
        ) as marked
        order by marked.place
    );
end
$$;

comment on function exchange.mark_later(exchange.request[], exchange.held_locks) is
'The requests of a batch, with another action where they need a lock that isn''t held, and for what follows in their sequence.';

revoke all on function exchange.mark_later(exchange.request[], exchange.held_locks) from public;
