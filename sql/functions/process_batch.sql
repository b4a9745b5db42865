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
    p_sequences integer[],
    p_actions text[],
    p_account_ids text[],
    p_syms text[],
    p_amounts numeric[],
    p_limits numeric[],
    p_order_ids bigint[]
)
returns table (
    request integer,
    outcome text,
    order_id bigint,
    shares numeric,
    price numeric,
    at bigint,
    code text,
    message text
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
    v_shape constant text := format('[1:%s]', cardinality(p_actions));
    v_locked record;
begin
    -- Arrays are read by subscript and in step.
    if v_shape <> any(array[
        array_dims(p_sequences), array_dims(p_actions), array_dims(p_account_ids), array_dims(p_syms),
        array_dims(p_amounts), array_dims(p_limits), array_dims(p_order_ids)
    ]) then
        raise exception 'the arrays of a batch must have one dimension, start at 1 and be equally long'
            using errcode = 'EX002';
    end if;

    -- All locks first: nothing after them waits for anybody.
    select
        locked.symbol_slots,
        locked.last_account_key
    into v_locked
    from exchange.lock_batch(p_actions, p_account_ids, p_syms, p_order_ids) as locked;

    return query
    select
        answer.request,
        answer.outcome,
        answer.order_id,
        answer.shares,
        answer.price,
        floor(extract(epoch from answer.at))::bigint,
        answer.code,
        answer.message
    from exchange.process_phases(
        p_sequences, p_actions, p_account_ids, p_syms, p_amounts, p_limits, p_order_ids,
        v_locked.symbol_slots, v_locked.last_account_key
    ) with ordinality as answer
    order by answer.request, answer.ordinality;
end
$$;

comment on function exchange.process_batch(integer[], text[], text[], text[], numeric[], numeric[], bigint[]) is
'Carries out a batch of requests in one transaction and answers each: rows ordered by request (its place in the '
'arrays, from 1). Actions: create_account (amount: balance), create_symbol, grant_shares (amount: shares), place_order '
'(amount: shares, negative to sell), query_order, cancel_order, and refuse, with which process_batch_for marks what is not '
'permitted. Requests of one sequence keep their order. A refusal is a row, never an exception. at is whole seconds since the '
'epoch.';

revoke all on function exchange.process_batch(integer[], text[], text[], text[], numeric[], numeric[], bigint[]) from public;
grant execute on function exchange.process_batch(
    integer[], text[], text[], text[], numeric[], numeric[], bigint[]
) to exchange_gateway;
