"""Widgets of ipywidgets, as they stood when the notebook ended: drawn from their stored state.

Nothing moves, and nothing is empty: a slider shows its place and value, an Output what it holds, a
box what is inside it. plotly's FigureWidget and ipympl's canvas show their figure. A widget of
another package is JavaScript of that package; a line names it.
"""

import base64
import html
from collections.abc import Callable, Mapping

from diptych.execution.pages.mime import pictures, plotly
from diptych.execution.pages.mime.canvas import Canvas, note
from diptych.execution.pages.sanitize import terminal

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
DEEPEST = 40  # boxes in boxes; one that holds itself ends here
Shown = Callable[[Mapping], str]


def states(nb: Mapping) -> Mapping[str, Mapping]:
    """Return the state of each widget of a notebook by model id; {} if none is stored."""
    widgets = nb.get("metadata", {}).get("widgets", {})
    stored = widgets.get(STATE, {}) if isinstance(widgets, Mapping) else {}
    models = stored.get("state", {}) if isinstance(stored, Mapping) else {}
    return models if isinstance(models, Mapping) else {}


def draw(data: Mapping, canvas: Canvas, shown: Shown) -> str | None:
    """Return a displayed widget as HTML; None if there is none, or nothing is known of it.

    Parameters
    ----------
    shown : callable
        Renders an output that a widget holds.
    """
    view = data.get(VIEW)
    if not isinstance(view, Mapping):
        return None
    model = str(view.get("model_id"))
    if model not in canvas.widgets:
        # then its text, as it was first shown, says more
        if str(data.get("text/plain", "")).strip() or len(data) > 2:
            return None
        return note("A widget stands here, but its state was not stored with the notebook.")
    drawn = _Drawing(canvas, shown).model(model)
    return f'<div class="shown widget">{drawn}</div>' if drawn else ""


class _Drawing:
    """Draws one displayed widget and what is inside it."""

    def __init__(self, canvas: Canvas, shown: Shown):
        self.canvas, self.shown, self.depth = canvas, shown, 0

    def model(self, reference: str) -> str:
        """Return a widget by its id, with or without ``IPY_MODEL_`` before it."""
        model = self.canvas.widgets.get(str(reference).removeprefix("IPY_MODEL_"))
        if not isinstance(model, Mapping) or self.depth > DEEPEST:
            return ""
        state = model.get("state", {})
        if self._is_hidden(state):
            return ""
        name = str(model.get("model_name", "")).removesuffix("Model")
        self.depth += 1
        try:
            if name in BOXES:
                return self._box(name, state)
            if name == "Output":
                return self._output(state)
            if "_data" in state and "_layout" in state:
                return plotly.figure(
                    {"data": state["_data"], "layout": state["_layout"]}, self.canvas
                )
            if str(state.get("_data_url", "")).startswith("data:image/"):
                return (
                    f'<div class="picture"><img src="{_e(state["_data_url"])}" alt="Figure"></div>'
                )
            return self._control(name, model, state)
        finally:
            self.depth -= 1

    def _is_hidden(self, state: Mapping) -> bool:
        layout = self.canvas.widgets.get(str(state.get("layout", "")).removeprefix("IPY_MODEL_"))
        layout = layout.get("state", {}) if isinstance(layout, Mapping) else {}
        return layout.get("display") == "none" or layout.get("visibility") == "hidden"

    def _box(self, name: str, state: Mapping) -> str:
        children = state.get("children") or []
        titles = state.get("titles") or state.get("_titles") or []
        if isinstance(titles, Mapping):  # of ipywidgets 7
            titles = [titles.get(str(i), "") for i in range(len(children))]
        parts = []
        for number, child in enumerate(children):
            drawn = self.model(child)
            if name in ("Tab", "Accordion", "Stack") and number < len(titles) and titles[number]:
                drawn = f'<p class="label">{_e(titles[number])}</p>{drawn}'
            parts.append(drawn)
        return f'<div class="{BOXES[name]}">{"".join(parts)}</div>'

    def _output(self, state: Mapping) -> str:
        parts = []
        for output in state.get("outputs") or []:
            kind = output.get("output_type")
            if kind == "stream":
                text = output.get("text", "")
            elif kind == "error":
                text = "\n".join(output.get("traceback", [])) or str(output.get("evalue", ""))
            else:
                parts.append(self.shown(output))
                continue
            text = text if isinstance(text, str) else "".join(text)
            parts.append(f'<pre class="printed" tabindex="0">{terminal(text)}</pre>')
        return "".join(parts)

    def _control(self, name: str, model: Mapping, state: Mapping) -> str:
        if name in ("HTML", "HTMLMath", "Label"):
            text = str(state.get("value", ""))
            inside = _e(text) if name == "Label" else self.canvas.fitter.output(text)
            return _labelled(self.canvas.fitter, state, f"<span>{inside}</span>")
        if name == "Image":
            return _image(model, state)
        drawn = next((draw(state) for names, draw in CONTROLS if name in names), None)
        if drawn is None:
            module = model.get("model_module") or "another package"
            return note(f"A widget of {module} ({name}) stands here; only its own script draws it.")
        return _labelled(self.canvas.fitter, state, drawn)


BOXES = {
    "Box": "widget-row", "HBox": "widget-row", "VBox": "widget-column", "Tab": "widget-column",
    "Accordion": "widget-column", "Stack": "widget-column", "GridBox": "widget-row",
    "AppLayout": "widget-row", "TwoByTwoLayout": "widget-row",
}  # fmt: skip


def _e(value) -> str:
    return html.escape(str("" if value is None else value))


def _labelled(fitter, state: Mapping, control: str) -> str:
    description = str(state.get("description") or "")
    if not description:
        return f'<div class="widget-line">{control}</div>'
    if state.get("description_allow_html"):
        description = fitter.output(description)
    else:
        description = _e(description)
    return f'<div class="widget-line"><span class="label">{description}</span>{control}</div>'


def _text_of(state: Mapping) -> str:
    value = state.get("value")
    if isinstance(value, Mapping):  # a date: {"year": 2026, "month": 10, "date": 1}
        parts = [value.get("year"), value.get("month"), value.get("date")]
        value = "-".join(
            f"{part + (i == 1):02d}" for i, part in enumerate(parts) if part is not None
        )
    elif isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    return f'<span class="widget-value">{_e(value) or _e(state.get("placeholder")) or "—"}</span>'


def _slider(state: Mapping) -> str:
    least, most = state.get("min", 0), state.get("max", 100)
    value = state.get("value", least)
    if "base" in state:
        return _text_of(state)
    ends = value if isinstance(value, list) else [value]
    words = " … ".join(f"{end:g}" if isinstance(end, float) else str(end) for end in ends)
    try:
        place = ends[-1]
        meter = f'<meter min="{least:g}" max="{most:g}" value="{place:g}"></meter>'
    except (TypeError, ValueError):
        meter = ""
    return f'{meter}<span class="widget-value">{_e(words)}</span>'


def _progress(state: Mapping) -> str:
    least, most, value = (state.get(key, 0) for key in ("min", "max", "value"))
    try:
        return f'<progress max="{most - least:g}" value="{value - least:g}">{value:g}</progress>'
    except (TypeError, ValueError):
        return _text_of(state)


def _choice(state: Mapping) -> str:
    labels, index = state.get("_options_labels") or [], state.get("index")
    chosen = index if isinstance(index, list) else [index]
    parts = [
        f'<span class="widget-option{" chosen" if i in chosen else ""}">{_e(label)}</span>'
        for i, label in enumerate(labels)
    ]
    return f'<span class="widget-options">{"".join(parts)}</span>' if parts else "—"


def _dropdown(state: Mapping) -> str:
    labels, index = state.get("_options_labels") or [], state.get("index")
    text = labels[index] if isinstance(index, int) and 0 <= index < len(labels) else "—"
    return f'<span class="widget-value">{_e(text)}</span>'


def _check(state: Mapping) -> str:
    mark = "☑" if state.get("value") else "☐"
    return f'<span class="widget-value">{mark}</span>'


def _button(state: Mapping) -> str:
    return f'<span class="widget-button">{_e(state.get("tooltip") or "Button")}</span>' if not (
        state.get("description")
    ) else ""  # fmt: skip


def _colour(state: Mapping) -> str:
    return f'<span class="widget-value">{_e(state.get("value"))}</span>'


CONTROLS: tuple[tuple[frozenset[str], Callable[[Mapping], str]], ...] = (
    (frozenset({"IntSlider", "FloatSlider", "IntRangeSlider", "FloatRangeSlider", "Play",
                "FloatLogSlider"}), _slider),
    (frozenset({"IntProgress", "FloatProgress"}), _progress),
    (frozenset({"Dropdown", "SelectionSlider"}), _dropdown),
    (frozenset({"RadioButtons", "ToggleButtons", "Select", "SelectMultiple",
                "SelectionRangeSlider"}), _choice),
    (frozenset({"Checkbox", "ToggleButton", "Valid"}), _check),
    (frozenset({"Button", "FileUpload"}), _button),
    (frozenset({"ColorPicker"}), _colour),
    (frozenset({"Text", "Textarea", "Combobox", "IntText", "FloatText", "BoundedIntText",
                "BoundedFloatText", "DatePicker", "TimePicker", "DatetimePicker",
                "NaiveDatetimePicker", "Password", "TagsInput", "ColorsInput", "IntsInput",
                "FloatsInput"}), _text_of),
)  # fmt: skip


def _image(model: Mapping, state: Mapping) -> str:
    """Return the picture of an Image; its bytes are stored beside its state."""
    for buffer in model.get("buffers") or []:
        if buffer.get("path") == ["value"]:
            content = buffer.get("data", "")
            if buffer.get("encoding") == "hex":
                content = base64.b64encode(bytes.fromhex(content)).decode()
            kind = f"image/{state.get('format', 'png')}"
            if kind in pictures.KINDS:
                alt = _e(state.get("alt") or "Picture")
                return f'<img src="{pictures.address(kind, content)}" alt="{alt}">'
    return note("A picture stands here, but it was not stored with the notebook.")
