"""Room webhooks: telling the owner of a domain, over HTTP, what became of its mail."""
