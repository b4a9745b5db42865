-- The text of a refusal that depends only on the request itself.
create or replace function exchange.refusal(p_code text, p_request exchange.request)
returns text
language sql
immutable
parallel safe
return case p_code
    when 'unknown_account' then format('no such account: %s', coalesce((p_request).account_id, 'null'))
    when 'unknown_symbol' then format('no such symbol: %s', coalesce((p_request).sym, 'null'))
    when 'account_frozen' then format('account %s is frozen: it may query and cancel orders, but not place any', (p_request).account_id)
    when 'symbol_halted' then format('trading of %s is halted: orders can be queried and cancelled, but not placed', (p_request).sym)
    when 'invalid_amount'
        then format(
            'amount %s is not allowed: shares to buy (more than 0) or to sell (less than 0), %s',
            coalesce((p_request).amount::text, 'null'), exchange.number_rule()
        )
    when 'invalid_limit'
        then format(
            'limit %s is not allowed: a price of more than 0, %s', coalesce((p_request).limit_price::text, 'null'), exchange.number_rule()
        )
    when 'invalid_max' then format('max %s is not allowed: a whole number from 1 to 1000', (p_request).amount)
    when 'invalid_depth' then format('depth %s is not allowed: a whole number from 1 to 1000', (p_request).amount)
end;

comment on function exchange.refusal(text, exchange.request) is
'The text of a refusal that depends on the request alone, by its code; null for other codes.';

revoke all on function exchange.refusal(text, exchange.request) from public;
