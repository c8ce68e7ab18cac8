"""Room delivery: one hop forward: hosts, connections, transactions. Knows no table."""
