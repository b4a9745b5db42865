-- The body of process_batch, once the locks are held: calls the right function for each phase's requests of one kind.
create or replace function exchange.process_phases(
    p_sequences integer[],
    p_actions text[],
    p_account_ids text[],
    p_syms text[],
    p_amounts numeric[],
    p_limits numeric[],
    p_order_ids bigint[],
    p_symbol_slots integer[],
    p_last_account_key bigint
)
returns setof exchange.answer
language plpgsql
as $$
declare
    v_run record;
begin
    -- The usual case needs no sorting.
    if 'place_order' = all(p_actions) then
        return query
        select placed.*
        from exchange.place_orders(
            array(select generate_series(1, cardinality(p_actions))), p_account_ids, p_syms, p_amounts, p_limits,
            p_last_account_key
        ) as placed;
        return;
    end if;

    -- What is not permitted belongs to no run, so the rest is done as if nobody had asked for it.
    if 'refuse' = any(p_actions) then
        return query
        select
            asked.place::integer,
            'refused',
            null::bigint,
            null::numeric,
            null::numeric,
            null::timestamptz,
            'not_permitted',
            null
        from unnest(p_actions) with ordinality as asked (action, place)
        where asked.action = 'refuse';
    end if;

    for v_run in
        with asked as (
            select
                asked.*,
                case when asked.action in ('create_account', 'create_symbol', 'grant_shares') then 'create' else asked.action end as kind
            from unnest(p_sequences, p_actions, p_account_ids, p_syms, p_amounts, p_limits, p_order_ids)
                with ordinality as asked (sequence, action, account_id, sym, amount, limit_price, order_id, place)
            where asked.action is distinct from 'refuse'
        ),

        changes as (
            select
                asked.*,
                asked.kind is distinct from lag(asked.kind) over (partition by asked.sequence order by asked.place) as changed
            from asked
        ),

        phases as (
            select
                changes.*,
                count(*) filter (where changes.changed) over (partition by changes.sequence order by changes.place) as phase
            from changes
        )

        select
            phases.phase,
            phases.kind,
            array_agg(phases.place::integer order by phases.place) as requests,
            array_agg(phases.action order by phases.place) as actions,
            array_agg(phases.account_id order by phases.place) as account_ids,
            array_agg(phases.sym order by phases.place) as syms,
            array_agg(phases.amount order by phases.place) as amounts,
            array_agg(phases.limit_price order by phases.place) as limits,
            array_agg(phases.order_id order by phases.place) as order_ids
        from phases
        group by phases.phase, phases.kind
        order by phases.phase, phases.kind
    loop
        case v_run.kind
            when 'place_order' then
                return query
                select placed.*
                from exchange.place_orders(
                    v_run.requests, v_run.account_ids, v_run.syms, v_run.amounts, v_run.limits, p_last_account_key
                ) as placed;
            when 'query_order' then
                return query
                select queried.*
                from exchange.query_orders(v_run.requests, v_run.account_ids, v_run.order_ids) as queried;
            when 'cancel_order' then
                return query
                select canceled.*
                from exchange.cancel_orders(
                    v_run.requests, v_run.account_ids, v_run.order_ids, p_symbol_slots
                ) as canceled;
            when 'create' then
                return query
                select created.*
                from exchange.create_all(v_run.requests, v_run.actions, v_run.account_ids, v_run.syms, v_run.amounts) as created;
            else
                raise exception 'unknown action: %', v_run.kind
                    using errcode = 'EX001', hint = 'The comment on process_batch lists the actions.';
        end case;
    end loop;
end
$$;

comment on function exchange.process_phases(
    integer[], text[], text[], text[], numeric[], numeric[], bigint[], integer[], bigint
) is
'Carries out a batch whose locks are held: cuts each sequence into runs of one kind and does the first runs of all '
'sequences together, then the second ones, and so on. What is locked, lock_batch has told. Use process_batch.';

revoke all on function exchange.process_phases(
    integer[], text[], text[], text[], numeric[], numeric[], bigint[], integer[], bigint
) from public;
