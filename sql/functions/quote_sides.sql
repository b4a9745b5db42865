-- Quotes the best order of each side of a match, where it isn't the one that was quoted last.
--
-- p_best and p_best_loaded tell the place of the best resting order of each side now, and as it was loaded; p_last_ranks how far
-- it was loaded, where there may be more.
create or replace function exchange.quote_sides(
    p_sides exchange.run_side[],
    p_resting exchange.run_resting[],
    p_best integer[],
    p_best_loaded integer[],
    p_last_ranks numeric[],
    p_now timestamptz
)
returns void
language plpgsql
as $$
declare
    v_new integer[] := array[]::integer[]; -- best orders that are not the ones quoted
    v_unsure integer[] := array[]::integer[]; -- of each side whose best order only the table can tell, one order that was at its top
    v_side exchange.run_side;
    v_best exchange.run_resting;
begin
    for n in 1 .. cardinality(p_sides) loop
        v_side := p_sides[n];
        v_best := p_resting[p_best[n]];
        if p_best_loaded[n] is null and v_side.quoted_id is not null then
            -- There was nothing within reach: the last quote stands, unless a better order rests there now.
            if v_best.price_rank < v_side.quoted_rank then
                v_new := v_new || p_best[n];
            end if;
        elsif v_best.price_rank <= coalesce(p_last_ranks[n], v_side.reach) then
            if v_best.order_id is distinct from v_side.quoted_id then
                v_new := v_new || p_best[n];
            end if;
        elsif p_best_loaded[n] is not null or p_best[n] is not null then
            v_unsure := v_unsure || coalesce(p_best_loaded[n], p_best[n]);
        end if;
    end loop;

    if cardinality(v_new) > 0 then
        insert into exchange.quotes (symbol_key, side, price_rank, order_id, quoted_at)
        select
            (p_sides[best.side_place]).symbol_key,
            (p_sides[best.side_place]).side,
            best.price_rank,
            best.order_id,
            p_now
        from unnest(v_new) as new (place)
        cross join lateral (
            select
                (p_resting[new.place]).side_place,
                (p_resting[new.place]).price_rank,
                (p_resting[new.place]).order_id
        ) as best;
    end if;

    if cardinality(v_unsure) > 0 then
        perform exchange.quote(
            array_agg((p_sides[(p_resting[place]).side_place]).symbol_key),
            array_agg((p_sides[(p_resting[place]).side_place]).side),
            array_agg((p_resting[place]).price_rank),
            array_agg((p_resting[place]).order_id),
            p_now
        )
        from unnest(v_unsure) as place;
    end if;
end
$$;

comment on function exchange.quote_sides(
    exchange.run_side[], exchange.run_resting[], integer[], integer[], numeric[], timestamptz
) is
'Adds to quotes the best order of each side of a match, where it is not the one quoted last. What the match can''t tell by '
'itself, because it has used up all that it had loaded, quote finds out.';

revoke all on function exchange.quote_sides(
    exchange.run_side[], exchange.run_resting[], integer[], integer[], numeric[], timestamptz
) from public;
