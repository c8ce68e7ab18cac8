"""Room feedback: what comes back from the other side, and what we make of it."""
