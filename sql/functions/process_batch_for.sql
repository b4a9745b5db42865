-- process_batch for clients that have shown a certificate: what a certificate's name may not do is refused, the rest is
-- carried out by process_batch.
--
-- The tables are read anew by each batch, so what a DBA changes in them acts from the next batch on. Settings are those of
-- process_batch, for the same reason.
create or replace function exchange.process_batch_for(
    p_certificate_names text[],
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
    v_permitted boolean[];
    v_asked record;
begin
    -- Arrays are read in step.
    if v_shape <> any(array[
        array_dims(p_certificate_names), array_dims(p_sequences), array_dims(p_actions), array_dims(p_account_ids),
        array_dims(p_syms), array_dims(p_amounts), array_dims(p_limits), array_dims(p_order_ids)
    ]) then
        raise exception 'the arrays of a batch must have one dimension, start at 1 and be equally long'
            using errcode = 'EX002';
    end if;

    -- What isn't in these tables is not permitted, a missing name included.
    select
        array_agg(
            exists (
                select
                from exchange.certificate_operators
                where certificate_operators.certificate_name = asked.certificate_name
                offset 0
            )
            or (
                (asked.action in ('place_order', 'query_order', 'cancel_order')) is true
                and exists (
                    select
                    from exchange.certificate_accounts
                    where
                        certificate_accounts.certificate_name = asked.certificate_name
                        and certificate_accounts.account_id = asked.account_id
                    offset 0
                )
            )
            order by asked.place
        )
    into v_permitted
    from unnest(p_certificate_names, p_actions, p_account_ids)
        with ordinality as asked (certificate_name, action, account_id, place);

    -- The usual case.
    if true = all(v_permitted) then
        return query
        select processed.*
        from exchange.process_batch(
            p_sequences, p_actions, p_account_ids, p_syms, p_amounts, p_limits, p_order_ids
        ) as processed;
        return;
    end if;

    select
        coalesce(array_agg(asked.place::integer order by asked.place) filter (where asked.permitted), '{}') as requests,
        coalesce(array_agg(asked.sequence order by asked.place) filter (where asked.permitted), '{}') as sequences,
        coalesce(array_agg(asked.action order by asked.place) filter (where asked.permitted), '{}') as actions,
        coalesce(array_agg(asked.account_id order by asked.place) filter (where asked.permitted), '{}') as account_ids,
        coalesce(array_agg(asked.sym order by asked.place) filter (where asked.permitted), '{}') as syms,
        coalesce(array_agg(asked.amount order by asked.place) filter (where asked.permitted), '{}') as amounts,
        coalesce(array_agg(asked.limit_price order by asked.place) filter (where asked.permitted), '{}') as limits,
        coalesce(array_agg(asked.order_id order by asked.place) filter (where asked.permitted), '{}') as order_ids
    into v_asked
    from unnest(v_permitted, p_sequences, p_actions, p_account_ids, p_syms, p_amounts, p_limits, p_order_ids)
        with ordinality as asked (permitted, sequence, action, account_id, sym, amount, limit_price, order_id, place);

    -- The requests that are carried out get their places in the whole batch back.
    return query
    select
        answer.request,
        answer.outcome,
        answer.order_id,
        answer.shares,
        answer.price,
        answer.at,
        answer.code,
        answer.message
    from (
        select
            v_asked.requests[processed.request] as request,
            processed.outcome,
            processed.order_id,
            processed.shares,
            processed.price,
            processed.at,
            processed.code,
            processed.message,
            processed.ordinality
        from exchange.process_batch(
            v_asked.sequences, v_asked.actions, v_asked.account_ids, v_asked.syms, v_asked.amounts, v_asked.limits,
            v_asked.order_ids
        ) with ordinality as processed
        union all
        select
            asked.place::integer,
            'refused',
            null,
            null,
            null,
            null,
            'not_permitted',
            -- The same words whether or not the account exists.
            case
                when asked.action in ('place_order', 'query_order', 'cancel_order')
                    then format(
                        'the certificate of %s may not act for account %s: only for the accounts that it is bound to',
                        coalesce(asked.certificate_name, 'nobody'), coalesce(asked.account_id, 'null')
                    )
                else format(
                    'the certificate of %s may not create accounts, symbols or shares: only that of an operator may',
                    coalesce(asked.certificate_name, 'nobody')
                )
            end,
            0
        from unnest(v_permitted, p_certificate_names, p_actions, p_account_ids)
            with ordinality as asked (permitted, certificate_name, action, account_id, place)
        where not asked.permitted
    ) as answer
    order by answer.request, answer.ordinality;
end
$$;

comment on function exchange.process_batch_for(
    text[], integer[], text[], text[], text[], numeric[], numeric[], bigint[]
) is
'Does what process_batch does, for clients that have shown a certificate: each request comes with the name of its own. A name in '
'certificate_operators may do everything; one in certificate_accounts may place, query and cancel orders for the '
'accounts that it is bound to there. All else is refused with the code not_permitted.';

revoke all on function exchange.process_batch_for(
    text[], integer[], text[], text[], text[], numeric[], numeric[], bigint[]
) from public;
grant execute on function exchange.process_batch_for(
    text[], integer[], text[], text[], text[], numeric[], numeric[], bigint[]
) to exchange_gateway;
