-- The transaction from which on an account can have credits that aren't folded in, by what it has noted of it. Simple enough to
-- be inlined.
create or replace function exchange.settled_since(p_settled_before xid8)
returns xid8
language sql
stable
parallel safe
return case when p_settled_before <= pg_snapshot_xmax(pg_current_snapshot()) then p_settled_before else '0'::xid8 end;

comment on function exchange.settled_since(xid8) is
'What balances.settled_before says, or 0 where it names a transaction that is yet to come: in a copy that was restored into a '
'server with lower transaction ids.';

revoke all on function exchange.settled_since(xid8) from public;
