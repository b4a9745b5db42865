-- The accounts that can't pay for all that is asked of them.
create or replace function exchange.find_short(p_holdings exchange.run_holding[])
returns bigint[]
language plpgsql
immutable
as $$
begin
    return array(
        select distinct exchange.position_key_account(holding.holding_key)
        from unnest(p_holdings) as holding
        where holding.taken > holding.available
    );
end
$$;

comment on function exchange.find_short(exchange.run_holding[]) is
'The accounts that have less of something than is to be taken of it.';

revoke all on function exchange.find_short(exchange.run_holding[]) from public;
