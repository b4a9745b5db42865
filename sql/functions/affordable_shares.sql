-- How many shares of a resting order a market buy takes, which has so much of its budget left. Simple enough to be inlined.
--
-- It buys in steps of the last decimal place of its amount: as many as the budget pays for. What is smaller than a step, the resting
-- order or what these steps leave of the amount, is taken whole or not at all.
create or replace function exchange.affordable_shares(
    p_left numeric,
    p_open numeric,
    p_price numeric,
    p_budget numeric,
    p_step numeric
)
returns numeric
language sql
immutable
parallel safe
return case
    when
        least(p_left, p_open) * p_price <= p_budget
        and least(p_open, p_left - div(p_budget, p_price * p_step) * p_step) < p_step
        then least(p_left, p_open)
    else least(p_left, p_open, div(p_budget, p_price * p_step) * p_step)
end;

comment on function exchange.affordable_shares(numeric, numeric, numeric, numeric, numeric) is
'Of a market buy of which p_left shares are left, and that may spend p_budget: how many it takes of p_open shares at p_price, in '
'steps of p_step.';

revoke all on function exchange.affordable_shares(numeric, numeric, numeric, numeric, numeric) from public;
