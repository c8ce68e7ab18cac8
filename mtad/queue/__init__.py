"""Room queue: waiting: the only way in, and what happens to a message until it is done."""
