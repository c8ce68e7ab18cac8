"""Room inbound: mail from the world for our domains: reports about what we sent, and people who leave."""
