"""Dates: points in time as answers show them.

Room: api. Pure. In: epoch seconds. Source: RFC 5322 §3.3, RFC 3339; names of days never follow a locale.
"""

import time

from mtad.message.trace import date


def gmt(at: float) -> str:
    """ "Thu, 13 Oct 2011 18:02:00 GMT": dates for people, everywhere but where a row says otherwise."""
    return date(at).decode().removesuffix("+0000") + "GMT"


def numeric(at: float) -> str:
    """ "Mon, 23 Nov 2026 07:57:26 +0000": under /v1/analytics."""
    return date(at).decode()


def rfc3339(at: float) -> str:
    """ "2021-10-11T17:34:02.297Z": tags, and limits of a domain's tags."""
    thousandths = round(at * 1000)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(thousandths // 1000))
    return f"{whole}.{thousandths % 1000:03d}Z"
