-- What a dead worker held is given up in the name of the tables' owner: the reference to it is emptied by a foreign
-- key, and for a job that waits for its time the queue's own trigger then writes an event. Unless the owner may write
-- that, the dead worker cannot be removed, and no other one starts.

create policy owner_events on procrastinate.procrastinate_events for insert to visiona_owner with check (true);
