"""Room capture: the inbox of mtad dev: takes outgoing mail instead of the world."""
