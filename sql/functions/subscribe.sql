-- Tells how a feed of each of these symbols begins: with a snapshot of the book, or with the updates from the one that it asks for.
--
-- Updates are forgotten from the oldest on, so all from one that is kept are kept. One may be forgotten before it is read: whoever
-- reads finds then that the first one isn't the one that it asked for. It compares numbers alone: in a copy that was restored
-- elsewhere they go on where they stood.
--
-- As a batch does, it first looks at whether a certificate permits it, so that who isn't permitted learns nothing. The planner
-- settings are those of process_batch.
create or replace function exchange.subscribe(
    p_syms text[],
    p_from bigint[],
    p_certificate_names text[] default null
)
returns table (
    place integer,
    outcome text,
    symbol_key bigint,
    seq bigint,
    halted boolean,
    code text,
    message text
)
language plpgsql
stable
security definer
set search_path = exchange, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
begin
    return query
    select
        asked.place::integer,
        case when refused.code is not null then 'refused' when start.resumes then 'resumed' else 'snapshot' end,
        case when refused.code is null then traded.symbol_key end,
        case when refused.code is null then case when start.resumes then asked.from_seq - 1 else coalesce(newest.seq, 0) end end,
        case when refused.code is null then traded.halted_at is not null end,
        refused.code,
        case refused.code
            when 'not_permitted' then exchange.forbidden('forbidden_feed', null, asked.certificate_name)
            else exchange.refusal(refused.code, (null, null, null, asked.sym, null, null, null, null, null)::exchange.request)
        end
    from rows from (unnest(p_syms), unnest(p_from), unnest(p_certificate_names)) with ordinality as asked (
        sym, from_seq, certificate_name, place
    )
    left join lateral (
        select
            symbols.symbol_key,
            symbols.halted_at
        from exchange.symbols
        where symbols.sym = asked.sym
        offset 0
    ) as traded on true
    left join lateral exchange.newest_update(traded.symbol_key) as newest on true
    cross join lateral (
        select
            case
                when
                    p_certificate_names is not null
                    and not exists (
                        select
                        from exchange.certificate_operators
                        where certificate_operators.certificate_name = asked.certificate_name
                        offset 0
                    )
                    and not exists (
                        select
                        from exchange.certificate_accounts
                        where certificate_accounts.certificate_name = asked.certificate_name
                        offset 0
                    )
                    then 'not_permitted'
                when traded.symbol_key is null then 'unknown_symbol'
            end as code
        offset 0
    ) as refused
    cross join lateral (
        select
            asked.from_seq = coalesce(newest.seq, 0) + 1
            or exists (
                select
                from exchange.updates
                where updates.symbol_key = traded.symbol_key and updates.seq = asked.from_seq
                offset 0
            ) as resumes
        offset 0
    ) as start
    order by asked.place;
end
$$;

comment on function exchange.subscribe(text[], bigint[], text[]) is
'How a feed of each of these symbols begins, a row for each: resumed, where the updates from p_from on are kept, or p_from is one more '
'than the last (seq: p_from - 1); snapshot, where p_from is null, forgotten or further ahead (seq: of the newest update, 0 where there is '
'none; snapshot_book says it again); or refused (unknown_symbol, not_permitted). read_updates goes on after seq. p_certificate_names: null '
'where clients show no certificates; else the name that each has shown, which must be that of an operator or be bound to an account.';

revoke all on function exchange.subscribe(text[], bigint[], text[]) from public;
grant execute on function exchange.subscribe(text[], bigint[], text[]) to exchange_gateway, exchange_reader;
