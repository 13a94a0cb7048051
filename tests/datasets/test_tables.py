"""Small tables, by hand."""

from __future__ import annotations

from sketchless.datasets.tables import ShownAsTable


class Scores(ShownAsTable):
    def as_table(self) -> tuple[str, list[list[str]]]:
        return "Of <two>", [["", "m@A", "p"], ["a & b", "8.00", "-"], ["c", "10.00", "0.5"]]


def test_names_stand_left_and_numbers_right() -> None:
    assert repr(Scores()).splitlines() == [
        "Of <two>",
        "           m@A    p",
        "  a & b   8.00    -",
        "  c      10.00  0.5",
    ]


def test_a_notebook_gets_a_table_without_raw_characters() -> None:
    assert Scores()._repr_html_() == (
        "<table><caption>Of &lt;two&gt;</caption><thead><tr><th></th><th>m@A</th><th>p</th></tr></thead><tbody>"
        "<tr><td>a &amp; b</td><td>8.00</td><td>-</td></tr><tr><td>c</td><td>10.00</td><td>0.5</td></tr>"
        "</tbody></table>"
    )
