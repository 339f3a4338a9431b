"""The table as text and Markdown, and the chart."""
import html

BEGIN, END = "<!-- table: written by benches/peers -->", "<!-- end of table -->"


def cells(row):
    sign = "≥" if row.at_least else "≤"
    reached = f"{row.ratio:.1f}{row.unit}" if row.unit == " ms" else f"{row.ratio:.2f}{row.unit}"
    target = f"{sign} {row.bound:.0f}{row.unit}" if row.unit == " ms" else f"{sign} {row.bound:.2f}{row.unit}"
    return [row.title, row.ours, row.against, row.theirs, reached, target, "met" if row.met else "missed"]


HEADINGS = ["work", "Larder", "beside", "theirs", "reached", "to reach", ""]


def text(rows, run):
    table = [HEADINGS, *map(cells, rows)]
    widths = [max(len(line[index]) for line in table) for index in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in table]
    met = sum(row.met for row in rows)
    return "\n".join([*lines, "", f"{met} of {len(rows)} met. {circumstances(run)}"])


def markdown(rows, run):
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    for row in rows:
        line = cells(row)
        if not row.met:
            line[-1] = "**missed**"
        lines.append("| " + " | ".join(line) + " |")
    met = sum(row.met for row in rows)
    versions = "; ".join(f"{name}: {version}" for name, version in run["versions"].items())
    return "\n".join([
        *lines, "", f"{met} of {len(rows)} are met. {circumstances(run)}", "", f"Versions: {versions}.",
    ])


def circumstances(run):
    machine = run["machine"]
    text = (f"{machine['date']}, {run['commit']}, {machine['processor']}, {machine['cores']} cores, "
            f"{machine['memory_gib']} GiB, Linux {machine['kernel']}; median of {run['rounds']} rounds of "
            f"{run['seconds']} s each.")
    return (f"{text} The load average at the end was {machine['load']:.1f}, the measurement's own load included; "
            "on a machine that does something else besides, believe only the CPU figures.")


def into_page(page, table):
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or BEGIN in rest:
        raise SystemExit("docs/performance.md has no place for the table")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def chart(rows):
    """A bar for each row: how far towards its bound it came. Left of the line is met."""
    width, left, row_height, top = 860, 400, 24, 46
    scale = 220  # Pixels for a ratio of exactly the bound.
    height = top + row_height * len(rows) + 16
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" '
        'role="img" aria-label="Each line of the table as a share of its bound">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{left}" y="18" fill="#333">cost as a share of what is allowed; left of the line is met</text>',
    ]
    for index, row in enumerate(rows):
        share = row.bound / row.ratio if row.at_least else row.ratio / row.bound
        y, length = top + index * row_height, min(share * scale, width - left - 60)
        label = row.title + (f" / {row.against}" if row.against else "")
        out.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end" fill="#333">{html.escape(label)}</text>')
        out.append(f'<rect x="{left}" y="{y + 2}" width="{length:.0f}" height="15" fill="{"#2f855a" if row.met else "#c05621"}"/>')
        out.append(f'<text x="{left + length + 6:.0f}" y="{y + 13}" fill="#333">{html.escape(cells(row)[4])}</text>')
    out.append(f'<line x1="{left + scale}" y1="{top - 12}" x2="{left + scale}" y2="{height - 10}" stroke="#333" stroke-dasharray="4 3"/>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
