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
    when 'invalid_ref'
        then format('ref %s is not allowed: 1 to 64 of ASCII letters, digits and . _ - :', left((p_request).terms.ref, 80))
    when 'invalid_budget'
        then format(
            'budget %s is not allowed: money, more than 0, %s', (p_request).terms.budget, exchange.number_rule()
        )
    when 'invalid_open'
        then format('open %s is not allowed: a number of shares, %s', (p_request).terms.if_open, exchange.number_rule())
    when 'invalid_terms' then exchange.contradiction(p_request)
    when 'unknown_order' then format('no such order: %s', coalesce((p_request).order_id::text, (p_request).terms.ref))
    when 'nothing_open' then format('order %s has no open shares to cancel', (p_request).order_id)
    when 'invalid_shares'
        then format(
            '%s %s is not allowed: a number of shares, %s, %s',
            case (p_request).action when 'reduce_order_to' then 'to' else 'shares' end,
            coalesce((p_request).amount::text, 'null'),
            case (p_request).action when 'reduce_order_to' then '0 or more' else 'more than 0' end,
            exchange.number_rule()
        )
    when 'invalid_seconds'
        then format(
            '%s seconds are not allowed: a whole number from 1 to 86400', coalesce((p_request).amount::text, 'null')
        )
end;

comment on function exchange.refusal(text, exchange.request) is
'The text of a refusal that depends on the request alone, by its code; null for other codes.';

revoke all on function exchange.refusal(text, exchange.request) from public;
