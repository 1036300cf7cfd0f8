"""Networks of torch as plain text: layers of `torch.nn` in a row, written and built again."""

import inspect
import json
from typing import Any

from diptych.mlops.models.estimators import Convolutional, ModelError


def is_network(estimator: Any) -> bool:
    """Whether something is a network of torch; torch is not imported for the question."""
    return any(kind.__module__ == "torch.nn.modules.module" for kind in type(estimator).__mro__)


def layers_of(network: Any) -> str:
    """Return the layers of a network as JSON, from which `build` makes an equal one.

    Raises
    ------
    ModelError
        If it is no ``nn.Sequential`` of layers of `torch.nn`: other code could not be loaded
        elsewhere.
    """
    from torch import nn

    written = []
    for layer in network if isinstance(network, nn.Sequential) else [network]:
        kind = type(layer)
        if isinstance(layer, nn.Sequential) or not kind.__module__.startswith("torch.nn.modules."):
            raise ModelError(
                f"cnn: the network holds a {kind.__name__}; give one nn.Sequential of layers of "
                "torch.nn, or put the class into a module and offer it as a plugin "
                "(see docs/plugins.md)"
            )
        names = list(inspect.signature(kind.__init__).parameters)[1:]
        values = {name: getattr(layer, name) for name in names if hasattr(layer, name)}
        if "bias" in values:
            values["bias"] = values["bias"] is not None
        written.append([kind.__name__, values])
    return json.dumps(written)


def is_default(network: Any, pixels: int, classes: int) -> bool:
    """Whether a network is the one of the family ``cnn``."""
    return str(network) == str(Convolutional().shaped(pixels, classes))
