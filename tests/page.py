"""Reads HTML the way a browser would, for tests of pages."""

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """What a browser would make of HTML.

    Attributes
    ----------
    tags : list of (name, attributes)
        In order.
    text : str
        All text outside style elements.
    """

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.html, self.text = str(html), ""
        self._inside = ""
        self.feed(str(html))
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside != "style":
            self.text += data

    def names(self) -> set[str]:
        return {name for name, _ in self.tags}

    def all(self, attribute: str) -> list[str]:
        """Return an attribute's values, in order."""
        return [found[attribute] for _, found in self.tags if attribute in found]

    def loads(self) -> list[str]:
        """Return every address that the page would fetch or lead to outside itself."""
        names = ("src", "href", "xlink:href", "srcset", "poster", "action", "data", "background")
        links = [link for name in names for link in self.all(name)]
        styled = [u for text in self.all("style") for u in re.findall(r"url\(([^)]*)", text)]
        outside = re.compile(r"\s*([a-z][a-z+.-]*:|//)", re.IGNORECASE)
        return [
            link for link in links + styled if outside.match(link) and link[:11] != "data:image/"
        ]
