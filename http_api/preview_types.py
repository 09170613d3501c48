"""What a browser may show of other people's files, and as what: nothing of it can act in the name of this site."""

from __future__ import annotations

from vfs.web.contents import SANDBOX

_MEDIA = ("image/", "audio/", "video/")
_TEXTS = frozenset(
    """application/json application/ld+json application/xml application/javascript application/x-javascript
    application/ecmascript application/x-sh application/x-csh application/x-python application/x-tex
    application/x-httpd-php application/sql application/toml application/yaml application/x-yaml
    application/xhtml+xml message/rfc822 image/svg+xml""".split()
)
_NOT_FOR_READING = frozenset(("text/rtf", "text/richtext"))  # texts only in name
_PDF = "application/pdf"
# Browsers show a PDF in a viewer of their own that has no part in this site, and in a sandbox not at all
# (Chromium 41131921, 413851): there the document is given no means instead.
_NO_MEANS = ("Content-Security-Policy", "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'")


def shown_as(mime_type: str) -> str | None:
    """The type that a preview has: its own for images, sound, video and PDF, `text/plain` for whatever is text, so that
    a page or a drawing (SVG is one that can run scripts) is shown as its source; None when there is no preview."""
    essence = mime_type.partition(";")[0].strip().lower()
    if essence in _TEXTS or (essence.startswith("text/") and essence not in _NOT_FOR_READING):
        return "text/plain"
    if essence == _PDF or (essence.startswith(_MEDIA) and not essence.endswith(("+xml", "/svg"))):
        return essence
    return None


def policy_of(shown: str) -> tuple[str, str]:
    """The header that keeps it harmless."""
    return _NO_MEANS if shown == _PDF else SANDBOX


def charset_of(beginning: bytes) -> str:
    """The `charset` of a text that begins so, "" when it is not plain to see: then the browser's guess, which knows its
    user's language, is better than ours."""
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    for cut in range(4):  # the beginning may end within a character
        try:
            beginning[: len(beginning) - cut].decode()
        except UnicodeDecodeError:
            continue
        return "utf-8"
    return ""
