"""The elements of an SVG of unknown origin, parsed so that no file can make the parser work for it.

The parser declares no entity and opens no other file. Namespaces are resolved here, as drawings with prefixes that
nobody declared are common and a namespace-aware parser refuses those.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from ..errors import FormatError, ResourceError, UnsafeFileError

MAX_DEPTH = 256
MAX_ELEMENTS = 50_000
MAX_STYLE = 100_000  # characters of style sheets

W3C = re.compile(r"https?://www\.w3\.org/")  # the one document type that a drawing has a reason to name
FOREIGN = "foreign"  # tag of elements of another namespace
_SVG = "http://www.w3.org/2000/svg"


def parse_document(content: bytes) -> Element:
    """The root `svg` of a document; tags and attributes without prefix, elements of other namespaces as `FOREIGN`.

    An end tag of the root that is missing, as in some released files, is forgiven. Text is kept of `style` alone.

    Raises:
        FormatError: no XML, or another root.
        UnsafeFileError: entities, a document type elsewhere than at w3.org, over 256 levels.
        ResourceError: over 50,000 elements, or 100,000 characters of style sheets.
    """
    return _Parser().parse(content)


class _Parser:
    def __init__(self) -> None:
        self._build = TreeBuilder()
        self._spaces: list[dict[str, str]] = []  # prefix -> namespace, of each open element
        self._home = _SVG  # namespace of the root
        self._root_end = ""
        self._elements = self._style = 0
        self._in_style = False

    def parse(self, content: bytes) -> Element:
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = _document_type
        parser.EntityDeclHandler = _entity
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        try:
            parser.Parse(content, False)
            parser.Parse(self._root_end.encode() if len(self._spaces) == 1 else b"", True)
        except expat.ExpatError as error:
            place = f"line {error.lineno}, column {error.offset + 1}"
            reason = expat.errors.messages[error.code]
            raise FormatError(f"no readable XML ({reason} at {place}); save it again as SVG") from error
        except (LookupError, ValueError, UnicodeError) as error:
            raise FormatError("no readable XML (unknown encoding); save it as UTF-8") from error
        return self._build.close()

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._spaces) >= MAX_DEPTH:
            raise UnsafeFileError(f"elements nested over {MAX_DEPTH} deep; flatten its groups")
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise ResourceError(f"over {MAX_ELEMENTS:,} elements; no sketch has so many, leave it out")
        spaces = dict(self._spaces[-1]) if self._spaces else {}
        kept: dict[str, str] = {}
        for name, value in attributes.items():
            prefix, colon, local = name.rpartition(":")
            if name == "xmlns" or prefix == "xmlns":
                spaces[local if colon else ""] = value
            elif not colon:
                kept[name] = value
            elif local == "href":
                kept.setdefault("href", value)
        self._spaces.append(spaces)
        prefix, _, local = tag.rpartition(":")
        space = spaces.get(prefix, _SVG if prefix in ("", "svg") else prefix)
        if len(self._spaces) == 1:
            if local != "svg":
                raise FormatError(f"holds <{tag[:20]}>, not <svg>; is it a drawing?")
            self._home, self._root_end = space, f"</{tag}>"
        name = local if space in (self._home, _SVG) else FOREIGN
        self._in_style = name == "style"
        self._build.start(name, kept)

    def _end(self, tag: str) -> None:
        self._in_style = False
        self._spaces.pop()
        self._build.end(tag)

    def _text(self, text: str) -> None:
        if self._in_style:
            self._style += len(text)
            if self._style > MAX_STYLE:
                raise ResourceError(f"over {MAX_STYLE:,} characters of style sheets; save it as plain SVG")
            self._build.data(text)


def _document_type(name: str, system: str | None, public: str | None, subset: int) -> None:
    if system and not W3C.match(system):
        raise UnsafeFileError(f"its document type lies at {system[:60]!r}, which is never fetched; drop the DOCTYPE")


def _entity(name: str, *rest: Any) -> None:
    raise UnsafeFileError(
        f"declares the entity {name[:20]!r}, as Illustrator does; entities are not expanded, save it as plain SVG"
    )
