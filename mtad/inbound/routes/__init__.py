"""Routes: which actions mail that comes in for an address asks for. Expressions, patterns, the engine, and why."""
