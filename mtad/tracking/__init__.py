"""Tracking: the links in mail that lead back to us: opened, clicked, unsubscribed."""
