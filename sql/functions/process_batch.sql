-- Carries out many requests, of many clients, in one transaction: the call that a gateway makes.
--
-- Requests with the same sequence number (those of one client's connection) are carried out in their order. Between
-- sequences nothing is promised, so requests of one kind are done together: each sequence is cut into runs of one
-- kind, and the first runs of all sequences make phase 1, the second ones phase 2, and so on.
--
-- The planner settings pin the plans, whatever the statistics say: every table is reached by a key, in key order. Such plans
-- look costly to the planner, so jit is off, or it would compile them. The settings don't prevent a scan of a whole index
-- when the planner thinks that a table is tiny. So look-ups are lateral, and their offset 0 keeps them so.
create or replace function exchange.process_batch(
    p_requests exchange.request[],
    p_certified boolean default false,
    p_waits boolean default true
)
returns table (
    request integer,
    outcome text,
    order_id bigint,
    shares numeric,
    price numeric,
    at bigint,
    code text,
    message text,
    sym text,
    amount numeric,
    ref text
)
language plpgsql
security definer
set search_path = exchange, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_requests exchange.request[] := p_requests;
    v_held exchange.held_locks;
begin
    perform exchange.require_straight(p_requests);
    if p_certified then
        v_requests := exchange.mark_forbidden(p_requests);
    end if;

    -- All locks first: nothing after them waits for anybody.
    v_held := exchange.lock_batch(v_requests, p_waits);
    if v_held.goes_beyond then
        v_requests := exchange.mark_later(v_requests, exchange.find_in_flight(v_requests, true));
    end if;
    if v_held.goes_beyond or not p_waits then
        v_requests := exchange.mark_later(v_requests, exchange.find_locked(v_requests, v_held));
    end if;

    return query
    select
        answer.request,
        answer.outcome,
        answer.order_id,
        answer.shares,
        answer.price,
        floor(extract(epoch from answer.at))::bigint,
        answer.code,
        answer.message,
        answer.sym,
        answer.amount,
        answer.ref
    from exchange.process_phases(v_requests, v_held) with ordinality as answer
    order by answer.request, answer.ordinality;
end
$$;

comment on function exchange.process_batch(exchange.request[], boolean, boolean) is
'Carries out a batch of requests in one transaction and answers each: rows ordered by request (its place in the '
'array, from 1). Actions: create_account (amount: balance), create_symbol, grant_shares (amount: shares), place_order '
'(amount: shares, negative to sell; more in terms), replace_order, reduce_order (amount: shares to cancel), reduce_order_to (amount: '
'shares that may stay open), query_order, cancel_order, cancel_all, arm_switch (amount: seconds), disarm_switch, fire_switch, '
'look_account, list_orders (order_id: after; amount: at most) and look_book (amount: depth). Requests of one sequence keep their order; '
'those of a sequence that goes beyond the base protocol and changes anything are done with nothing of their accounts in between. '
'A refusal is a row, never an exception. p_certified: the clients have shown certificates, and what a '
'request''s certificate_name may not do is refused (not_permitted): a name in certificate_operators may do everything; one in '
'certificate_accounts may do all but create for the accounts that it is bound to there. p_waits: where not, '
'a lock that somebody else holds is not waited for; what needs it, and what follows in its sequence, is answered later (locked), and '
'nothing of that was done. Also where it waits, that is the answer to what must wait for orders that are reserved and not matched yet '
'(find_in_flight). at is whole seconds since the epoch.';

revoke all on function exchange.process_batch(exchange.request[], boolean, boolean) from public;
grant execute on function exchange.process_batch(exchange.request[], boolean, boolean) to exchange_gateway;
