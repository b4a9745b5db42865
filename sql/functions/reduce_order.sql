-- Cancels a part of what is open of one order, for people who call it by hand. What is said by name is spelt as on the wire.
create or replace function exchange.reduce_order(
    p_account_id text,
    p_order_id bigint default null,
    shares numeric default null,
    to_open numeric default null,
    ref text default null,
    out outcome text,
    out order_id bigint,
    out canceled_shares numeric,
    out open_shares numeric,
    out code text,
    out message text
)
language plpgsql
security definer
set search_path = exchange, pg_temp
as $$
begin
    if num_nonnulls(shares, to_open) <> 1 then
        outcome := 'refused';
        code := 'invalid_terms';
        message := 'a reduction says either how many shares to cancel, or how many may stay open';
        return;
    end if;

    select
        max(answer.outcome) filter (where answer.outcome <> 'open'),
        max(answer.order_id),
        max(answer.shares) filter (where answer.outcome = 'reduced'),
        max(answer.shares) filter (where answer.outcome = 'open'),
        max(answer.code),
        max(answer.message)
    into outcome, order_id, canceled_shares, open_shares, code, message
    from exchange.process_batch(
        array[
            (
                1, case when to_open is null then 'reduce_order' else 'reduce_order_to' end, p_account_id, null,
                coalesce(reduce_order.shares, to_open), null, p_order_id, null,
                case when ref is not null then (ref, null, null, null, null, null, null, null)::exchange.terms end
            )::exchange.request
        ]
    ) as answer;
end
$$;

comment on function exchange.reduce_order(text, bigint, numeric, numeric, text) is
'Cancels so many shares of what is open of an order of this account (p_order_id, or its ref), or what is open above to_open; the rest '
'keeps its place in the queue. If that is all, the order is cancelled. One row: reduced, with the shares that this cancelled and those '
'left open; or refused with the reason.';

revoke all on function exchange.reduce_order(text, bigint, numeric, numeric, text) from public;
grant execute on function exchange.reduce_order(text, bigint, numeric, numeric, text) to exchange_gateway;
