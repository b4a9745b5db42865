-- Owes to everybody what a match has brought them: one credit for each account and symbol.
--
-- A sale brings the money, a purchase the shares, and what had been reserved for them above the price. What was reserved for an
-- order that was refused, or for what was cancelled, comes back whole. A market buy has its budget reserved: its purchases cost
-- of that, and at its end, which is a cancel even if nothing is left, the budget comes back.
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
        -- The account of the order that came in; or did not, or not to the end, and so has no price to pay for the rest.
        select
            event.account_key,
            case
                when event.kind = 'trade' and event.side = 'buy' then event.shares
                when event.kind <> 'trade' and event.side = 'sell' then event.shares
                else 0
            end as shares,
            case
                when event.side = 'buy' and event.budget is null
                    then event.shares * (event.limit_price - coalesce(event.price, 0))
                when event.side = 'buy' then case event.kind when 'trade' then -event.shares * event.price else event.budget end
                when event.kind = 'trade' then event.shares * event.price
                else 0
            end as cash
        where event.kind <> 'remove'
        union all
        -- The account of the one that rested: its limit is the price. It gets the other half of a trade, or its own back.
        select
            event.resting_account_key,
            case when (event.side = 'sell') = (event.kind = 'trade') then event.shares else 0 end,
            case when (event.side = 'buy') = (event.kind = 'trade') then event.shares * event.price else 0 end
        where event.kind = 'trade' or event.kind = 'remove'
    ) as gain
    where event.kind <> 'add'
    group by gain.account_key, event.symbol_key;
end
$$;

comment on function exchange.write_gains(exchange.run_event[]) is
'Owes both parties of each trade what it brings them, and accounts whose orders were refused or cancelled what had been reserved.';

revoke all on function exchange.write_gains(exchange.run_event[]) from public;
