"""Room api: the HTTP doors."""
