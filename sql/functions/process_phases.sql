-- The body of process_batch, once the locks are held: calls the right function for each phase's requests of one kind.
create or replace function exchange.process_phases(
    p_requests exchange.request[],
    p_symbol_slots integer[],
    p_last_account_key bigint
)
returns setof exchange.answer
language plpgsql
as $$
declare
    v_run record;
begin
    for v_run in
        select
            phases.kind,
            phases.places,
            phases.requests
        from exchange.cut_into_phases(p_requests) as phases
    loop
        case v_run.kind
            when 'place_order' then
                return query
                select placed.*
                from exchange.place_orders(v_run.places, v_run.requests, p_last_account_key) as placed;
            when 'query_order' then
                return query
                select queried.*
                from exchange.query_orders(v_run.places, v_run.requests) as queried;
            when 'cancel_order' then
                return query
                select canceled.*
                from exchange.cancel_orders(v_run.places, v_run.requests, p_symbol_slots) as canceled;
            when 'create' then
                return query
                select created.*
                from exchange.create_all(v_run.places, v_run.requests) as created;
            when 'forbidden' then
                return query
                select forbidden.*
                from exchange.refuse_forbidden(v_run.places, v_run.requests) as forbidden;
            else
                raise exception 'unknown action: %', v_run.kind
                    using errcode = 'EX001', hint = 'The comment on process_batch lists the actions.';
        end case;
    end loop;
end
$$;

comment on function exchange.process_phases(exchange.request[], integer[], bigint) is
'Carries out a batch whose locks are held: cuts each sequence into runs of one kind and does the first runs of all '
'sequences together, then the second ones, and so on. What is locked, lock_batch has told. Use process_batch.';

revoke all on function exchange.process_phases(exchange.request[], integer[], bigint) from public;
