"""Small tables: how a result shows itself, as text and in a notebook."""

from __future__ import annotations

from html import escape


class ShownAsTable:
    """A result whose `repr` is a table of a few lines, and one of HTML in a notebook. Subclasses say `as_table`."""

    def as_table(self) -> tuple[str, list[list[str]]]:
        """A title, and rows of cells; the first row is the header. A column without a heading holds names."""
        raise NotImplementedError

    def __repr__(self) -> str:
        title, rows = self.as_table()
        columns = []
        for column in zip(*rows, strict=True):
            width = max(map(len, column))
            columns.append([f"{cell:>{width}}" if column[0] else f"{cell:<{width}}" for cell in column])
        return "\n".join([title, *("  " + "  ".join(row).rstrip() for row in zip(*columns, strict=True))])

    def _repr_html_(self) -> str:
        title, rows = self.as_table()
        head, *body = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
        lines = [f"<caption>{escape(title)}</caption>", f"<thead><tr>{head.replace('td>', 'th>')}</tr></thead>"]
        return f"<table>{''.join(lines)}<tbody>{''.join(f'<tr>{row}</tr>' for row in body)}</tbody></table>"
