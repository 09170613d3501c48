"""Names that software gets wrong, each one legal segment of a path on Linux. The default fixture of every suite."""

from __future__ import annotations

NASTY_NAMES = (
    'it\'s "quoted" `so`',
    "-rf",
    " leading and trailing ",
    "trailing dot.",
    "...",
    "caf\u00e9",  # NFC
    "cafe\u0301 decomposed",  # NFD
    "보고서 최종(2).hwp",
    "日本語の名前",
    "🗂️👩‍👩‍👧 family",
    "a+b&c;d?e=f#g%41",
    "back\\slash:colon*star|pipe<less>",
    "line\nbreak\ttab",
    "CON",
    "~$doc.docx",
    "{brace}$HOME $(id)",
    "عربى \u202eoverride",
    "x" * 255,
    "é" * 127,  # 254 bytes
    "🙂" * 63,  # 252 bytes
)
