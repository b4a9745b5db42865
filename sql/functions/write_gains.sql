-- Owes to everybody what a match has brought them: one credit for each account and symbol.
--
-- A sell brings the price, a buy the shares, and what had been reserved for them above the price. It is all the same whose order
-- came in and whose rested. What was reserved for an order that was refused comes back whole.
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
        select
            event.account_key,
            case when (event.kind = 'trade') = (event.side = 'buy') then event.shares else 0 end as shares,
            case
                when event.side = 'buy' then event.shares * (event.limit_price - coalesce(event.price, 0))
                when event.kind = 'trade' then event.shares * event.price
                else 0
            end as cash
        union all
        select
            event.resting_account_key,
            case event.side when 'sell' then event.shares else 0 end,
            case event.side when 'buy' then event.shares * event.price else 0 end
        where event.kind = 'trade'
    ) as gain
    where event.kind <> 'add'
    group by gain.account_key, event.symbol_key;
end
$$;

comment on function exchange.write_gains(exchange.run_event[]) is
'Owes both parties of each trade what it brings them, and accounts whose orders were refused what had been reserved.';

revoke all on function exchange.write_gains(exchange.run_event[]) from public;
