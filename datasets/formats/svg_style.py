"""What of an SVG can be seen: presentation attributes, style sheets and `style`, in the order that CSS gives them.

`tinycss2` takes the sheets apart. Selectors are matched here: those of a library backtrack, so that one short
selector of many steps takes for ever in deep groups.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element

import tinycss2
import tinycss2.color4

from ..errors import ResourceError

MAX_TRIALS = 300_000  # of a selector on an element
MAX_INLINE = 1_000_000  # characters of different `style` attributes
WHITE = 0.95  # all channels above: not to be seen on paper

INHERITED = ("visibility", "fill", "stroke", "fill-opacity", "stroke-opacity", "stroke-width")
PROPERTIES = (*INHERITED, "display", "opacity", "transform", "transform-origin")
GEOMETRY = {"d", "x", "y", "cx", "cy", "r", "rx", "ry", "width", "height", "rotate", "scale", "translate"}
INITIAL = {"visibility": "visible", "fill": "black", "stroke": "none"}

Style = Mapping[str, str]


@dataclass(frozen=True)
class _Compound:
    """A selector without spaces: `path`, `.thin`, `#a`, `path.thin.grey`."""

    tag: str = ""
    id: str = ""
    classes: frozenset[str] = frozenset()

    def fits(self, element: Element) -> bool:
        return (
            (not self.tag or self.tag == element.tag)
            and (not self.id or self.id == element.get("id"))
            and (not self.classes or self.classes <= set(element.get("class", "").split()))
        )


@dataclass(frozen=True)
class _Rule:
    """What one selector (of compounds, ancestors first) sets."""

    steps: Sequence[_Compound]
    values: Mapping[str, tuple[str, bool]]  # property -> value, important

    def weight(self) -> tuple[int, int, int]:
        return (
            sum(bool(step.id) for step in self.steps),
            sum(len(step.classes) for step in self.steps),
            sum(bool(step.tag) for step in self.steps),
        )


@dataclass
class Styles:
    """The style sheets of a document.

    Attributes:
        left_out: rules that are not understood, by what they are.
    """

    parents: Mapping[Element, Element]
    left_out: Counter[str] = field(default_factory=Counter)
    _rules: list[_Rule] = field(default_factory=list)
    _trials: int = 0
    _inline: dict[str, dict[str, tuple[str, bool]]] = field(default_factory=dict)
    _characters: int = 0

    @classmethod
    def of(cls, root: Element) -> Styles:
        """Those of all its `style` elements."""
        styles = cls({child: parent for parent in root.iter() for child in parent})
        for sheet in root.iter("style"):
            if sheet.get("type", "text/css").strip() in ("text/css", ""):
                styles._add(sheet.text or "")
        styles._rules.sort(key=_Rule.weight)
        return styles

    def style(self, element: Element, inherited: Style) -> dict[str, str]:
        """Its values of `PROPERTIES`, where they are set. Raises ResourceError for too many rules and elements."""
        self._trials += len(self._rules)
        if self._trials > MAX_TRIALS:
            raise ResourceError("too many style rules for its elements; save it as plain SVG")
        plain = {name: (value, False) for name in PROPERTIES if (value := element.get(name)) is not None}
        layers: list[Mapping[str, tuple[str, bool]]] = [plain]
        layers += [rule.values for rule in self._rules if self._matches(rule.steps, element)]
        if (own := element.get("style")) is not None:
            layers.append(self._own(own))
        found = {name: inherited[name] for name in INHERITED if name in inherited}
        for important in (False, True):
            for layer in layers:
                for name, (value, strong) in layer.items():
                    if strong == important:
                        _set(found, name, value.strip(), inherited)
        return found

    def _own(self, text: str) -> Mapping[str, tuple[str, bool]]:
        if text not in self._inline:
            self._characters += len(text)
            if self._characters > MAX_INLINE:
                raise ResourceError(f"over {MAX_INLINE:,} characters of style; save it as plain SVG")
            self._inline[text] = self._declarations(tinycss2.parse_blocks_contents(text))
        return self._inline[text]

    def _add(self, text: str) -> None:
        for rule in tinycss2.parse_stylesheet(text, skip_comments=True, skip_whitespace=True):
            if rule.type != "qualified-rule":
                self.left_out[f"CSS @{rule.at_keyword}" if rule.type == "at-rule" else "broken CSS"] += 1
                continue
            values = self._declarations(tinycss2.parse_blocks_contents(rule.content))
            for selector in _split(rule.prelude):
                steps = _steps(selector)
                if steps is None:
                    self.left_out["CSS selectors"] += bool(values)
                elif values:
                    self._rules.append(_Rule(steps, values))

    def _declarations(self, parsed: Sequence[Any]) -> dict[str, tuple[str, bool]]:
        found = {}
        for part in parsed:
            if part.type != "declaration":
                self.left_out["broken CSS"] += part.type == "error"
            elif part.lower_name in PROPERTIES:
                found[part.lower_name] = (tinycss2.serialize(part.value), part.important)
            elif part.lower_name in GEOMETRY:
                self.left_out[f"CSS {part.lower_name}"] += 1
        return found

    def _matches(self, steps: Sequence[_Compound], element: Element) -> bool:
        if not steps[-1].fits(element):
            return False
        above = self.parents.get(element)
        for step in reversed(steps[:-1]):  # the nearest ancestor that fits will do, as steps are of descendants alone
            while above is not None and not step.fits(above):
                above = self.parents.get(above)
                self._trials += 1
            if above is None:
                return False
            above = self.parents.get(above)
            self._trials += 1
        return True


def hidden(style: Style) -> bool:
    """Whether neither the element nor what is in it is drawn."""
    return style.get("display") == "none" or _nothing(style.get("opacity"))


def ink(style: Style) -> str:
    """`"ink"` if the outline of a shape is to be seen, `"white"` if it is white on white, `""` if not at all."""
    if style.get("visibility", "visible") not in ("visible", "inherit"):
        return ""
    stroke = "" if _nothing(style.get("stroke-width")) else _paint(style, "stroke")
    paints = {stroke, _paint(style, "fill")}
    return "ink" if "ink" in paints else "white" if "white" in paints else ""


def _set(found: dict[str, str], name: str, value: str, inherited: Style) -> None:
    value = value if name == "transform" else value.lower()
    if value == "inherit" or (value == "unset" and name in INHERITED):
        value = inherited.get(name, "")
    if value in ("initial", "unset", ""):
        found.pop(name, None)
    else:
        found[name] = value


def _nothing(value: str | None) -> bool:
    try:
        return value is not None and float(value.removesuffix("%").removesuffix("px")) <= 0
    except ValueError:
        return False


def _paint(style: Style, name: str) -> str:
    value = style.get(name, INITIAL[name])
    if value == "none" or _nothing(style.get(f"{name}-opacity")):
        return ""
    colour = None if value.startswith("url") else tinycss2.color4.parse_color(value)
    if colour is None or isinstance(colour, str):  # a gradient, currentcolor, or what is no colour
        return "ink"
    if colour.alpha == 0:
        return ""
    try:
        white = min(colour.to("srgb").coordinates) > WHITE
    except (NotImplementedError, TypeError):  # no such space, a channel that is none
        white = False
    return "white" if white else "ink"


def _split(tokens: Sequence[Any]) -> list[list[Any]]:
    """Selectors of a list with commas."""
    parts: list[list[Any]] = [[]]
    for token in tokens:
        if token == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _steps(tokens: Sequence[Any]) -> list[_Compound] | None:
    """A selector of tags, classes, ids and spaces; None for any other."""
    steps: list[_Compound] = []
    now: dict[str, Any] = {}
    classes: set[str] = set()
    dot = False

    def end() -> None:
        if now or classes:
            steps.append(_Compound(now.get("tag", ""), now.get("id", ""), frozenset(classes)))
        now.clear()
        classes.clear()

    for token in tokens:
        if dot:
            if token.type != "ident":
                return None
            classes.add(token.value)
            dot = False
        elif token.type in ("whitespace", "comment"):
            end()
        elif token == ".":
            dot = True
        elif token == "*":
            now.setdefault("tag", "")
        elif token.type == "hash":
            now["id"] = token.value
        elif token.type == "ident" and not now and not classes:
            now["tag"] = token.value
        else:
            return None
    end()
    return steps if steps and not dot else None
