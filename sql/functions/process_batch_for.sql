-- process_batch for clients with certificates: what the certificate's name may not do is passed on as the action refuse,
-- which takes no lock and does nothing.
--
-- Each batch reads the tables anew, so a DBA's changes take effect with the next batch. The settings are those of
-- process_batch, for the same reasons.
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
    v_actions text[];
begin
    -- process_batch checks the other arrays.
    if array_dims(p_certificate_names) <> array_dims(p_actions) then
        raise exception 'the arrays of a batch must have one dimension, start at 1 and be equally long'
            using errcode = 'EX002';
    end if;

    select coalesce(array_agg(case when certificate.is_permitted then asked.action else 'refuse' end order by asked.place), '{}')
    into v_actions
    from unnest(p_certificate_names, p_actions, p_account_ids)
        with ordinality as asked (certificate_name, action, account_id, place)
    cross join lateral exchange.certificate_may(asked.certificate_name, asked.action, asked.account_id) as certificate;

    return query
    select
        processed.request,
        processed.outcome,
        processed.order_id,
        processed.shares,
        processed.price,
        processed.at,
        processed.code,
        -- The same words whether or not the account exists.
        case
            when processed.code is distinct from 'not_permitted' then processed.message
            when p_actions[processed.request] in ('place_order', 'query_order', 'cancel_order')
                then format(
                    'the certificate of %s may not act for account %s: only for the accounts that it is bound to',
                    coalesce(p_certificate_names[processed.request], 'nobody'), coalesce(p_account_ids[processed.request], 'null')
                )
            else format(
                'the certificate of %s may not create accounts, symbols or shares: only that of an operator may',
                coalesce(p_certificate_names[processed.request], 'nobody')
            )
        end
    from exchange.process_batch(
        p_sequences, v_actions, p_account_ids, p_syms, p_amounts, p_limits, p_order_ids
    ) as processed;
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
