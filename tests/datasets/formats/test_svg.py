"""SVG sketches: path data against curves worked out point by point, and everything that can be wrong with a file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sketchless.datasets.errors import DataError, FormatError, ResourceError, SketchlessError, UnsafeFileError
from sketchless.datasets.formats.svg import MAX_BYTES, read_svg, read_svg_counted
from sketchless.datasets.formats.svg_path import TOLERANCE, chords, subpaths
from sketchless.datasets.sketch import Sketch

Read = Callable[..., Sketch]
NAMESPACE = 'xmlns="http://www.w3.org/2000/svg"'


def svg(body: str, box: str = 'viewBox="0 0 256 256"') -> str:
    return f"<svg {NAMESPACE} {box}>{body}</svg>"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(content: str | bytes, stretch: bool = False) -> Sketch:
        path = tmp_path / "drawing.svg"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_svg(path, "drawing", stretch)

    return read


def points(data: str) -> list[list[list[float]]]:
    return [np.round(chords(curves), 6).tolist() for curves in subpaths(data)]


def de_casteljau(controls: list[complex], t: float) -> complex:
    """A Bezier curve by repeated interpolation."""
    while len(controls) > 1:
        controls = [(1 - t) * a + t * b for a, b in itertools.pairwise(controls)]
    return controls[0]


def off(path: npt.NDArray[np.float64], point: complex) -> float:
    """Distance of a point from a polyline."""
    z = path[:, 0] + 1j * path[:, 1]
    a, d = z[:-1], np.diff(z)
    along = np.clip(((point - a) * d.conj()).real / np.maximum(np.abs(d) ** 2, 1e-300), 0, 1)
    return float(np.abs(a + along * d - point).min())


# Path data -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param("M1 2L3 4 5 6", [[[1, 2], [3, 4], [5, 6]]], id="absolute"),
        pytest.param("m1 2l2 2 2 2", [[[1, 2], [3, 4], [5, 6]]], id="relative"),
        pytest.param("M1 2 3 4 5 6", [[[1, 2], [3, 4], [5, 6]]], id="pairs after a move are lines"),
        pytest.param("m1 2 3 4", [[[1, 2], [4, 6]]], id="relative pairs after a move"),
        pytest.param("M1 2H5h2V9v-3", [[[1, 2], [5, 2], [7, 2], [7, 9], [7, 6]]], id="H and V"),
        pytest.param("M0 0h1 2 3", [[[0, 0], [1, 0], [3, 0], [6, 0]]], id="repeated h"),
        pytest.param("M1 1h2v2z", [[[1, 1], [3, 1], [3, 3], [1, 1]]], id="closed"),
        pytest.param("M1 1h2zl5 5", [[[1, 1], [3, 1], [1, 1]], [[1, 1], [6, 6]]], id="on from where it closed"),
        pytest.param("M1 1h2zm1 1h1", [[[1, 1], [3, 1], [1, 1]], [[2, 2], [3, 2]]], id="move from where it closed"),
        pytest.param("M1 1h1M5 5h1", [[[1, 1], [2, 1]], [[5, 5], [6, 5]]], id="two subpaths"),
        pytest.param("M3 3z", [[[3, 3], [3, 3]]], id="a dot"),
        pytest.param("M3 3zz", [[[3, 3], [3, 3]]], id="closed twice"),
        pytest.param("M3 3L3 3", [[[3, 3], [3, 3]]], id="a dot by a line"),
        pytest.param("M1 1", [], id="93-only a move"),
        pytest.param("M1 1M2 2h1M3 3", [[[2, 2], [3, 2]]], id="93-moves between"),
        pytest.param("", [], id="empty"),
        pytest.param(" \n", [], id="blank"),
        pytest.param("M10-5L.5.5", [[[10, -5], [0.5, 0.5]]], id="96-no separator"),
        pytest.param("M10,-5,L,1e1,+2E-1", [[[10, -5], [10, 0.2]]], id="96-commas and exponents"),
        pytest.param("M1\t2\n3\r4", [[[1, 2], [3, 4]]], id="96-white space"),
        pytest.param("M0 0A0 5 0 0 1 9 9", [[[0, 0], [9, 9]]], id="an arc without radius is a line"),
        pytest.param("M1 1A5 5 0 0 1 1 1h2", [[[1, 1], [3, 1]]], id="an arc to where it starts is nothing"),
    ],
)
def test_94_96_path_data(data: str, expected: list[list[list[float]]]) -> None:
    assert points(data) == expected


# Each pair draws the same; the first is spelled out.
@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("M0 0C10 20 30 40 50 0", "m0 0c10 20 30 40 50 0"),
        ("M5 5C10 20 30 40 50 0C70 -40 90 0 80 80", "M5 5C10 20 30 40 50 0S90 0 80 80"),
        ("M5 5C10 20 30 40 50 0C70 -40 90 0 80 80", "M5 5c5 15 25 35 45-5s40 0 30 80"),
        ("M5 5C5 5 30 40 50 0", "M5 5S30 40 50 0"),
        ("M5 5L9 9C9 9 30 40 50 0", "M5 5L9 9S30 40 50 0"),
        ("M0 0Q10 20 30 0Q50 -20 60 0", "M0 0Q10 20 30 0T60 0"),
        ("M0 0Q10 20 30 0Q50 -20 60 0Q70 20 90 9", "M0 0q10 20 30 0t30 0 30 9"),
        ("M5 5Q5 5 60 0", "M5 5T60 0"),
        ("M5 5C1 2 3 4 9 9Q9 9 60 0", "M5 5C1 2 3 4 9 9T60 0"),
        ("M0 0C20 40 40 40 60 0", "M0 0Q30 60 60 0"),
        ("M9 9A30 20 15 0 1 70 40", "m9 9a30 20 15 0161 31"),
        ("M9 9A30 20 15 1 0 70 40A9 9 0 0 0 80 40", "M9,9A30,20,15,1,0,70,40 9,9,0,0,0,80,40"),
        ("M9 9A1 1 0 0 1 29 9", "M9 9A10 10 0 0 1 29 9"),
        ("M9 9A-10 10 0 0 1 29 9", "M9 9A10 10 0 0 1 29 9"),
    ],
)
def test_94_two_ways_to_write_one_path(long: str, short: str) -> None:
    assert np.allclose(subpaths(long), subpaths(short))


number = st.floats(-300, 300).map(lambda value: round(value, 3))


@given(st.lists(number, min_size=8, max_size=8))
def test_chords_stay_near_a_cubic(values: list[float]) -> None:
    x0, y0, *rest = values
    path = chords(subpaths(f"M{x0} {y0}C{' '.join(map(str, rest))}")[0])
    controls = [complex(x, y) for x, y in zip(values[::2], values[1::2], strict=True)]
    assert path[0].tolist() == values[:2]
    assert path[-1].tolist() == values[-2:]
    assert max(off(path, de_casteljau(controls, t)) for t in np.linspace(0, 1, 97)) <= TOLERANCE + 1e-9
    # bend <= 1200 sqrt(2) within the box, so at most sqrt(0.75 * 1698 / 0.1) = 113 steps
    assert len(path) <= 114


@given(st.lists(number, min_size=6, max_size=6))
def test_chords_stay_near_a_quadratic(values: list[float]) -> None:
    x0, y0, *rest = values
    path = chords(subpaths(f"M{x0} {y0}Q{' '.join(map(str, rest))}")[0])
    controls = [complex(x, y) for x, y in zip(values[::2], values[1::2], strict=True)]
    assert max(off(path, de_casteljau(controls, t)) for t in np.linspace(0, 1, 97)) <= TOLERANCE + 1e-9


@settings(max_examples=60)
@given(
    radii=st.tuples(st.floats(5, 200), st.floats(5, 200)),
    angle=st.floats(-180, 180),
    start=st.floats(0, math.tau),
    sweep=st.floats(0.05, math.tau - 0.05),
    clockwise=st.booleans(),
)
def test_an_arc_follows_its_ellipse(
    radii: tuple[float, float], angle: float, start: float, sweep: float, clockwise: bool
) -> None:
    """The ellipse is walked by its angle, which the path data do not name."""

    def at(theta: float) -> complex:
        turned = complex(radii[0] * math.cos(theta), radii[1] * math.sin(theta))
        return 100 + 120j + turned * complex(math.cos(math.radians(angle)), math.sin(math.radians(angle)))

    walk = [at(start + (1 if clockwise else -1) * sweep * t) for t in np.linspace(0, 1, 73)]
    a, b = walk[0], walk[-1]
    flags = f"{int(sweep > math.pi)} {int(clockwise)}"
    if abs(sweep - math.pi) < 1e-3:  # either flag is right
        return
    data = f"M{a.real!r} {a.imag!r}A{radii[0]!r} {radii[1]!r} {angle!r} {flags} {b.real!r} {b.imag!r}"
    path = chords(subpaths(data)[0])
    # Four cubics stand off a circle by 2.7e-4 of its radius at most.
    assert max(off(path, point) for point in walk) <= TOLERANCE + 3e-4 * max(radii)
    assert 0.9 < np.abs(np.diff(path[:, 0] + 1j * path[:, 1])).sum() / np.abs(np.diff(walk)).sum() < 1.1


@pytest.mark.parametrize(
    ("data", "match"),
    [
        pytest.param("M nan 1", "'n' stands where a number should", id="95-nan"),
        pytest.param("M1 2L inf 3", "'inf' stands where a number should", id="95-inf"),
        pytest.param("M1 2L 1e999 3", "'1e999' is beyond any number", id="95-1e999"),
        pytest.param("M1 2L 3", "'L' with 1 numbers; it takes 2", id="a-number-too-few"),
        pytest.param("M1 2C 1 2 3 4 5 6 7", "'C' with 7 numbers; it takes 6", id="a-number-too-many"),
        pytest.param("M1 2L", "'L' with 0 numbers", id="no-number"),
        pytest.param("M1 2h1z5", "'z' with 1 numbers", id="a-number-too-many-for-z"),
        pytest.param("L1 2", "starts with 'L'", id="no-move"),
        pytest.param("1 2", "unknown path command '1 2'", id="no-command"),
        pytest.param("X1 2", "unknown path command 'X1 2'", id="unknown-command"),
        pytest.param("M1 2a1 1 0 2 0 3 3", "'2 0 3 3' in an arc", id="arc-flag-2"),
        pytest.param("M1 2a1 1 0 1 0 3", "'a' with 6 numbers; it takes 7", id="half-an-arc"),
    ],
)
def test_95_bad_path_data(data: str, match: str, read: Read, refuses: Any) -> None:
    with refuses(FormatError, rf"drawing\.svg: .*{match}"):
        read(svg(f'<path d="{data}"/>'))


def test_curves_without_end_are_refused(read: Read, refuses: Any) -> None:
    wild = "C9e8 9e8 -9e8 -9e8 0 0" * 2000
    with refuses(ResourceError, "at most 1,000,000"):
        read(svg(f'<path d="M0 0{wild}"/>', 'viewBox="0 0 1 1"').replace("9e8", "1e6"))


def test_hostile_path_data_takes_no_time() -> None:
    """What would send a backtracking expression astray: long runs that end wrong."""
    for run in ("1" * 50_000, " " * 50_000, "," * 50_000, "1 " * 25_000, "-" * 50_000):
        with pytest.raises(FormatError):
            subpaths(f"M0 0a{run}x")
        with pytest.raises(FormatError):
            subpaths(f"M0 0L{run}x")


# The document ----------------------------------------------------------------------------------------------


def test_strokes_stand_in_document_order(read: Read) -> None:
    body = """
      <line x1="1" y1="2" x2="3" y2="4"/>
      <g><polyline points="5,6 7,8 9,10"/><g><path d="M20 20h5M30 30h5"/></g></g>
      <polygon points="40 40 50 40 50 50"/>
      <line x2="7px" y1="1"/>
    """
    sketch = read(svg(body))
    assert sketch.id == "drawing"
    assert [stroke.tolist() for stroke in sketch.strokes()] == [
        [[1, 2], [3, 4]],
        [[5, 6], [7, 8], [9, 10]],
        [[20, 20], [25, 20]],
        [[30, 30], [35, 30]],
        [[40, 40], [50, 40], [50, 50], [40, 40]],
        [[0, 1], [7, 0]],
    ]


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ("", [[10, 20], [30, 20]]),
        ("translate(5)", [[15, 20], [35, 20]]),
        ("translate(5,-5)", [[15, 15], [35, 15]]),
        ("scale(2)", [[20, 40], [60, 40]]),
        ("scale(2 3)", [[20, 60], [60, 60]]),
        ("translate(100,0) rotate(90)", [[80, 10], [80, 30]]),
        ("rotate(90 10 20)", [[10, 20], [10, 40]]),
        ("rotate(180, 20, 20)", [[30, 20], [10, 20]]),
        ("matrix(0 1 1 0 7 9)", [[27, 19], [27, 39]]),
        ("skewX(45)", [[30, 20], [50, 20]]),
        ("skewY(45)", [[10, 30], [30, 50]]),
        # the one named first is applied last: (10, 20) -> (20, 40) -> (25, 46)
        ("translate(5 6),scale(2)", [[25, 46], [65, 46]]),
        (" translate( 5 , 6 )\n scale(2) ", [[25, 46], [65, 46]]),
    ],
)
def test_97_transforms(transform: str, expected: list[list[float]], read: Read) -> None:
    one = read(svg(f'<path transform="{transform}" d="M10 20H30"/>'))
    assert one.points.tolist() == pytest.approx(np.array(expected), abs=1e-4)
    around = read(svg(f'<g transform="{transform}"><g><path d="M10 20H30"/></g></g>'))
    assert around.points.tolist() == one.points.tolist()


def test_97_transforms_of_groups_compose_and_end_with_them(read: Read) -> None:
    body = '<g transform="translate(100,0)"><g transform="scale(2)"><path d="M1 2h3"/></g></g><path d="M1 2h3"/>'
    assert read(svg(body)).points.tolist() == [[102, 4], [108, 4], [1, 2], [4, 2]]


@pytest.mark.parametrize(
    "transform", ["scale", "scale()", "scale(1 2 3)", "grow(2)", "rotate(1 2)", "matrix(1 2)", "3"]
)
def test_97_bad_transforms(transform: str, read: Read, refuses: Any) -> None:
    with refuses(FormatError, r"drawing\.svg: .*transform"):
        read(svg(f'<path transform="{transform}" d="M10 20H30"/>'))


def test_97_a_transform_beyond_all_bounds(read: Read, refuses: Any) -> None:
    with refuses(FormatError, "beyond any canvas"):
        read(svg('<path transform="scale(1e300) scale(1e300)" d="M10 20H30"/>'))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param('viewBox="0 0 512 512"', [[5, 10], [15, 10]], id="halved"),
        pytest.param('viewBox="10,20,256,256"', [[0, 0], [20, 0]], id="moved"),
        # 512 x 256: scale 1/2, and 64 px above
        pytest.param('viewBox="0 0 512 256"', [[5, 74], [15, 74]], id="aspect kept"),
        pytest.param('width="512" height="256"', [[5, 74], [15, 74]], id="98-width and height"),
        pytest.param('width="512px" height="256px"', [[5, 74], [15, 74]], id="98-pixels"),
        pytest.param('viewBox="0 0 512 256" width="3" height="3"', [[5, 74], [15, 74]], id="view box first"),
        # the drawing, 20 wide, fills 240
        pytest.param("", [[8, 128], [248, 128]], id="98-missing"),
        pytest.param('width="100%" height="100%"', [[8, 128], [248, 128]], id="98-percent"),
        pytest.param('width="512"', [[8, 128], [248, 128]], id="98-no height"),
    ],
)
def test_98_view_box(box: str, expected: list[list[float]], read: Read) -> None:
    assert read(svg('<path d="M10 20H30"/>', box)).points.tolist() == expected


def test_stretched_to_the_canvas(read: Read) -> None:
    assert read(svg('<path d="M10 20H30"/>', 'viewBox="0 0 512 128"'), stretch=True).points.tolist() == [
        [5, 40],
        [15, 40],
    ]


@pytest.mark.parametrize(
    "box",
    [
        'viewBox="0 0 0 256"',
        'viewBox="0 0 256 0"',
        'viewBox="0 0 -5 256"',
        'viewBox="0 0 256"',
        'viewBox=""',
        'width="0" height="5"',
        'width="5" height="-5"',
    ],
)
def test_98_no_area(box: str, read: Read, refuses: Any) -> None:
    with refuses(FormatError, r"drawing\.svg: .*no area"):
        read(svg('<path d="M10 20H30"/>', box))


def test_a_dot_alone_is_centred_where_there_is_no_box(read: Read) -> None:
    assert read(svg('<path d="M1e4 3z"/>', "")).points.tolist() == [[128, 128], [128, 128]]


def test_all_off_the_canvas(read: Read, refuses: Any) -> None:
    with refuses(FormatError, "outside the 256 px canvas"):
        read(svg('<path d="M300 20H330"/>'))


@pytest.mark.parametrize("body", ["", "<g/>", "<path/>", '<path d=""/>', '<path d="M1 1"/>', '<polyline points=""/>'])
def test_92_93_nothing_drawn(body: str, read: Read, refuses: Any) -> None:
    with refuses(FormatError, r"drawing\.svg: draws no line"):
        read(svg(body))


BOMB = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))


@pytest.mark.parametrize(
    ("doctype", "match"),
    [
        pytest.param(f'[<!ENTITY a0 "lol">{BOMB}]', "entity 'a0'", id="84-billion-laughs"),
        pytest.param(f'[<!ENTITY long "{"A" * 100_000}">]', "entity 'long'", id="85-quadratic"),
        pytest.param('[<!ENTITY x SYSTEM "file:///etc/passwd">]', "entity 'x'", id="86-external-entity"),
        pytest.param('SYSTEM "http://evil.example/x.dtd"', "http://evil.example/x.dtd", id="87-external-dtd"),
        pytest.param('PUBLIC "-//x" "https://evil.example/www.w3.org/"', "evil.example", id="87-public-dtd"),
        pytest.param('SYSTEM "file:///etc/passwd"', "file:///etc/passwd", id="87-file"),
        pytest.param('[<!ENTITY % p SYSTEM "http://evil.example/p"> %p;]', "entity 'p'", id="88-parameter-entity"),
        pytest.param('[<!ENTITY % p "<!ENTITY q 1>"> %p;]', "entity 'p'", id="88-inner-parameter-entity"),
        pytest.param(
            'PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" '
            '[<!ENTITY ns_svg "http://www.w3.org/2000/svg">]',
            "entity 'ns_svg', as Illustrator does",
            id="90-illustrator-entities",
        ),
    ],
)
def test_84_to_90_entities(doctype: str, match: str, read: Read, refuses: Any) -> None:
    with refuses(UnsafeFileError, rf"drawing\.svg: .*{match}"):
        read(f"<!DOCTYPE svg {doctype}>" + svg('<path d="M1 2h3"/>&long;&a9;&x;'))


@pytest.mark.parametrize(
    "doctype",
    [
        'PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd"',
        'PUBLIC "-//W3C//DTD SVG 20010904//EN" "https://www.w3.org/TR/2001/REC-SVG-20010904/DTD/svg10.dtd" []',
        "",
    ],
)
def test_89_a_document_type_without_entities_loads(doctype: str, read: Read) -> None:
    head = '<?xml version="1.0" encoding="utf-8"?>\n<!-- Generator: Adobe Illustrator -->\n'
    assert read(f"{head}<!DOCTYPE svg {doctype}>\n" + svg('<path d="M1 2h3"/>')).n_strokes == 1


def test_91_a_hundred_thousand_nested_groups(read: Read, refuses: Any) -> None:
    depth = 100_000
    with refuses(UnsafeFileError, r"drawing\.svg: elements nested over 256 deep"):
        read(svg("<g>" * depth + '<path d="M1 2h3"/>' + "</g>" * depth))
    assert read(svg("<g>" * 250 + '<path d="M1 2h3"/>' + "</g>" * 250)).n_strokes == 1


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(svg('<path d="M1 2h3"/>').encode("utf-8-sig"), id="99-bom"),
        pytest.param(
            ('<?xml version="1.0" encoding="utf-16"?>' + svg('<path d="M1 2h3"/>')).encode("utf-16"), id="99-utf-16"
        ),
        pytest.param(svg('<path d="M1 2h3"/>').replace(NAMESPACE, ""), id="99-no-namespace"),
        pytest.param(svg('<path d="M1 2h3"/>').replace(NAMESPACE, 'xmlns="urn:other"'), id="99-unknown-namespace"),
        pytest.param(
            '<svg:svg xmlns:svg="http://www.w3.org/2000/svg" viewBox="0 0 256 256"><svg:path d="M1 2h3"/></svg:svg>',
            id="99-prefix",
        ),
        pytest.param(svg('<ink:path d="M9 9h9" xmlns:ink="urn:ink"/><path d="M1 2h3"/>'), id="99-foreign-path"),
        pytest.param(svg('<script>alert(1)</script><path d="M1 2h3" onclick="x()"/>'), id="99-script"),
        pytest.param(
            svg('<image href="http://evil.example/x.png"/><use href="file:///etc/passwd#x"/><path d="M1 2h3"/>'),
            id="99-image-never-fetched",
        ),
        pytest.param(svg('<defs><path d="M9 9h9"/><g><path d="M9 9h9"/></g></defs><path d="M1 2h3"/>'), id="99-defs"),
        pytest.param(svg('<g display="none"><path d="M9 9h9"/></g><path d="M1 2h3"/>'), id="hidden"),
        pytest.param(svg('<path d="M1 2h3"/>').removesuffix("</svg>"), id="no-end-tag"),
        pytest.param(svg('<path d="M1 2h3"/>').removesuffix("</svg>") + "\n", id="no-end-tag-but-a-line-break"),
    ],
)
def test_99_what_loads_all_the_same(content: str | bytes, read: Read) -> None:
    assert read(content).points.tolist() == [[1, 2], [4, 2]]


# What can be seen ------------------------------------------------------------------------------------------

SEEN = '<path d="M10 20h90"/>'


def strokes(sketch: Sketch) -> list[list[list[float]]]:
    return [np.round(stroke, 3).tolist() for stroke in sketch.strokes()]


@pytest.mark.parametrize(
    "body",
    [
        '<g style="display:none"><path d="M0 0L99 99"/></g>',
        '<g display=" none "><path d="M0 0L99 99"/></g>',
        '<g style="display : none ! important" display="inline"><path d="M0 0L99 99"/></g>',
        '<g display="none"><path style="display:inline" d="M0 0L99 99"/></g>',
        '<style>.h{display:none}</style><path class="a h" d="M0 0L99 99"/>',
        '<path class="h" d="M0 0h9"/><style type="text/css"><![CDATA[ /* late */ .x, path.h {display:none} ]]></style>',
        '<style>#a{visibility:hidden}</style><g id="a"><path d="M0 0L99 99"/></g>',
        '<style>g .h{display:none}</style><g><g><path class="h" d="M0 0L99 99"/></g></g>',
        '<style>path.h{display:none} path{display:inline}</style><path class="h" d="M0 0L99 99"/>',
        '<style>.h{display:none !important}</style><path class="h" style="display:inline" d="M0 0L99 99"/>',
        '<style>*{}</style><path visibility="hidden" d="M0 0L99 99"/>',
        '<path visibility="collapse" d="M0 0L99 99"/>',
        '<path style="fill:none;stroke:none" d="M0 0L99 99"/>',
        '<path fill="none" d="M0 0L99 99"/>',
        '<g fill="none"><path stroke="transparent" d="M0 0L99 99"/></g>',
        '<path fill="none" stroke="rgba(0, 0, 0, 0)" d="M0 0L99 99"/>',
        '<path fill="none" stroke="black" stroke-width="0" d="M0 0L99 99"/>',
        '<path fill="none" stroke="black" stroke-opacity="0%" d="M0 0L99 99"/>',
        '<g opacity="0"><path d="M0 0L99 99"/></g>',
        '<defs><path id="a" d="M0 0L99 99"/></defs>',
        '<symbol id="a"><path d="M0 0L99 99"/></symbol>',
        '<x:path xmlns:x="urn:x" d="M0 0L99 99"/>',
        '<x:g xmlns:x="urn:x"><path d="M0 0L99 99"/></x:g>',
        '<circle r="0"/><rect width="0" height="5"/><ellipse rx="4" ry="0"/>',
    ],
)
def test_hidden_ink_is_not_drawn(body: str, read: Read) -> None:
    assert strokes(read(svg(body + SEEN))) == [[[10, 20], [100, 20]]]


@pytest.mark.parametrize(
    "path",
    [
        '<g visibility="hidden"><path visibility="visible" d="M10 20h90"/></g>',
        '<g fill="none" stroke="#000"><path d="M10 20h90"/></g>',
        '<g stroke="none"><path style="stroke:black" d="M10 20h90"/></g>',
        '<style>.h{display:none}</style><path class="h" style="display:inline" d="M10 20h90"/>',
        '<style>.h{display:none} .h{display:inline}</style><path class="h" d="M10 20h90"/>',
        '<style>path{display:none} #a{display:inline}</style><path id="a" d="M10 20h90"/>',
        '<style>g g .h{display:none}</style><g><path class="h" d="M10 20h90"/></g>',
        '<g fill="red"><path fill="inherit" stroke="none" d="M10 20h90"/></g>',
        '<path fill="url(#gradient)" d="M10 20h90"/>',
        '<path fill="none" stroke="currentColor" d="M10 20h90"/>',
        '<path style="stroke:var(--x);fill:none" d="M10 20h90"/>',
        '<switch><foreignObject requiredExtensions="urn:ai"/><g><path d="M10 20h90"/></g><path d="M0 0h1"/></switch>',
        '<switch><path systemLanguage="de" d="M0 0h1"/><path systemLanguage="fr, en-GB" d="M10 20h90"/></switch>',
        '<switch><path systemLanguage="english" d="M0 0h1"/><path d="M10 20h90"/><path d="M0 0h1"/></switch>',
        '<switch><path systemLanguage="" d="M0 0h1"/><path systemLanguage="EN" d="M10 20h90"/></switch>',
        '<switch><path requiredFeatures="http://www.w3.org/TR/SVG11/feature#Shape" d="M10 20h90"/></switch>',
        '<switch><g requiredExtensions="urn:x"><path d="M0 0h1"/></g><path d="M10 20h90"/></switch>',
    ],
)
def test_what_is_seen_is_drawn(path: str, read: Read) -> None:
    assert strokes(read(svg(path))) == [[[10, 20], [100, 20]]]


@pytest.mark.parametrize(
    ("body", "left_out"),
    [
        ("<text>Tree</text><text>s</text>", {"<text>": 2}),
        ('<image href="http://evil.example/x.png"/>', {"<image>": 1}),
        ("<foreignObject/>", {"<foreignObject>": 1}),
        ('<use href="file:///etc/passwd#x"/><use href="#none"/><use/>', {"<use> of what is not there": 3}),
        ('<rect width="256" height="256" fill="#FFFFFF"/>', {"white shapes": 1}),
        ('<path fill="none" stroke="white" d="M0 0L99 99"/>', {"white shapes": 1}),
        (
            "<style>@import url(http://evil.example/x.css); @media print{path{display:none}}</style>",
            {"CSS @import": 1, "CSS @media": 1},
        ),
        ("<style>g > path{display:none}</style>", {"CSS selectors": 1}),
        ("<style>path{d:none}</style>", {"CSS d": 1}),
        ("<metadata><x:y xmlns:x='u'/></metadata><title>t</title>", {}),
        (
            '<g systemLanguage="de"><path d="M0 0h9"/></g><switch><path systemLanguage="de" d="M0 0h9"/></switch>',
            {"parts for other languages or viewers": 2},
        ),
    ],
)
def test_what_is_left_out_is_told(body: str, left_out: dict[str, int], read: Read, tmp_path: Path, caplog: Any) -> None:
    assert strokes(read(svg(body + SEEN))) == [[[10, 20], [100, 20]]]
    assert read_svg_counted(tmp_path / "drawing.svg")[1] == left_out
    assert bool(caplog.messages) == bool(left_out)
    assert all(f"{count} {what}" in caplog.messages[0] for what, count in left_out.items())


def test_only_what_is_left_out(read: Read, refuses: Any) -> None:
    with refuses(FormatError, r"draws no line that can be seen \(<text> left out\)"):
        read(svg("<text>Tree</text>"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            '<rect x="10" y="20" width="30" height="40"/>',
            [[10, 20], [40, 20], [40, 60], [10, 60], [10, 20]],
            id="rect",
        ),
        pytest.param('<line x1="10%" y1="50%" x2="1in" y2="0"/>', [[25.6, 128], [96, 0]], id="line"),
        pytest.param('<polygon points="40 40 50 40 50 50"/>', [[40, 40], [50, 40], [50, 50], [40, 40]], id="polygon"),
    ],
)
def test_straight_shapes(body: str, expected: list[list[float]], read: Read) -> None:
    assert strokes(read(svg(body))) == [pytest.approx(np.array(expected))]


@pytest.mark.parametrize(
    ("body", "centre", "radii"),
    [
        ('<circle cx="100" cy="120" r="50"/>', (100, 120), (50, 50)),
        ('<circle cx="50%" cy="50%" r="25%"/>', (128, 128), (64, 64)),
        ('<ellipse cx="100" cy="120" rx="50" ry="20"/>', (100, 120), (50, 20)),
        ('<ellipse cx="100" cy="120" rx="50"/>', (100, 120), (50, 50)),
        ('<rect x="50" y="100" width="100" height="40" rx="50" ry="20"/>', (100, 120), (50, 20)),
    ],
)
def test_round_shapes(body: str, centre: tuple[int, int], radii: tuple[int, int], read: Read) -> None:
    (stroke,) = read(svg(body)).strokes()
    on_circle = (stroke - np.array(centre)) / np.array(radii)
    assert np.abs(np.hypot(*on_circle.T) - 1).max() < 0.01
    assert np.ptp(on_circle, axis=0) == pytest.approx([2, 2], abs=0.02), "all the way round"
    assert stroke[0].tolist() == pytest.approx(stroke[-1].tolist(), abs=1e-3)


@pytest.mark.parametrize("body", ['<circle r="-1"/>', '<rect width="-1" height="2"/>', '<ellipse rx="1" ry="-2"/>'])
def test_shapes_that_cannot_be(body: str, read: Read, refuses: Any) -> None:
    with refuses(FormatError, r"radius|side"):
        read(svg(body))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('<defs><path id="a" d="M1 2h3"/></defs><use href="#a"/>', [[[1, 2], [4, 2]]]),
        ('<path id="a" visibility="hidden" d="M1 2h3"/><use xlink:href="#a" y="1in"/><path d="M1 98h3"/>',
         [[[1, 98], [4, 98]]]),
        ('<defs><path id="a" d="M1 2h3"/></defs><use xlink:href="#a" x="5" y="1in"/>', [[[6, 98], [9, 98]]]),
        ('<path id="a" d="M1 2h3"/><use href="#a" transform="scale(2)" x="1"/>', [[[1, 2], [4, 2]], [[4, 4], [10, 4]]]),
        ('<g id="a"><path d="M1 2h3"/></g><use href="#a" y="9"/>', [[[1, 2], [4, 2]], [[1, 11], [4, 11]]]),
        # a view box of 10 on 20 pixels
        ('<symbol id="a" viewBox="0 0 10 10"><path d="M1 2h3"/></symbol><use href="#a" width="20" height="20"/>',
         [[[2, 4], [8, 4]]]),
        ('<symbol id="a"><path class="h" d="M9 9h9"/><path d="M1 2h3"/></symbol><style>.h{display:none}</style>'
         '<use href="#a"/>', [[[1, 2], [4, 2]]]),
        ('<defs><path id="a" fill="inherit" d="M9 9h9"/></defs><use href="#a" fill="none"/><path d="M1 2h3"/>',
         [[[1, 2], [4, 2]]]),
    ],
)  # fmt: skip
def test_use(body: str, expected: list[list[list[float]]], read: Read) -> None:
    drawn = strokes(read(svg(body)))
    assert len(drawn) == len(expected)
    assert np.array(drawn) == pytest.approx(np.array(expected), abs=1e-3)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('<g id="a"><path d="M1 2h3"/><use href="#a"/></g>', id="in-itself"),
        pytest.param('<g id="a"><use href="#b"/></g><g id="b"><use href="#a"/><use href="#a"/></g>', id="in-a-circle"),
        pytest.param(
            '<g id="a0"/>' + "".join(f'<g id="a{i}">{f"""<use href="#a{i - 1}"/>""" * 10}</g>' for i in range(1, 12)),
            id="ten-times-ten-times-ten",
        ),
    ],
)
def test_84_use_without_end(body: str, read: Read, refuses: Any) -> None:
    with refuses(UnsafeFileError, r"drawing\.svg: <use> upon <use>"):
        read(svg(body))


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ('x="10" y="20" width="100" height="100" viewBox="0 0 10 10"', [[10, 70], [110, 70]]),
        # 10 x 5 on 100 x 100: scale 10, 25 above
        ('width="100" height="100" viewBox="0 0 10 5"', [[0, 75], [100, 75]]),
        ('width="100" height="100" viewBox="0 0 10 5" preserveAspectRatio="xMinYMin"', [[0, 50], [100, 50]]),
        ('width="100" height="100" viewBox="0 0 10 5" preserveAspectRatio="xMidYMax meet"', [[0, 100], [100, 100]]),
        ('width="100" height="100" viewBox="0 0 10 5" preserveAspectRatio="none"', [[0, 100], [100, 100]]),
        # scale 20, half of the spare 100 beyond the left side
        ('width="100" height="100" viewBox="0 0 10 5" preserveAspectRatio="xMidYMid slice"', [[-50, 100], [150, 100]]),
        ('x="1in"', [[96, 5], [106, 5]]),
    ],
)
def test_nested_viewports(inner: str, expected: list[list[float]], read: Read) -> None:
    assert strokes(read(svg(f'<svg {inner}><path d="M0 5h10"/></svg>'))) == [expected]


@pytest.mark.parametrize(
    ("unit", "pixels"),
    [
        ("", 1),
        ("px", 1),
        ("in", 96),
        ("cm", 96 / 2.54),
        ("mm", 96 / 25.4),
        ("Q", 96 / 101.6),
        ("pt", 4 / 3),
        ("pc", 16),
    ],
)
def test_units_of_width_and_height_without_a_view_box(unit: str, pixels: float, read: Read) -> None:
    """From a quarter to three quarters of the canvas, whatever the unit."""
    side = 100 * pixels
    sketch = read(
        svg(
            f'<path d="M{side / 4} {side / 4}L{3 * side / 4} {3 * side / 4}"/>', f'width="100{unit}" height="100{unit}"'
        )
    )
    assert strokes(sketch) == [pytest.approx(np.array([[64, 64], [192, 192]]), abs=1e-3)]


def test_units_of_a_line(read: Read) -> None:
    sketch = read(svg('<line x1="10mm" y1="1em" x2="50%" y2="10pt"/>'))
    assert strokes(sketch) == [pytest.approx(np.array([[37.795, 16], [128, 13.333]]), abs=1e-3)]


def test_a_percentage_of_nothing(read: Read, refuses: Any) -> None:
    with refuses(FormatError, "'50%' of a drawing without a size; give it a viewBox"):
        read(svg('<line x2="50%"/>', ""))


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ('transform="rotate(90deg)"', [[-20, 10], [-20, 30]]),
        ('transform="rotate(0.25turn)"', [[-20, 10], [-20, 30]]),
        ('transform="rotate(100grad)"', [[-20, 10], [-20, 30]]),
        ('transform="rotate(1.5707963rad)"', [[-20, 10], [-20, 30]]),
        ('transform="rotate(90deg, 10px, 20px)"', [[10, 20], [10, 40]]),
        ('transform="translate(1in, 50%)"', [[106, 148], [126, 148]]),
        ('style="transform: translate(10px, 5px)"', [[20, 25], [40, 25]]),
        ('style="transform: translateY(5px) scaleX(200%)"', [[20, 25], [60, 25]]),
        ('style="transform: none" transform="scale(2)"', [[10, 20], [30, 20]]),
        ('class="turned"', [[10, 20], [10, 40]]),
        ('transform="scale(2)" transform-origin="10 20"', [[10, 20], [50, 20]]),
        ('transform="scale(2)" transform-origin="center"', [[-108, -88], [-68, -88]]),
        ('transform="scale(2)" transform-origin="top right"', [[-236, 40], [-196, 40]]),
    ],
)
def test_97_transforms_of_css(attributes: str, expected: list[list[float]], read: Read) -> None:
    style = "<style>.turned{transform:rotate(90deg);transform-origin:10px 20px}</style>"
    sketch = read(svg(f'{style}<path {attributes} d="M10 20H30"/><path d="M1 1h1"/>'))
    assert strokes(sketch)[0] == pytest.approx(np.array(expected), abs=1e-3)


@pytest.mark.parametrize("transform", ["rotate3d(0,0,1,45deg)", "translate(5 kg)", "rotate(5px)", "translateZ(3px)"])
def test_97_transforms_out_of_the_plane(transform: str, read: Read, refuses: Any) -> None:
    with refuses(FormatError, r"drawing\.svg: .*(transform|length|'kg' stands)"):
        read(svg(f'<path style="transform:{transform}" d="M10 20H30"/>'))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param('<ns0:svg xmlns:ns0="http://www.w3.org/2000/svg" viewBox="0 0 256 256"><ns0:path d="M1 2h3"/>'
                     "</ns0:svg>", id="ns0"),
        pytest.param(svg('<s:path xmlns:s="http://www.w3.org/2000/svg" d="M1 2h3"/>'), id="both"),
        pytest.param('<svg:svg viewBox="0 0 256 256"><svg:path d="M1 2h3"/></svg:svg>', id="undeclared"),
        pytest.param(svg('<x:path d="M9 9h9"/><path d="M1 2h3"/>'), id="undeclared-foreign"),
        pytest.param(svg('<g xmlns="urn:other"><path d="M9 9h9"/></g><path d="M1 2h3"/>'), id="foreign-by-default"),
    ],
)  # fmt: skip
def test_namespaces(content: str, read: Read) -> None:
    assert read(content).points.tolist() == [[1, 2], [4, 2]]


DOT = "<path d='M0 0h1'/>"


@pytest.mark.parametrize(
    ("body", "match"),
    [
        pytest.param('<path d="M0 0' + "l1 1" * 150_000 + '"/>', "100,000 curves", id="curves-of-one-path"),
        pytest.param('<path d="M0 0l' + "1 1 " * 150_000 + '"/>', "100,000 curves", id="curves-of-one-command"),
        pytest.param('<path d="' + "M0 0h1" * 30_000 + '"/>', "10,000 strokes", id="subpaths"),
        pytest.param(DOT * 15_000, "10,000 strokes", id="paths"),
        pytest.param("<g/>" * 100_000, "50,000 elements", id="elements"),
        pytest.param("<style>" + "path{fill:red}" * 7_000 + "</style>" + DOT * 9_000, "style rules", id="rules"),
        pytest.param(f"<style>{'* ' * 300}{{fill:red}}</style>" + "<g>" * 250 + DOT * 9_000 + "</g>" * 250,
                     "style rules", id="selector-of-many-steps"),
        pytest.param("<style>" + "path{fill:red}" * 10_000 + "</style>", "100,000 characters", id="sheet"),
        pytest.param("<path style='" + "fill:red;" * 150_000 + "' d='M0 0h1'/>", "1,000,000 characters", id="inline"),
        pytest.param("<polyline points='" + "1 2 " * 150_000 + "'/>", "100,000 curves", id="corners"),
    ],
)  # fmt: skip
def test_a_file_that_costs_too_much_is_one_line(body: str, match: str, read: Read, refuses: Any) -> None:
    with refuses(ResourceError, rf"drawing\.svg: .*{match}"):
        read(svg(body))


def test_brackets_without_end_in_a_style_sheet(read: Read) -> None:
    assert read(svg("<style>" + "{[(" * 30_000 + "</style>" + SEEN)).n_strokes == 1


@pytest.mark.parametrize(
    ("content", "match"),
    [
        pytest.param("", "no element found", id="empty"),
        pytest.param("<html><body>not found</body></html>", "holds <html>", id="html"),
        pytest.param("not xml", "no readable XML", id="text"),
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0\0", "no readable XML", id="png"),
        pytest.param(svg('<g><path d="M1 2h3"/>').removesuffix("</svg>"), "no readable XML", id="cut-in-a-group"),
        pytest.param(svg('<path d="M1 2h3"/>')[:-14], "no readable XML", id="cut-in-a-path"),
        pytest.param(svg('<path d="M1 2h3"/>') + "<svg/>", "no readable XML", id="two-roots"),
        pytest.param(svg("&foo;"), "no readable XML", id="undefined-entity"),
        pytest.param('<?xml version="1.0" encoding="klingon"?>' + svg(""), "no readable XML", id="unknown-encoding"),
        pytest.param(svg('<line x1="a"/>'), "'a' stands where", id="line"),
        pytest.param(svg('<line x1="1 2"/>'), "'1 2' is not one number", id="line-of-two-numbers"),
        pytest.param(svg('<polyline points="1 2 3"/>'), "no pairs", id="odd-points"),
        pytest.param(svg('<path d="M1 2h3"/>', 'viewBox="0 0 1e-9 1e-9"'), "beyond|limit|outside", id="98-tiny-box"),
    ],
)
def test_what_is_no_drawing(content: str | bytes, match: str, read: Read, refuses: Any) -> None:
    with refuses(FormatError, match):
        read(content)


def test_a_file_beyond_the_limit(read: Read, refuses: Any) -> None:
    with refuses(UnsafeFileError, "over 4 MB"):
        read(svg("<!--" + "x" * MAX_BYTES + "-->"))


def test_no_such_file(tmp_path: Path, refuses: Any) -> None:
    for path in (tmp_path / "none.svg", tmp_path):
        with refuses(DataError, "cannot be read"):
            read_svg(path)


def test_damage_anywhere_is_a_typed_error_or_loads(tmp_path: Path) -> None:
    whole = svg(
        '<g transform="scale(2) translate(1,2)"><path d="M1 2c1 2 3 4 5 6s7 8 9 10a5 6 7 0 1 8 9z"/></g>'
    ).encode()
    rng = np.random.default_rng(0)
    path, loaded = tmp_path / "x.svg", 0
    for trial in range(1000):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole), size=rng.integers(0, 3)):
            damaged[place] = rng.choice(list(b'0159.-+eE,MmzA<>"&() \0\xff'))
        path.write_bytes(damaged[: rng.integers(len(whole))] if trial % 2 else damaged)
        try:
            loaded += bool(read_svg(path).n_strokes)
        except SketchlessError as error:
            message = str(error)
            assert "\n" not in message and "x.svg" in message  # noqa: PT018
    assert 50 < loaded < 950
