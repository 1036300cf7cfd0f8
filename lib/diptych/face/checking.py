"""What is wrong with a run's task or models, looked for before a kernel starts; imports little."""

from diptych.execution.runner import PreparedRun


def check(prepared: PreparedRun) -> None:
    """Find what is wrong with rows of one's own, or with models, before a kernel starts.

    Raises
    ------
    ParameterError
        Naming the parameter, its value and the remedy.
    """
    if {"models", "judge"} & prepared.values.keys():
        from diptych.llmops.client import precheck as models

        models.check(prepared.values)
    if not {"task", "label_column"} <= prepared.values.keys():
        return
    from diptych.base.errors import ParameterError
    from diptych.core.data import precheck
    from diptych.core.data.sources import DataError

    try:
        precheck.check(prepared.name, prepared.values)
    except DataError as error:
        raise ParameterError(str(error)) from error
