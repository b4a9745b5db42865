-- The text of a refusal that a certificate is the reason of.
create or replace function exchange.forbidden(p_action text, p_account_id text, p_certificate_name text)
returns text
language sql
immutable
parallel safe
return case p_action
    when 'forbidden_order'
        then format(
            'the certificate of %s may not act for account %s: only for the accounts that it is bound to',
            coalesce(p_certificate_name, 'nobody'), coalesce(p_account_id, 'null')
        )
    when 'forbidden_creation'
        then format(
            'the certificate of %s may not create accounts, symbols or shares: only that of an operator may',
            coalesce(p_certificate_name, 'nobody')
        )
    when 'forbidden_feed'
        then format(
            'the certificate of %s may not subscribe: it is bound to no account', coalesce(p_certificate_name, 'nobody')
        )
end;

comment on function exchange.forbidden(text, text, text) is
'Why a certificate does not permit a request, by the action that mark_forbidden has given it, or forbidden_feed; null for '
'other actions.';

revoke all on function exchange.forbidden(text, text, text) from public;
