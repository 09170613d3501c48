"""Content-Disposition (RFC 6266): under what name a client shall save, or show, what it gets."""

from __future__ import annotations

import re
from urllib.parse import quote

_NOT_PLAIN = re.compile(r'[^ -~]|["\\%/]')
_ATTR_CHARS = "!#$&+-.^_`|~"  # beside letters and digits (RFC 8187 §3.2.1)


def disposition(kind: str, name: str) -> tuple[str, str]:
    """The header; `kind` is "attachment" or "inline".

    A name that is not plain ASCII, or has spaces that get lost, is given twice: encoded (RFC 8187), which all browsers
    prefer, and for the others as near as ASCII comes. There nothing stands that somebody unescapes: no `\\`, no quote,
    no % (RFC 6266, appendix D).
    """
    plain = _NOT_PLAIN.sub("_", name)
    encoded = "" if plain == name.strip() == name else f"; filename*=UTF-8''{quote(name, safe=_ATTR_CHARS)}"
    return "Content-Disposition", f'{kind}; filename="{plain}"{encoded}'
