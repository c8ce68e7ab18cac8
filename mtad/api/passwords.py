"""Passwords: made, hashed, compared. Slow on purpose: call `make_hash` and `is_right` in a thread.

Room: api. The hash is argon2id with the parameters OWASP names for servers: 19 MiB, two passes, one lane; 64 MiB each,
the library's default, would let a handful of logins at one time take the daemon's memory.
"""

import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MIN_LENGTH, GOOD_LENGTH, MAX_LENGTH = 5, 8, 128  # characters; AUTH lines are bounded too (RFC 4954 §4)
_LETTERS = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that look like another
_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


def new_password() -> str:
    """24 letters and digits: 138 random bits."""
    return "".join(secrets.choice(_LETTERS) for _ in range(24))


def fault(password: str) -> str | None:
    """Why it cannot be a password, None when it can. Never repeats it."""
    if len(password) < MIN_LENGTH:
        return f"a password has at least {MIN_LENGTH} characters"
    if len(password) > MAX_LENGTH:
        return f"a password has at most {MAX_LENGTH} characters"
    if not password.isprintable():
        return "a password has no control characters: they cannot be sent with AUTH"
    return None


def weakness(password: str) -> str:
    """Why it should be a better one, "" when it need not. Never repeats it."""
    return f"it has less than {GOOD_LENGTH} characters and can be guessed" if len(password) < GOOD_LENGTH else ""


def make_hash(password: str) -> str:
    return _hasher.hash(password)


def is_right(hash_: str, password: str) -> bool:
    """False also when `hash_` is none of ours."""
    try:
        return _hasher.verify(hash_, password)
    except (VerificationError, InvalidHashError):
        return False
