"""mtad: an email service as one daemon."""

__version__ = "0.1.0"
