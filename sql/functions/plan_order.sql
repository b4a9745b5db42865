-- Plans what an order with terms does: walks along the other side, as it is loaded, from its best order on. Changes nothing.
--
-- So FOK and post are decided before anything has happened; match_loaded then does what the plan says. The walk ends where all is
-- filled, where nothing is within the limit any more, where the budget pays for nothing, or at an own order that isn't passed. What
-- is left then rests or is cancelled, or the order is refused.
create or replace function exchange.plan_order(
    p_order exchange.incoming_orders,
    p_best integer,
    p_is_whole boolean,
    p_resting exchange.run_resting[],
    p_open numeric[],
    p_next integer[]
)
returns exchange.run_plan
language plpgsql
immutable
as $$
declare
    c_terms constant exchange.terms := p_order.terms;
    c_is_limit constant boolean := c_terms.type is distinct from 'market';
    c_reach constant numeric := case when c_is_limit then -exchange.price_rank(p_order.side, p_order.limit_price) else 'Infinity' end;
    c_step constant numeric := ('1e-' || scale(p_order.shares))::numeric;
    v_left numeric := p_order.shares;
    v_budget numeric := c_terms.budget; -- what is left of it; null but for a market buy
    v_best integer := p_best; -- the place of the first resting order that is not used up
    v_resting exchange.run_resting; -- that order
    v_shares numeric; -- that it loses
    v_is_stopped boolean := false;
    v_passed bigint[];
    v_kind exchange.event_kind;
    v_steps exchange.run_step[] := array[]::exchange.run_step[];
    v_plan exchange.run_plan;
begin
    while v_left > 0 and not v_is_stopped loop
        if v_best is null and not p_is_whole then
            v_plan.lacks := true;
            return v_plan;
        end if;
        v_resting := p_resting[v_best];
        exit when (v_resting.price_rank <= c_reach) is not true;

        if c_terms.post then
            v_plan.code := 'would_trade';
            v_plan.message := format('it would trade at once: an order rests at %s', trim_scale(abs(v_resting.price_rank)));
            return v_plan;
        end if;

        v_shares := least(v_left, p_open[v_best]);
        if v_budget is not null then
            v_shares := exchange.affordable_shares(v_left, p_open[v_best], abs(v_resting.price_rank), v_budget, c_step);
            exit when v_shares = 0;
        end if;

        if c_terms.stp is not null and v_resting.account_key = p_order.account_key then
            -- No trade with the own account: the resting order goes, or this one ends here, or both.
            v_is_stopped := c_terms.stp in ('taker', 'both');
            exit when c_terms.stp = 'taker';
            v_kind := 'remove';
            v_shares := p_open[v_best];
            v_passed := v_passed || v_resting.order_id;
        else
            v_kind := 'trade';
            v_left := v_left - v_shares;
            v_budget := v_budget - v_shares * abs(v_resting.price_rank);
        end if;
        v_steps := v_steps || row(v_kind, v_best, v_shares)::exchange.run_step;
        exit when v_shares < p_open[v_best];
        v_best := p_next[v_best];
    end loop;

    if c_terms.tif = 'FOK' and v_left > 0 then
        v_plan.code := 'unfilled';
        v_plan.message := format(
            'it can''t be filled wholly at once: %s of %s shares could be had',
            trim_scale(p_order.shares - v_left), trim_scale(p_order.shares)
        );
        return v_plan;
    end if;

    v_plan.steps := v_steps;
    v_plan.passed := v_passed;
    v_plan.best := v_best;
    v_plan.rests := case when c_is_limit and c_terms.tif is distinct from 'IOC' and not v_is_stopped then v_left else 0 end;
    v_plan.cancels := v_left - v_plan.rests;
    return v_plan;
end
$$;

comment on function exchange.plan_order(
    exchange.incoming_orders, integer, boolean, exchange.run_resting[], numeric[], integer[]
) is
'What an incoming order with terms does: with which of the loaded resting orders it trades, which it has cancelled, and how it '
'ends. p_best is the place of the best order of the other side, p_next leads from each to the one behind; p_is_whole tells whether '
'that side is loaded as far as the order can reach. Touches no table.';

revoke all on function exchange.plan_order(
    exchange.incoming_orders, integer, boolean, exchange.run_resting[], numeric[], integer[]
) from public;
