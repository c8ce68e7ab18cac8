"""Room storage: what must survive a crash. No SQL outside this room, no socket inside it."""
