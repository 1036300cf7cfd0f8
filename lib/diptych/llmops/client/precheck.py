"""What is wrong with the models that a notebook is to ask, looked for before a kernel starts."""

from collections.abc import Mapping

from diptych.base import groups, process_environment, workspace
from diptych.base.errors import ParameterError

LOCAL, SERVER = "local", "xllamacpp"


def check(parameters: Mapping) -> None:
    """Check the parameters ``models`` and ``judge`` of a notebook that has them.

    Parameters
    ----------
    parameters : mapping

    Raises
    ------
    ParameterError
        If an endpoint is unknown, has no model or no key, or needs a package that is not
        installed, or if a local model or a recording is not here: its name and the remedy.
    """
    models, judge = parameters.get("models"), parameters.get("judge")
    for text in models if isinstance(models, list) else ():
        _check("models", str(text))
    if isinstance(judge, str) and judge:
        _check("judge", judge)


def _check(parameter: str, text: str) -> None:
    is_local = text == LOCAL or text.startswith(f"{LOCAL}/")
    if is_local and (problem := groups.missing(SERVER)):
        raise ParameterError(
            f"{parameter}: {text!r}: {problem}. Or name a remote model: openai/gpt-5-mini"
        )
    if text != LOCAL:
        _check_target(parameter, text)


def _check_target(parameter: str, text: str) -> None:
    from diptych.llmops.client.target import Target
    from diptych.llmops.server.process import EndpointError

    try:
        target = Target.parse(text)
        model = target.model_name
        if model:
            _check_access(target)
    except (EndpointError, ValueError) as error:
        raise ParameterError(f"{parameter}: {str(error).removeprefix('model: ')}") from error
    if not model:
        mark = "#" if "://" in text else "/"
        raise ParameterError(
            f"{parameter}: {text!r} does not say which model; append its name: {text}{mark}NAME"
        )


def _check_access(target) -> None:
    """Look for a local model's file, or a hosted one's key.

    What the ledger holds is answered without a key, so a model that answered before needs none. A
    file of the hub is downloaded when it is asked.
    """
    from diptych.llmops.server import process

    if target.is_local:
        if not target.server["model"].startswith("hf:"):
            process.model_file(target.server["model"])
        return
    try:
        target.provider.key()
    except process.EndpointError:
        if not _answered(target.provider.name):
            raise


def _answered(endpoint: str) -> bool:
    """Say whether the ledger holds calls of an endpoint."""
    from diptych.core.store.calls import Calls

    with Calls(process_environment.ledger() or workspace.ledger_path()) as calls:
        return calls.spent(endpoint=endpoint)["calls"] > 0
