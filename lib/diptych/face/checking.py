"""What is wrong with a run's task, looked for before a kernel starts; it imports little."""

from diptych.execution.runner import PreparedRun


def check_task(prepared: PreparedRun) -> None:
    """Find what is wrong with rows of one's own before a kernel starts.

    Raises
    ------
    ParameterError
        Naming the parameter, its value and the remedy.
    """
    if not {"task", "label_column"} <= prepared.values.keys():
        return
    from diptych.base.errors import ParameterError
    from diptych.core.data import precheck
    from diptych.core.data.sources import DataError

    try:
        precheck.check(prepared.name, prepared.values)
    except DataError as error:
        raise ParameterError(str(error)) from error
