"""Room mail: the words every room speaks: addresses, envelopes, replies, events. Imports nothing of mtad."""
