-- Tells a symbol's trades by interval: open, high, low and close. Nobody's account is in it.
--
-- Reads all trades of that time, of all symbols, by executions_executed_at_idx, whose few pages tell where in the table they are. They
-- are planned for the times that are asked for: most of the table is read otherwise than a day of it.
create or replace function exchange.bars(
    p_sym text,
    p_interval interval,
    p_from timestamptz default null,
    p_to timestamptz default null
)
returns table (
    began_at timestamptz,
    open numeric,
    high numeric,
    low numeric,
    close numeric,
    volume numeric,
    value numeric,
    trades bigint
)
language plpgsql
stable
security definer
set search_path = exchange, pg_temp
set plan_cache_mode = force_custom_plan
set jit = off
as $$
declare
    -- A Monday, so that weeks begin with one.
    c_origin constant timestamptz := timestamp '2000-01-03 00:00' at time zone current_setting('TimeZone');
    -- From the beginning of the bar that p_from is in, to the end of the one that is the last to begin before p_to.
    v_from timestamptz := coalesce(date_bin(p_interval, p_from, c_origin), '-infinity');
    v_to timestamptz := coalesce(date_bin(p_interval, p_to, c_origin), 'infinity');
    v_symbol_key bigint;
begin
    if v_to < p_to then
        v_to := v_to + p_interval;
    end if;
    select symbols.symbol_key
    into v_symbol_key
    from exchange.symbols
    where symbols.sym = p_sym;

    return query
    select
        bar.began_at,
        trim_scale(bar.prices[1]),
        trim_scale(bar.high),
        trim_scale(bar.low),
        trim_scale(bar.prices[bar.trades]),
        trim_scale(bar.volume),
        trim_scale(bar.value),
        bar.trades
    from (
        select
            date_bin(p_interval, executions.executed_at, c_origin) as began_at,
            array_agg(executions.price order by executions.executed_at, executions.execution_id) as prices,
            max(executions.price) as high,
            min(executions.price) as low,
            sum(executions.shares) as volume,
            sum(executions.shares * executions.price) as value,
            count(*) as trades
        from exchange.executions
        where
            executions.symbol_key = v_symbol_key
            and executions.executed_at >= v_from
            and executions.executed_at < v_to
        group by 1
    ) as bar
    order by bar.began_at;
end
$$;

comment on function exchange.bars(text, interval, timestamptz, timestamptz) is
'A symbol''s trades by interval, oldest first: when each bar began, its first, highest, lowest and last price, the shares traded, what was '
'paid for them, and how many trades. Every bar of which a moment is in p_from (inclusive) to p_to (exclusive) is told, and is whole; '
'all there are where these are null. One without trades is left out. Bars are counted from Monday 2000-01-03, midnight in the '
'session''s time zone, so a day is 24 hours and a week begins on Monday; an interval of months is an error.';

revoke all on function exchange.bars(text, interval, timestamptz, timestamptz) from public;
grant execute on function exchange.bars(text, interval, timestamptz, timestamptz) to exchange_gateway, exchange_reader;
