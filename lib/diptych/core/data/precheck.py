"""What is wrong with a task of your own, looked for before a kernel starts.

Only what lies on this machine is looked at, and of a large file only its beginning.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from diptych.base import workspace
from diptych.core.data import readers, schema, sources, tasks
from diptych.core.data.sources import DataError

WHOLE = 2**20  # bytes of a file that is read whole, as the notebook will read it
SAMPLE = 2**18  # bytes of a larger text file
COLUMNS = ("text_column", "label_column", "time_column", "group_column", "read_options")


def check(notebook: str, parameters: Mapping) -> None:
    """Check the parameters of a notebook that takes a task.

    Parameters
    ----------
    notebook : str
        Only ``1_data`` needs the rows themselves; later stages have them by version.
    parameters : mapping
        Of the notebook; without ``task`` and ``label_column`` there is nothing to check.

    Raises
    ------
    DataError
        Naming the parameter, its value and the remedy.
    """
    task = parameters.get("task")
    if not task or "label_column" not in parameters or task in tasks.BUILT_IN:
        return
    if not sources.looks_like_location(task):
        tasks.get(task)  # says which tasks there are
    chosen = {name: parameters[name] for name in COLUMNS if name in parameters}
    chosen["target"] = tasks.target_of(parameters.get("metric", ""))
    own = tasks.OwnRows(readers.resolve(task), **chosen)
    _ = own.options  # refuses those that cannot be
    path = Path(own.place)
    if "://" in own.place or own.place.startswith("hf:"):
        return
    if not os.path.exists(path):
        table = workspace.tables() / tasks.name_of(task, parameters)
        if notebook.endswith("1_data") or not table.exists():
            raise DataError(sources.not_found(path))
    elif path.is_file():
        _check_file(own, path)


def _check_file(own: tasks.OwnRows, path: Path) -> None:
    if path.stat().st_size <= WHOLE:
        own.interpret(own.read_raw())
    elif columns := readers.columns_of_beginning(path, own.options, own.named, SAMPLE):
        schema.check_columns(columns, *own.columns)
