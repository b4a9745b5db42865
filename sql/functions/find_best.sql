-- Finds the best order of a side of the book, from where it began before: nothing rests before that.
--
-- PL/pgSQL, although it is one statement: before PostgreSQL 18 a function in SQL is planned at each call.
create or replace function exchange.find_best(
    p_symbol_key bigint,
    p_side exchange.side,
    p_from_rank numeric,
    p_from_id bigint
)
returns exchange.run_best
language plpgsql
as $$
declare
    v_best exchange.run_best;
begin
    select
        best.price_rank,
        best.order_id
    into v_best
    from exchange.first_orders(
        p_symbol_key, p_side, coalesce(p_from_rank, '-Infinity'), coalesce(p_from_id, 0), 'Infinity', 1
    ) as best;
    if not found then
        v_best := row('Infinity'::numeric, 0::bigint)::exchange.run_best;
    end if;
    return v_best;
end
$$;

comment on function exchange.find_best(bigint, exchange.side, numeric, bigint) is
'The best order of a side of the book, with rank Infinity and id 0 where it is empty. The rank and id tell where it began before, or '
'are null. The caller holds the symbol''s lock.';

revoke all on function exchange.find_best(bigint, exchange.side, numeric, bigint) from public;
