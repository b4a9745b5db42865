-- A request is called by its place in the batch, so each place must have one, from 1 on.
create or replace function exchange.require_straight(p_requests exchange.request[])
returns void
language plpgsql
immutable
as $$
begin
    if array_dims(p_requests) <> format('[1:%s]', cardinality(p_requests)) or array_position(p_requests, null) > 0 then
        raise exception 'the array of a batch must have one dimension, start at 1 and hold no null'
            using errcode = 'EX002';
    end if;
end
$$;

comment on function exchange.require_straight(exchange.request[]) is
'Raises EX002 for an array of requests that has holes, several dimensions or another first place than 1.';

revoke all on function exchange.require_straight(exchange.request[]) from public;
