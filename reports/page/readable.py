"""What a keyboard and a screen reader need, in every part of the page, whichever template wrote it.

The templates write plain tables, boxes and figures; one pass over the page's tags adds

* to each header cell its `scope` (an empty one becomes a plain cell), to each table its heading as a caption;
* to each box that scrolls a place in the order of the Tab key, the role of a region and a name;
* to each drawing the role of an image, a title (its figure's heading), a description (its caption), a scrolling box;
* to the first use of a term in each section a link to its definition, which also shows when pointed at.
"""

import re
from collections.abc import Iterator, Sequence
from html import unescape

from markupsafe import escape

from reports.formats import capitalised
from reports.spec import Term

TOKEN = re.compile(r"<(svg|style|script|pre)\b.*?</\1>|<!--.*?-->|<[^>]*>|[^<]+", re.DOTALL)
"""A tag, a text, or an element that is taken as a whole."""
HEADINGS = ("h1", "h2", "h3", "summary")
UNLINKED = (*HEADINGS, "a", "button", "code", "header", "label", "legend", "nav", "td", "title")
"""Elements in which no term is linked: what they hold is a link, a name or a value."""


def readable(html: str, terms: Sequence[Term]) -> tuple[str, list[Term]]:
    """The page with what this module adds, and the terms that it uses, in the order of `terms`."""
    reader = _Reader(terms)
    whole = "".join(reader.read(re.sub(r"<th([^>]*)></th>", r"<td\1></td>", html)))
    return whole, [term for term in terms if term.name in reader.used]


def anchor(term: Term) -> str:
    """The id of a term's definition."""
    return "term-" + re.sub(r"[^a-z0-9]+", "-", term.name.lower()).strip("-")


def quoted(text: str) -> str:
    """Text of a page as the value of an attribute."""
    return text.replace('"', "&quot;")


class _Reader:
    """Reads the page once, from its first tag to its last."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self._terms = {
            str(escape(word)): term
            for term in terms
            for name in (term.name, *term.also)
            for word in (name, capitalised(name))  # as a sentence begins
        }
        words = sorted(map(re.escape, self._terms), key=len, reverse=True)
        self._word = re.compile(rf"(?<![\w&#-])(?:{'|'.join(words)})(?![\w-])") if words else None
        self.used: set[str] = set()
        self._linked: set[str] = set()
        self._heading = ""
        self._named: dict[str, int] = {}
        self._drawings = 0
        self._open: list[str] = []
        self._texts: list[str] = []
        self._in_head = False

    def read(self, html: str) -> Iterator[str]:
        """The page, piece by piece."""
        for found in TOKEN.finditer(html):
            token = found.group()
            if token.startswith("<svg"):
                yield self._drawing(token, html, found.end())
            elif not token.startswith("<"):
                yield self._text(token)
            elif token.startswith("<pre>"):
                yield f'<pre role="region" tabindex="0" aria-label="{self._name()}">{token[5:]}'
            elif found.group(1) or token.startswith("<!"):
                yield token
            else:
                yield self._tag(token)

    def _tag(self, tag: str) -> str:
        name = tag[1:].lstrip("/").split(">")[0].split()[0].lower()
        closing = tag.startswith("</")
        if name in UNLINKED:
            if not closing:
                self._open.append(name)
                self._texts = [] if name in HEADINGS else self._texts
            elif self._open:
                self._open.pop()
            if closing and name in HEADINGS:
                self._heading = " ".join("".join(self._texts).split())
                self._linked = set() if name == "h2" else self._linked
        elif name == "thead":
            self._in_head = not closing
        elif closing:
            return tag
        elif name == "th" and "scope=" not in tag:
            across = "colgroup" if "colspan=" in tag else "col"
            return f'{tag[:-1]} scope="{across if self._in_head else "row"}">'
        elif name == "table" and self._heading:
            return f'{tag}<caption class="unseen">{self._heading}</caption>'
        elif name == "div" and re.search(r'class="[^"]*\bscroll\b', tag) and "role=" not in tag:
            return f'{tag[:-1]} role="region" tabindex="0" aria-label="{self._name()}">'
        return tag

    def _name(self) -> str:
        """The heading, with a number where several boxes stand below it."""
        heading = self._heading or "Table"
        self._named[heading] = self._named.get(heading, 0) + 1
        times = self._named[heading]
        return quoted(heading if times == 1 else f"{heading} ({times})")

    def _text(self, text: str) -> str:
        if self._open:
            if any(name in HEADINGS for name in self._open):
                self._texts.append(text)
            return text
        return text if self._word is None or text.isspace() else self._word.sub(self._link, text)

    def _link(self, found: re.Match[str]) -> str:
        term = self._terms[found.group()]
        self.used.add(term.name)
        if term.name in self._linked:
            return found.group()
        self._linked.add(term.name)
        return f'<a class="term" href="#{anchor(term)}" title="{escape(term.meaning)}">{found.group()}</a>'

    def _drawing(self, svg: str, html: str, end: int) -> str:
        """A drawing with a title and a description; one that has a role, or is hidden, is left as it is."""
        opening, rest = svg.split(">", 1)
        if "role=" in opening or "aria-hidden=" in opening:
            return svg
        self._drawings += 1
        title, about = f"drawing-{self._drawings}", f"drawing-{self._drawings}-about"
        caption = re.compile(r"\s*<figcaption[^>]*>(.*?)</figcaption>", re.DOTALL).match(html, end)
        told = "" if caption is None else " ".join(unescape(re.sub(r"<[^>]*>", "", caption.group(1))).split())
        desc, both = (f'<desc id="{about}">{escape(told)}</desc>', f"{title} {about}") if told else ("", title)
        name = self._heading or "Figure"
        image = f'{opening} role="img" aria-labelledby="{both}"><title id="{title}">{name}</title>{desc}{rest}'
        return f'<div class="drawing" role="group" tabindex="0" aria-label="{quoted(name)}">{image}</div>'
