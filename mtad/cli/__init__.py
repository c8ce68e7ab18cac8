"""Room cli: the command line."""
