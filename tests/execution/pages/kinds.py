"""Notebooks of as many kinds as people send: made here, the libraries' outputs by the libraries."""

import base64
import io
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

from diptych.base.lazy import import_nbformat

LIBRARIES = {
    "plotly": "import plotly.express as px\npx.scatter(x=[1, 2], y=[3, 1], title='Of plotly')",
    "plotly_html": "from IPython.display import HTML\nimport plotly.express as px\n"
    "fig = px.bar(x=['a', 'b'], y=[3, 1], title='Of html')\n"
    "HTML('<p>Before it</p>' + fig.to_html(include_plotlyjs=True, full_html=False))",
    "plotly_gl": "import plotly.graph_objects as go\n"
    "go.Figure(go.Scattergl(x=[1, 2], y=[2, 1]), layout={'title': {'text': 'Of WebGL'}})",
    "altair": "import altair as alt, pandas as pd\n"
    "alt.Chart(pd.DataFrame({'a': [1, 2], 'b': [3, 4]}), title='Of altair').mark_bar().encode("
    "x='a:O', y='b', tooltip=alt.Tooltip('b')).transform_filter('datum.b > 0')",
    "altair_mime": "import altair as alt, pandas as pd\nfrom IPython.display import display\n"
    "chart = alt.Chart(pd.DataFrame({'a': [1, 2]}), title='Of MIME').mark_point().encode(x='a')\n"
    "display({'application/vnd.vegalite.v6+json': chart.to_dict()}, raw=True)",
    "bokeh": "from bokeh.plotting import figure, show\nfrom bokeh.io import output_notebook\n"
    "from bokeh.models import CustomJS\noutput_notebook()\n"
    "f = figure(title='Of bokeh', width=400, height=300)\nf.line([1, 2, 3], [2, 3, 1])\n"
    "f.js_on_event('tap', CustomJS(code=\"document.title = 'taken'\"))\nshow(f)",
    "widgets": "import ipywidgets as w\nout = w.Output()\n"
    "with out:\n    print('inside the output')\n"
    "w.VBox([w.IntSlider(value=7, description='slide'), w.Text('typed words'), out, "
    "w.Dropdown(options=['first', 'second'], value='second', description='pick'), "
    "w.HTML('<b>bold words</b><script>document.title = 1</script>'), w.Checkbox(True, "
    "description='tick'), w.Tab([w.Label('in a tab')], titles=['tab name'])])",
    "tqdm": "from tqdm.notebook import tqdm\nfor _ in tqdm(range(5), desc='counting'):\n    pass",
    "styler": "import pandas as pd\npd.DataFrame({'a': [1.0, 2, 3]}).style.background_gradient()"
    ".set_caption('Of a Styler').bar()",
    "sympy": "import sympy\nx = sympy.Symbol('x')\nsympy.Integral(x**2, x)",
    "itables": "import itables, pandas as pd\nitables.show(pd.DataFrame({'a': ['x1', 'x2']}))",
}


def run_libraries() -> dict:
    """Run each library's code in one real kernel; return a notebook of each."""
    import_nbformat()
    nb = new_notebook(cells=[new_code_cell(code) for code in LIBRARIES.values()])
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    NotebookClient(nb, timeout=120).execute()
    made = {}
    for name, cell in zip(LIBRARIES, nb.cells, strict=True):
        made[name] = new_notebook(cells=[cell], metadata=nb.metadata)
    return made


def png(width: int, height: int) -> str:
    """Return noise as base64 PNG: a picture that no encoder makes small."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype="uint8")
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="30"><text y="20">drawn</text></svg>'
)


def shown(source="1", **data):
    """Return a cell that displays one output of these kinds."""
    kinds = {
        kind.replace("_", "/", 1).replace("__", "+").replace("_", "."): value
        for kind, value in data.items()
    }
    return new_code_cell(source, outputs=[new_output("display_data", kinds)])


def plain(folder: Path) -> dict:
    """Return notebooks that need no library to make; pictures that they name lie in the folder."""
    import pandas as pd

    (folder / "sub").mkdir(exist_ok=True)
    (folder / "logo.png").write_bytes(base64.b64decode(png(8, 8)))
    (folder / "sub" / "a b.svg").write_text(SVG)
    frame = pd.DataFrame({f"column {i}": [i, 2.5 * i] for i in range(30)})
    attached = new_markdown_cell("Attached ![dot](attachment:dot.png)")
    attached["attachments"] = {"dot.png": {"image/png": png(8, 8)}}
    error = new_output(
        "error", ename="KeyError", evalue="'gone'", traceback=["\x1b[31mKeyError\x1b[0m: 'gone'"]
    )
    stream = new_output("stream", name="stderr", text="\x1b[1;33mwarning\x1b[0m of colours\n")
    clip = base64.b64encode(b"\0" * 64).decode()
    return {
        "attachments": [attached],
        "pictures": [
            new_markdown_cell('![logo](logo.png) and <img src="sub/a%20b.svg" width="40"> end')
        ],
        "large_figures": [shown(image_png=png(1500, 750)) for _ in range(2)],
        "svg": [shown(image_svg__xml=SVG)],
        "wide_table": [shown(text_html=frame._repr_html_())],
        "many_displays": [shown(text_html=frame.iloc[:, :3].to_html()) for _ in range(60)],
        "latex": [new_markdown_cell("Mass $E=mc^2$ and\n\n$$\\int_0^1 x\\,dx$$\n\nafter it")],
        "media": [
            shown(
                text_html=f'<p>Clip</p><video controls src="data:video/mp4;base64,{clip}"></video>'
                f'<audio controls><source src="data:audio/wav;base64,{clip}"></audio>'
            )
        ],
        "javascript": [shown(application_javascript="1 + 1", text_plain="<Javascript object>")],
        "json": [shown(application_json={"key": [1, 2]}, text_plain="<JSON object>")],
        "errors": [new_code_cell("{}['gone']", outputs=[error])],
        "colours": [new_code_cell("log()", outputs=[stream])],
        "raw": [new_raw_cell("raw words"), new_markdown_cell("after")],
        "other_kernel": [
            new_code_cell("x <- c(1, 2) |> sum()\nif (x) { 1 }", metadata={"tags": ["parameters"]}),
            shown("print(x)", text_html="<table><tr><td>3</td></tr></table>", text_plain="[1] 3"),
        ],
        "cards": [
            shown(
                text_html='<!DOCTYPE html><html><body><div style="display:flex;gap:8px">'
                '<div style="background:#fde; padding:4px">one card</div><section>two</section>'
                "</div><form>three <button>four</button></form></body></html>"
            )
        ],
        "printed": [
            new_code_cell(
                "loop()",
                outputs=[
                    new_output(
                        "stream", name="stdout", text="\n".join(f"row{i}" for i in range(2_000))
                    )
                ],
            )
        ],
        "markdown_output": [shown(text_markdown="**bold** $a_1$ and `code`")],
        "mermaid": [new_markdown_cell("```mermaid\ngraph TD; Alpha-->Beta\n```")],
        "tasks": [new_markdown_cell("- [x] done\n- [ ] open\n\n| a | b |\n|---|---|\n| 1 | 2 |")],
    }


def notebooks(folder: Path) -> dict:
    """Return `plain` as notebooks."""
    return {name: new_notebook(cells=cells) for name, cells in plain(folder).items()}


def save(nb, path: Path) -> Path:
    """Write a notebook."""
    nbformat.write(nb, path)
    return path
