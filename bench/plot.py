"""The ratios as a picture: a line per case, a dot per peer, on a logarithmic axis. SVG written by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from bench.measuring import Row
from bench.targets import counterpart, ratio_to

_COLOURS = {"Apache": "#c0392b", "nginx": "#27ae60", "lighttpd": "#8e44ad", "rclone": "#2980b9", "WsgiDAV": "#7f8c8d"}
_LINE, _LEFT, _WIDTH, _TOP, _RIGHT = 17, 350, 560, 56, 30  # pixels
_LEAST, _MOST = 0.05, 50.0  # what lies beyond is drawn at the edge
_TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)


def svg(rows: Sequence[Row]) -> str:
    """Right of the thick line Kelp is faster. Changes are compared with the peers that were made to sync."""
    height = _TOP + _LINE * len(rows) + 30
    width = _LEFT + _WIDTH + _RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
        ' font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        '<text x="10" y="18" font-size="14">Kelp\'s rate as a multiple of the peers\' (right of 1: Kelp is faster;'
        " changes: with sync)</text>",
        *_legend(),
        *_axis(height - 30),
    ]
    for number, row in enumerate(rows):
        parts += _line(row, _TOP + _LINE * number + _LINE / 2)
    return "\n".join([*parts, "</svg>", ""])


def _at(ratio: float) -> float:
    within = min(max(ratio, _LEAST), _MOST)
    return _LEFT + _WIDTH * math.log(within / _LEAST) / math.log(_MOST / _LEAST)


def _legend() -> list[str]:
    parts = []
    for number, (name, colour) in enumerate(_COLOURS.items()):
        x = _LEFT + 90 * number
        parts.append(f'<circle cx="{x}" cy="34" r="4.5" fill="{colour}"/><text x="{x + 9}" y="38">{name}</text>')
    return parts


def _axis(bottom: float) -> list[str]:
    parts = []
    for tick in _TICKS:
        x, line = _at(tick), 'stroke="#333" stroke-width="1.6"' if tick == 1 else 'stroke="#ddd"'
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{bottom}" {line}/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{tick:g}×</text>')
    return parts


def _line(row: Row, y: float) -> list[str]:
    parts = [f'<text x="{_LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(row.name)}</text>']
    for name, colour in _COLOURS.items():
        label = counterpart(row, name)
        ratio = ratio_to(row, label)
        if ratio is not None:
            parts.append(
                f'<circle cx="{_at(ratio):.1f}" cy="{y:.1f}" r="4.5" fill="{colour}" fill-opacity="0.85">'
                f"<title>{escape(label)}: {ratio:.2f}×</title></circle>"
            )
    return parts
