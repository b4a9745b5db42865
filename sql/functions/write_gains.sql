-- Owes to everybody what a match has brought them: one credit for each account and symbol.
--
-- A sale brings the money, a purchase the shares, and what had been reserved for them above the price. What was reserved for an
-- order that was refused comes back whole.
create or replace function exchange.write_gains(p_events exchange.run_event[])
returns void
language plpgsql
as $$
begin
    insert into exchange.credits (account_key, symbol_key, shares, cash)
    select
        gain.account_key,
        event.symbol_key,
        sum(gain.shares),
        sum(gain.cash)
    from unnest(p_events) as event
    cross join lateral (
        -- The account of the order that came in, or was refused and so has no price to pay.
        select
            event.account_key,
            case
                when event.kind = 'trade' and event.side = 'buy' then event.shares
                when event.kind = 'refuse' and event.side = 'sell' then event.shares
                else 0
            end as shares,
            case
                when event.side = 'buy' then event.shares * (event.limit_price - coalesce(event.price, 0))
                when event.kind = 'trade' then event.shares * event.price
                else 0
            end as cash
        where event.kind <> 'add'
        union all
        -- The account of the one that rested: its limit is the price.
        select
            event.resting_account_key,
            case event.side when 'buy' then 0 else event.shares end,
            case event.side when 'buy' then event.shares * event.price else 0 end
        where event.kind = 'trade'
    ) as gain
    group by gain.account_key, event.symbol_key;
end
$$;

comment on function exchange.write_gains(exchange.run_event[]) is
'Owes both parties of each trade what it brings them, and accounts whose orders were refused what had been reserved.';

revoke all on function exchange.write_gains(exchange.run_event[]) from public;
