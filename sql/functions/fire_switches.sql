-- Fires the dead man's switches that are due: the sweep of every gateway. It doesn't matter which one comes first, for under the
-- account's lock a switch is there for one of them.
--
-- Each account is a batch of its own, and a subtransaction: what somebody else has locked is left for the next sweep, with all locks
-- that were taken for it. As long as this transaction holds no lock it may wait for them a moment, once: a busy symbol is never
-- free for who doesn't wait. In no order, so that one account that is locked for long doesn't come first each time.
create or replace function exchange.fire_switches(p_limit integer default 1)
returns table (account_id text, canceled bigint)
language plpgsql
security definer
set search_path = exchange, pg_temp
set lock_timeout = '200ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    c_now constant timestamptz := clock_timestamp();
    v_may_wait boolean := true;
    v_fired integer := 0;
    v_has_fired boolean;
begin
    if current_setting('transaction_read_only')::boolean then
        return;
    end if;

    for account_id in
        select acting.account_id
        from exchange.switches
        -- Lateral, so that switches come first: without, all accounts are gone through while the planner thinks there are no switches.
        cross join lateral (
            select accounts.account_id
            from exchange.accounts
            where accounts.account_key = switches.account_key
            offset 0
        ) as acting
        where switches.fires_at <= c_now
        order by random()
    loop
        exit when v_fired >= p_limit;
        begin
            select
                bool_or(answer.outcome = 'fired'),
                count(*) filter (where answer.outcome = 'canceled')
            into v_has_fired, canceled
            from exchange.process_batch(
                array[(1, 'fire_switch', account_id, null, null, null, null, null, null)::exchange.request],
                p_waits => v_may_wait
            ) as answer;
            if not v_has_fired then
                raise exception 'somebody else has locked what it needs, or was first'
                    using errcode = 'EX004';
            end if;
            v_fired := v_fired + 1;
            v_may_wait := false;
            return next;
        exception
            when sqlstate 'EX004' then
                null;
            when lock_not_available then
                v_may_wait := false;
        end;
    end loop;
end
$$;

comment on function exchange.fire_switches(integer) is
'Cancels all open orders of up to p_limit accounts whose dead man''s switch is due: a row for each, with the number of orders. For a '
'regular sweep, which calls it again as long as it returns rows: the fewer accounts at a time, the shorter are they locked.';

revoke all on function exchange.fire_switches(integer) from public;
grant execute on function exchange.fire_switches(integer) to exchange_gateway;
