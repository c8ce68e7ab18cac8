"""Room smtp: the SMTP doors."""
