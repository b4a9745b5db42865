-- Writes to the history of cancellations what a match has cancelled.
create or replace function exchange.write_cancellations(p_events exchange.run_event[], p_now timestamptz)
returns void
language plpgsql
as $$
begin
    insert into exchange.cancellations (order_id, shares, canceled_at)
    select
        case ended.kind when 'cancel' then ended.order_id else ended.resting_id end,
        ended.shares,
        p_now
    from unnest(p_events) as ended
    where ended.kind in ('cancel', 'remove') and ended.shares > 0;
end
$$;

comment on function exchange.write_cancellations(exchange.run_event[], timestamptz) is
'Adds to cancellations what didn''t rest of the incoming orders of a match, and the resting orders of the same accounts that they '
'passed.';

revoke all on function exchange.write_cancellations(exchange.run_event[], timestamptz) from public;
