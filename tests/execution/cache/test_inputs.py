"""Whatever a notebook reads belongs to what it is made of: each kind is changed, none links.

One run reads all of them. What is changed and looked up is on disk, so no further kernel starts.
"""

import gzip
import json
import os
import shutil
import sqlite3
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diptych.execution.cache import dependencies, entries, fingerprint, inputs
from diptych.execution.runner import prepare, run_notebook

CELLS = """
open("sales.csv").read()
# %%
import glob, gzip, importlib.resources, io, json, os, pathlib, pkgutil, sqlite3, sys, tomllib
import numpy as np
import pandas as pd
import yaml
from PIL import Image
# %%
pd.read_csv("mapped.csv", memory_map=True)
pd.read_csv("arrow.csv", engine="pyarrow")
pd.read_parquet("table.parquet")
pd.read_parquet("parts")
pd.read_parquet([f"listed{number}.parquet" for number in (1,)])
pd.read_parquet(f"file://{os.getcwd()}/by_{'address'}.parquet")
pd.read_excel("book.ods", engine="calamine") if os.path.exists("book.ods") else None
json.loads(pathlib.Path("settings.json").read_text())
gzip.open("packed.gz").read()
np.load("array.npy", mmap_mode="r").sum()
np.fromfile("raw.bin", dtype="u1").sum()
yaml.safe_load(open("config.yaml"))
tomllib.loads(pathlib.Path("config.toml").read_text())
Image.open("logo.png").size
with io.FileIO(os.open("low.txt", os.O_RDONLY)) as file:
    file.read()
# %%
database = sqlite3.connect("sales.db")
database.execute("SELECT * FROM x").fetchall()
database.close()
# %%
[open(name).read() for name in glob.glob("many/*.csv")]
open("link.csv").read()
os.environ.get("REGION")
os.getenv("UNSET")
open(os.environ["DATA_FILE"]).read()
# %%
sys.path.insert(0, "modules")
import helper
import package.inner
try:
    import local_settings
except ImportError:
    pass
pkgutil.get_data("package", "words.txt")
importlib.resources.files("package").joinpath("more.txt").read_text()
try:
    from package import override
except ImportError:
    pass
try:
    importlib.import_module("package." + "second")
except ImportError:
    pass
# %%
from IPython.display import HTML, Markdown
display(Markdown("![](displayed.png)"), HTML("<p><img width=4 src='in_html.png'></p>"))
# %%
exec(open("snippet.py").read())
# %%
%run script.py
# %%
!python printed.py
# %%
if os.path.exists("override.csv"):
    print(open("override.csv").read())
if pathlib.Path("override.json").is_file():
    print("there")
try:
    open("optional.csv")
except FileNotFoundError:
    pass
path = "named.bin"  # compiled code may read it unseen
os.listdir("many")
# %%
import multiprocessing
def read(name):
    return open(name).read()
with multiprocessing.Pool(1) as pool:
    pool.map(read, ["forked.csv"])
# %%
from dotenv import load_dotenv
load_dotenv(".env")
# %%
import matplotlib.pyplot
import plotly
# %%
import diptych as dt
dt.uses("unseen/*.bin", "seen_by_nobody.bin")
# %%
open("written.txt", "w").write("1")
open("written.txt").read()
os.makedirs("made", exist_ok=True)
open("made/again.csv", "w").write("1")
open("made/again.csv").read();
"""
PROSE = (
    "# Sales\n\n![logo](shown.png)\n\n<img src='drawn.svg'>\n\n"
    "![a [b]](<of two words.png>) ![](of(2).png)"
)


def write_files(folder):
    """Write all that the notebook reads."""
    for name in ("many", "modules/package", "unseen", "parts/year=1", "config/matplotlib"):
        (folder / name).mkdir(parents=True)
    for name in ("sales.csv", "mapped.csv", "arrow.csv", "many/a.csv", "first.csv", "named.csv",
                 "forked.csv"):  # fmt: skip
        (folder / name).write_text("a,b\n1,2\n")
    frame = pd.DataFrame({"a": [1]})
    for name in ("table", "listed1", "by_address"):
        frame.to_parquet(folder / f"{name}.parquet")
    frame.to_parquet(folder / "parts/year=1/a.parquet")
    (folder / "settings.json").write_text("{}")
    with gzip.open(folder / "packed.gz", "w") as file:
        file.write(b"1")
    np.save(folder / "array.npy", np.arange(3))
    (folder / "raw.bin").write_bytes(b"123")
    (folder / "low.txt").write_text("1")
    (folder / "config.yaml").write_text("a: 1")
    (folder / "config.toml").write_text("a = 1")
    for name in ("logo.png", "shown.png", "of two words.png", "of(2).png", "displayed.png",
                 "in_html.png"):  # fmt: skip
        Image.new("1", (2, 2)).save(folder / name)
    (folder / "drawn.svg").write_text("<svg/>")
    database = sqlite3.connect(folder / "sales.db")
    database.execute("CREATE TABLE x (a)")
    database.commit()
    database.close()
    (folder / "link.csv").symlink_to("first.csv")
    (folder / "modules/helper.py").write_text(
        "import os\nopen('modules/data.txt').read()\nos.environ.get('INNER')"
    )
    (folder / "modules/data.txt").write_text("1")
    (folder / "modules/package/__init__.py").write_text("")
    (folder / "modules/package/inner.py").write_text("x = 1")
    for name in ("words.txt", "more.txt"):
        (folder / "modules/package" / name).write_text("1")
    for name in ("snippet.py", "script.py", "printed.py"):
        (folder / name).write_text("print(1)")
    (folder / ".env").write_text("A=1")
    (folder / "unseen/a.bin").write_bytes(b"1")
    (folder / "named.bin").write_bytes(b"1")
    (folder / "seen_by_nobody.bin").write_bytes(b"1")
    (folder / "config/matplotlib/matplotlibrc").write_text("figure.dpi: 100")
    (folder / "own.css").write_text("a {color: blue}")
    write_notebook(folder / "weekly.ipynb", CELLS, PROSE, diptych={"page": {"css": "own.css"}})


def write_notebook(path, cells, prose="# Title", **metadata):
    parts = [nbformat.v4.new_markdown_cell(prose, attachments={})]
    parts.append(nbformat.v4.new_code_cell("", metadata={"tags": ["parameters"]}))
    parts += [nbformat.v4.new_code_cell(text.strip()) for text in cells.split("# %%")]
    for number, cell in enumerate(parts):
        cell.id = f"cell{number}"
    nbformat.write(nbformat.v4.new_notebook(cells=parts, metadata=metadata), path)
    return path


def edit(cell):
    """Return a function that changes a cell of the notebook."""

    def change(folder):
        path = folder / "weekly.ipynb"
        nb = nbformat.read(path, as_version=4)
        cell(nb)
        nbformat.write(nb, path)

    return change


def write(name, content=b"a,b\n3,4\n"):
    return lambda folder: (folder / name).write_bytes(content)


def variable(name, value="west"):
    return lambda _: os.environ.__setitem__(name, value)


def retarget(folder):
    (folder / "second.csv").write_text("9")
    (folder / "link.csv").unlink()
    (folder / "link.csv").symlink_to("second.csv")


def insert_row(folder):
    database = sqlite3.connect(folder / "sales.db")
    database.execute("INSERT INTO x VALUES (1)")
    database.commit()
    database.close()


def move_away(folder):
    other = folder.with_name("elsewhere")
    shutil.copytree(folder, other, symlinks=True)
    os.chdir(other)  # as `cd` before the command


CHANGES = {
    "a table": (write("sales.csv"), "sales.csv has changed"),
    "a deleted table": (lambda folder: (folder / "sales.csv").unlink(), "sales.csv (gone)"),
    "a mapped table": (write("mapped.csv"), "mapped.csv"),
    "a table read by Arrow": (write("arrow.csv"), "arrow.csv"),
    "a Parquet file": (write("table.parquet"), "table.parquet"),
    "a part of a Parquet folder": (write("parts/year=1/a.parquet"), "parts"),
    "a Parquet file of a list": (write("listed1.parquet"), "listed1.parquet"),
    "a Parquet file by address": (write("by_address.parquet"), "by_address.parquet"),
    "JSON by pathlib": (write("settings.json"), "settings.json"),
    "a packed file": (write("packed.gz"), "packed.gz"),
    "a mapped array": (write("array.npy"), "array.npy"),
    "a raw array": (write("raw.bin"), "raw.bin"),
    "a file by descriptor": (write("low.txt"), "low.txt"),
    "YAML": (write("config.yaml"), "config.yaml"),
    "TOML": (write("config.toml"), "config.toml"),
    "an image read": (write("logo.png"), "logo.png"),
    "an image of the prose": (write("shown.png"), "image shown.png"),
    "a drawing of the prose": (write("drawn.svg"), "image drawn.svg"),
    "an image of two words": (write("of two words.png"), "image of two words.png"),
    "an image with brackets": (write("of(2).png"), "image of(2).png"),
    "an image that a cell displayed": (write("displayed.png"), "displayed.png"),
    "an image in displayed HTML": (write("in_html.png"), "in_html.png"),
    "a database file": (insert_row, "sales.db"),
    "a new file of a pattern": (write("many/b.csv"), "many"),
    "the target of a link": (retarget, "link.csv"),
    "a variable": (variable("REGION"), "variable REGION has changed"),
    "a variable that was not set": (variable("UNSET"), "variable UNSET (new)"),
    "a file named by a variable": (write("named.csv"), "named.csv"),
    "a module on sys.path": (write("modules/helper.py", b"x = 2"), "modules/helper.py"),
    "a file that a module reads": (write("modules/data.txt"), "modules/data.txt"),
    "a variable that a module reads": (variable("INNER"), "variable INNER (new)"),
    "a module of a package": (write("modules/package/inner.py", b"x = 2"), "inner.py"),
    "data of a package": (write("modules/package/words.txt"), "words.txt"),
    "a resource of a package": (write("modules/package/more.txt"), "more.txt"),
    "a module that was missing": (write("local_settings.py", b"x = 1"), "local_settings.py (new)"),
    "a missing part of a package": (
        write("modules/package/override.py", b"x = 1"), "override.py is there now",
    ),
    "a missing part imported by name": (
        write("modules/package/second.py", b"x = 1"), "second.py is there now",
    ),
    "a word for currencies": (variable("LC_MONETARY"), "variable LC_MONETARY"),
    "a module that hides another": (write("modules/yaml.py", b"x = 1"), "modules"),
    "code by exec": (write("snippet.py", b"print(2)"), "snippet.py"),
    "a script by %run": (write("script.py", b"print(2)"), "script.py"),
    "a script by !python": (write("printed.py", b"print(2)"), "printed.py"),
    "a file that was missing": (write("override.csv"), "override.csv is there now"),
    "another that was missing": (write("override.json"), "override.json is there now"),
    "one that could not be opened": (write("optional.csv"), "optional.csv (new)"),
    "a table read in another process": (write("forked.csv"), "forked.csv"),
    "a file that is only named": (write("named.bin"), "named.bin"),
    "a hidden file of a folder": (write("many/.c.csv"), "many"),
    "dotenv": (write(".env", b"A=2"), ".env"),
    "settings of matplotlib": (
        write("config/matplotlib/matplotlibrc", b"figure.dpi: 72"), "matplotlibrc",
    ),
    "settings of matplotlib here": (write("matplotlibrc", b"a: 1"), "matplotlibrc is there"),
    "a declared file": (write("seen_by_nobody.bin"), "seen_by_nobody.bin"),
    "a file of a declared pattern": (write("unseen/b.bin"), "unseen"),
    "what it wrote": (write("written.txt"), "written.txt, which it wrote"),
    "the code": (edit(lambda nb: nb.cells[2].update(source="1")), "a code cell"),
    "the prose": (edit(lambda nb: nb.cells[0].update(source="# Sale")), "the prose"),
    "an attachment": (
        edit(lambda nb: nb.cells[0].update(attachments={"a.png": {"image/png": "AA=="}})),
        "an attachment",
    ),
    "a tag": (edit(lambda nb: nb.cells[2].metadata.update(tags=["hide-input"])), "a setting"),
    "the style of the page": (write("own.css", b"a {color: red}"), "option of the page"),
    "the notebook's place": (move_away, "the notebook's place"),
}  # fmt: skip
VARIABLES = {"REGION": "east", "DATA_FILE": "named.csv"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run the notebook once; return its run, its folder and a copy of that as it was."""
    place = tmp_path_factory.mktemp("sales")
    folder, pristine = place / "work", place / "pristine"
    write_files(folder)
    shutil.copytree(folder, pristine, symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIPTYCH_HOME", str(place / "home"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        for name, value in VARIABLES.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        run = run_notebook("weekly.ipynb", progress=False)
        for name in ("written.txt", "made"):
            source = folder / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, pristine / name)
        yield run, folder, pristine


@pytest.fixture
def place(run, monkeypatch):
    """Return the run and its folder, as after the run; what a test changes is undone."""
    done, folder, pristine = run
    before = dict(os.environ)
    monkeypatch.setenv("DIPTYCH_HOME", str(folder.with_name("home")))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.chdir(folder)
    yield done, folder
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
    os.chdir(folder)
    shutil.rmtree(folder.with_name("elsewhere"), ignore_errors=True)
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(pristine, folder, symlinks=True, dirs_exist_ok=True)


def look_up():
    return entries.find(prepare("weekly.ipynb"), Path(os.environ["DIPTYCH_HOME"], "runs"))


def test_an_unchanged_notebook_is_linked(place):
    run, _ = place
    facts = run.manifest["cache"]
    assert not facts["never"]
    assert look_up().run == run
    paths = {Path(use["path"]).name for use in facts["uses"] if use["kind"] == "files"}
    assert not paths & {"written.txt", "again.csv"}, "what it wrote itself is no input"
    assert "west" not in json.dumps(facts)
    assert "east" not in json.dumps(facts), "values of variables may be secret"


def test_what_a_kernel_sets_for_itself_makes_no_other_run(place):
    """A stage that makes a missing one looks, and notes, within its own kernel."""
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    os.environ |= {"PYDEVD_USE_FRAME_EVAL": "NO", "KMP_INIT_AT_FORK": "FALSE"}
    assert look_up().run == place[0]
    os.environ["MPLBACKEND"] = "pdf"
    assert look_up().run is None


@pytest.mark.parametrize("kind", CHANGES)
def test_whatever_changes_is_named(place, kind):
    run, folder = place
    change, words = CHANGES[kind]
    change(folder)
    lookup = look_up()
    assert lookup.run is None
    if lookup.key == run.manifest["cache"]["key"]:
        assert words in lookup.why
    else:
        assert words in "\n".join(fingerprint.changes(run.manifest["cache"]["parts"], lookup.parts))


def test_the_working_folder_is_named(place):
    run, folder = place
    prepared = prepare("weekly.ipynb", cwd=folder / "many")
    lookup = entries.find(prepared, folder)
    assert lookup.run is None
    changes = fingerprint.changes(run.manifest["cache"]["parts"], lookup.parts)
    assert "the working folder" in changes


def test_the_pictures_in_displayed_html_are_on_the_page(place):
    page = (place[0].folder / "notebook.html").read_text("utf-8")
    assert page.count("<img") == page.count('src="data:image/') == 6
    assert "is not on this page" not in page


def test_the_time_zone_of_the_machine_counts_where_no_variable_names_one(tmp_path, monkeypatch):
    zone = tmp_path / "localtime"
    zone.write_bytes(b"Berlin")
    monkeypatch.setattr(inputs, "ZONE", zone)
    monkeypatch.delenv("TZ", raising=False)
    use = {"kind": "zone", "found": dependencies.look({"kind": "zone"})}
    assert not dependencies.changed(use)
    zone.write_bytes(b"Tokyo")
    assert dependencies.changed(use) == "the time zone of this machine is another one"


def test_another_version_of_a_package_is_named(place):
    (use,) = [use for use in place[0].manifest["cache"]["uses"] if use["kind"] == "packages"]
    assert {"plotly", "pandas", "numpy", "python-dotenv"} <= use["found"].keys()
    before = use | {"found": use["found"] | {"plotly": ["6.9.0", ""]}}
    assert "package plotly 6.9.0 ->" in dependencies.changed(before)


WEEKLY = """
region = "north"
# %%
rows = [line.split(",") for line in open("sales.csv").read().splitlines()[1:]]
print("total", sum(float(value) for name, value in rows if name == region))
"""


def test_a_copy_beside_another_table_has_its_own_total(tmp_path, monkeypatch):
    """The weekly report shows 3, then the new total; its copy elsewhere shows 300."""
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    (tmp_path / "other").mkdir()
    for folder in (tmp_path, tmp_path / "other"):
        write_notebook(folder / "weekly.ipynb", WEEKLY)

    def total(folder, *sales):
        rows = "".join(f"north,{number}\n" for number in sales)
        (folder / "sales.csv").write_text(f"region,sales\n{rows}")
        run = run_notebook(folder / "weekly.ipynb", progress=False)
        return run.linked, (run.folder / "notebook.html").read_text().partition("total ")[2][:3]

    assert total(tmp_path, 1, 2) == (False, "3.0")
    assert total(tmp_path, 10, 20) == (False, "30.")
    assert total(tmp_path, 10, 20) == (True, "30.")
    assert total(tmp_path / "other", 100, 200) == (False, "300")
