"""What is wrong with the models that a notebook is to ask, looked for before a kernel starts."""

from collections.abc import Mapping

from diptych.base import groups
from diptych.base.errors import ParameterError

LOCAL, SERVER = "local", "xllamacpp"


def check(parameters: Mapping) -> None:
    """Check the parameter ``models`` of a notebook that has one.

    Parameters
    ----------
    parameters : mapping

    Raises
    ------
    ParameterError
        If an endpoint is unknown, has no model, or needs a package that is not installed: the
        model's name and the remedy.
    """
    models = parameters.get("models")
    for text in models if isinstance(models, list) else ():
        if text == LOCAL or str(text).startswith(f"{LOCAL}/"):
            if problem := groups.missing(SERVER):
                raise ParameterError(
                    f"models: {text!r}: {problem}. Or name a remote model: "
                    "-p 'models=[\"openai/gpt-5-mini\"]'"
                )
        else:
            _check_remote(str(text))


def _check_remote(text: str) -> None:
    from diptych.llmops.client.target import Target
    from diptych.llmops.server.process import EndpointError

    try:
        target = Target.parse(text)
        model = target.model_name
    except (EndpointError, ValueError) as error:
        raise ParameterError(f"models: {error}") from error
    if not model:
        mark = "#" if "://" in text else "/"
        raise ParameterError(
            f"models: {text!r} does not say which model; append its name: {text}{mark}NAME"
        )
