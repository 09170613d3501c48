"""Dates of HTTP and WebDAV: whole seconds since 1970 on our side, English text on the wire."""

from __future__ import annotations

import re
import time
from email.utils import mktime_tz, parsedate_tz
from functools import lru_cache

NANOSECONDS = 1_000_000_000
_LATEST = 9_223_372_035  # in the year 2262: what nanoseconds in 64 bits reach
_EARLIEST = -_LATEST  # 1677; Windows says 1601 where it knows no time
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNIX_TIME = re.compile(r"(\d{1,12})(?:\.(\d{1,9})\d*)?")


@lru_cache(maxsize=8192)  # the entries of a folder share their times more often than not
def http_date(seconds: int) -> str:
    """`Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7). `strftime` would speak the server's language."""
    t = time.gmtime(min(seconds, _LATEST))
    day, month = _DAYS[t.tm_wday], _MONTHS[t.tm_mon - 1]
    return f"{day}, {t.tm_mday:02d} {month} {t.tm_year:04d} {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} GMT"


@lru_cache(maxsize=8192)
def iso_date(seconds: int) -> str:
    """`1994-11-06T08:49:37Z`, the form of `creationdate` (RFC 4918 §15.1)."""
    t = time.gmtime(min(seconds, _LATEST))
    return f"{t.tm_year:04d}-{t.tm_mon:02d}-{t.tm_mday:02d}T{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}Z"


def parse_http_date(text: str) -> int | None:
    """Seconds since 1970 of any of the three HTTP date forms, 1677 for what is older; None for what is no date."""
    try:
        parsed = parsedate_tz(text)
        seconds = mktime_tz(parsed) if parsed else None
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return max(seconds, _EARLIEST) if seconds is not None and seconds <= _LATEST else None


def parse_time_ns(text: str) -> int | None:
    """Nanoseconds of a time that a client sets: an HTTP date or Unix seconds, perhaps with a fraction (R18)."""
    text = text.strip()
    if unix := _UNIX_TIME.fullmatch(text):
        seconds, fraction = int(unix[1]), (unix[2] or "").ljust(9, "0")
        return seconds * NANOSECONDS + int(fraction) if seconds <= _LATEST else None
    date = parse_http_date(text)
    return None if date is None else date * NANOSECONDS
