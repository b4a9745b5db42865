-- The body of process_batch, once the locks are held: calls the right function for each phase's requests of one kind.
create or replace function exchange.process_phases(p_requests exchange.request[], p_held exchange.held_locks)
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
                from exchange.place_orders(v_run.places, v_run.requests, p_held) as placed;
                -- What was read when the locks were taken was the first run's.
                p_held.balances := null;
            when 'cancel_order' then
                return query
                select canceled.*
                from exchange.cancel_orders(v_run.places, v_run.requests, p_held) as canceled;
            when 'query_order', 'look_account', 'list_orders', 'look_book', 'look' then
                return query
                select looked.*
                from exchange.look(v_run.kind, v_run.places, v_run.requests) as looked;
            when 'change' then
                return query
                select changed.*
                from exchange.change_one_by_one(v_run.places, v_run.requests, p_held) as changed;
                p_held.balances := null;
            when 'create' then
                return query
                select created.*
                from exchange.create_all(v_run.places, v_run.requests) as created;
                p_held.balances := null;
            when 'marked' then
                return query
                select marked.*
                from exchange.answer_marked(v_run.places, v_run.requests) as marked;
            else
                raise exception 'unknown action: %', v_run.kind
                    using errcode = 'EX001', hint = 'The comment on process_batch lists the actions.';
        end case;
    end loop;
end
$$;

comment on function exchange.process_phases(exchange.request[], exchange.held_locks) is
'Carries out a batch whose locks are held: cuts each sequence into runs of one kind and does the first runs of all '
'sequences together, then the second ones, and so on. Use process_batch.';

revoke all on function exchange.process_phases(exchange.request[], exchange.held_locks) from public;
