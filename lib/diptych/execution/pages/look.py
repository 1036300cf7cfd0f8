"""How a page looks and what it leaves out, as its author or its maker wants it.

Options come from three places; a later one wins: ``diptych: {page: {...}}`` in the notebook's
metadata, ``page:`` in a parameter file, the command line. A notebook cannot trust itself.
"""

import base64
import mimetypes
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from diptych.base.errors import ParameterError

COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}|[a-zA-Z]+|(rgb|hsl|oklch)\([\d.,%\s/deg]+\)")
FILES = ("logo", "css", "template")


@dataclass(frozen=True)
class Look:
    """Options of a page.

    Attributes
    ----------
    title : str
        Replaces the notebook's first heading, "" for that.
    logo : str
        Path of a picture for the page's head.
    css : str
        Path of a style sheet that comes after the page's own.
    template : str
        Path of a Jinja template that may extend ``notebook.html.j2``.
    accent : str
        CSS colour of links and marks.
    no_input : bool
        Leave out all code.
    shrink_images : bool
        Encode heavy pictures again, smaller.
    trust : bool
        Let scripts of the notebook's outputs run on the page.
    """

    title: str = ""
    logo: str = ""
    css: str = ""
    template: str = ""
    accent: str = ""
    no_input: bool = False
    shrink_images: bool = False
    trust: bool = False

    def with_options(
        self, options: Mapping, where: str, folders: Iterable[Path] = (Path(),)
    ) -> "Look":
        """Return it with more options, checked.

        Parameters
        ----------
        options : mapping
            By name; hyphens are underscores.
        where : str
            Named in errors.
        folders : iterable of Path
            Where relative paths may lead, the first that has the file.

        Raises
        ------
        ParameterError
            If a name, a type, a colour or a file is wrong.
        """
        values, problems = {}, []
        types = {field.name: type(field.default) for field in fields(Look)}
        for key, value in options.items():
            name = str(key).replace("-", "_")
            if name not in types:
                problems.append(f"{where}: no option {key!r}; there are {', '.join(types)}")
            elif not isinstance(value, types[name]):
                kind = "yes or no" if types[name] is bool else "text"
                problems.append(f"{where}: {key} is {value!r}; it must be {kind}")
            elif name == "accent" and value and not COLOUR.fullmatch(value):
                problems.append(f"{where}: {key} is {value!r}, no colour of CSS such as #0d655c")
            elif name in FILES and value:
                path = _file(value, folders)
                values[name] = str(path or "")
                if path is None:
                    problems.append(f"{where}: {key}: there is no file {value}")
            else:
                values[name] = value
        if problems:
            raise ParameterError(problems)
        return replace(self, **values)

    @property
    def options(self) -> dict:
        """The options that are not the usual ones."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in pairs if value}

    @property
    def style(self) -> str:
        """The page's extra CSS."""
        sheet = Path(self.css).read_text(encoding="utf-8") if self.css else ""
        accent = f":root {{ --accent: {self.accent} !important; }}\n" if self.accent else ""
        return (accent + sheet).replace("</", "<\\/")

    @property
    def logo_data(self) -> str:
        """The logo as a ``data:`` address, "" if there is none."""
        if not self.logo:
            return ""
        kind = mimetypes.guess_type(self.logo)[0] or "image/png"
        return f"data:{kind};base64,{base64.b64encode(Path(self.logo).read_bytes()).decode()}"


def of_notebook(nb: Mapping, folders: Iterable[Path]) -> Look:
    """Return what a notebook's metadata says of its page; it cannot ask for trust."""
    metadata = nb.get("metadata", {}).get("diptych", {})
    options = metadata.get("page", {}) if isinstance(metadata, Mapping) else {}
    if not isinstance(options, Mapping) or not options:
        return Look()
    options = {key: value for key, value in options.items() if key != "trust"}
    return Look().with_options(options, "the notebook's metadata, diptych: page:", folders)


def _file(value: str, folders: Iterable[Path]) -> Path | None:
    paths = (Path(folder, value).expanduser() for folder in folders)
    return next((path.absolute() for path in paths if path.is_file()), None)
