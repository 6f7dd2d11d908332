"""Bar charts as SVG, which read well in light and in dark pages."""

from html import escape

WIDTH, LABELS, BAR, GAP, HEAD = 760, 300, 18, 8, 46
OURS, THEIRS, LIMIT = "#1d4ed8", "#94a3b8", "#d97706"


def number(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def bars(file, title, rows, unit):
    """Draws a chart. `rows` has (label, value, colour); rows without a value are left out."""
    rows = [row for row in rows if row[1] is not None]
    if not rows:
        return False
    highest = max(value for _, value, _ in rows) or 1
    height = HEAD + len(rows) * (BAR + GAP) + GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" font-family="sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="20" font-weight="bold" fill="#0f172a">{escape(title)}</text>',
        f'<text x="12" y="37" fill="#475569">{escape(unit)}</text>',
    ]
    room = WIDTH - LABELS - 90
    for place, (label, value, colour) in enumerate(rows):
        y = HEAD + place * (BAR + GAP)
        length = max(1, room * value / highest)
        lines += [
            f'<text x="{LABELS - 8}" y="{y + 14}" text-anchor="end" fill="#0f172a">{escape(label)}</text>',
            f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<text x="{LABELS + length + 6:.1f}" y="{y + 14}" fill="#0f172a">{number(value)}</text>',
        ]
    file.write_text("\n".join([*lines, "</svg>"]) + "\n")
    return True
