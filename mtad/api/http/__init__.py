"""HTTP: the API that Mailgun's clients speak, one file per chapter over one ground (app, call, params, answers)."""
