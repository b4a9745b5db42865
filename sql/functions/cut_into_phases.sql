-- Cuts each sequence of a batch into runs of one kind. The first runs of all sequences make phase 1, the second ones
-- phase 2, and so on. What is marked, because it is forbidden or must wait, belongs to no run: the rest is done
-- as if nobody had asked for it.
--
-- What a sequence begins with and changes nothing comes before all that changes anything. So it sees what was committed: a book as it
-- is after a whole update, and not amid this transaction's. It is all one run, called look where it is of several kinds, and of one
-- instant: a sequence that only looks locks nothing, so else what others do could come between two of its looks.
create or replace function exchange.cut_into_phases(p_requests exchange.request[])
returns table (
    kind text,
    places integer[],
    requests exchange.request[]
)
language plpgsql
immutable
as $$
begin
    -- The usual case needs no sorting.
    if 'place_order' = all (select asked.action from unnest(p_requests) as asked) then
        return query
        select
            'place_order',
            array(select generate_series(1, cardinality(p_requests))),
            p_requests
        where cardinality(p_requests) > 0;
        return;
    end if;

    return query
    with asked as (
        select
            asked.sequence,
            asked.place,
            (
                asked.sequence, asked.action, asked.account_id, asked.sym, asked.amount, asked.limit_price, asked.order_id,
                asked.certificate_name, asked.terms
            )::exchange.request as request,
            case
                when asked.action in ('create_account', 'create_symbol', 'grant_shares') then 'create'
                when asked.action in (
                    'replace_order', 'reduce_order', 'reduce_order_to', 'cancel_all', 'arm_switch', 'disarm_switch', 'fire_switch'
                ) then 'change'
                when asked.action in ('forbidden_order', 'forbidden_creation', 'later') then 'marked'
                else asked.action
            end as kind
        from unnest(p_requests) with ordinality as asked (
            sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name, terms, place
        )
    ),

    changes as (
        select
            asked.sequence,
            asked.place,
            asked.request,
            asked.kind,
            asked.kind is distinct from lag(asked.kind) over (
                partition by asked.sequence, asked.kind = 'marked' order by asked.place
            ) as changed
        from asked
    ),

    phases as (
        select
            changes.place,
            changes.request,
            changes.kind,
            bool_and(changes.kind in ('query_order', 'look_account', 'list_orders', 'look_book')) over (
                partition by changes.sequence, changes.kind = 'marked' order by changes.place
            ) as is_first_look,
            count(*) filter (where changes.changed) over (
                partition by changes.sequence, changes.kind = 'marked' order by changes.place
            ) as phase
        from changes
    ),

    runs as (
        select
            phases.place,
            phases.request,
            phases.is_first_look,
            case when not phases.is_first_look then phases.phase end as phase,
            case
                when
                    phases.is_first_look
                    and min(phases.kind) over (partition by phases.is_first_look)
                    <> max(phases.kind) over (partition by phases.is_first_look)
                    then 'look'
                else phases.kind
            end as kind
        from phases
    )

    select
        runs.kind,
        array_agg(runs.place::integer order by runs.place),
        array_agg(runs.request order by runs.place)
    from runs
    group by runs.is_first_look, runs.phase, runs.kind
    order by runs.is_first_look desc, runs.phase, runs.kind;
end
$$;

comment on function exchange.cut_into_phases(exchange.request[]) is
'The runs of a batch, in the order in which they are to be done: requests of one kind, with their places in the batch. Within a '
'sequence a run holds what is between two changes of kind. What comes before the first change of its sequence is the first run, called '
'look where it is of several kinds.';

revoke all on function exchange.cut_into_phases(exchange.request[]) from public;
