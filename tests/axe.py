"""Runs axe-core, as the package axe-core-python brings it along, in a page of the browser."""

from importlib import resources

RUN = "axe.run(document, {resultTypes: ['violations']})"


def violations(chromium) -> list[str]:
    """Return what axe-core finds wrong with the page shown, a line each."""
    source = (resources.files("axe_core_python") / "axe.min.js").read_text("utf-8")
    chromium.call("Runtime.evaluate", expression=source)
    answer = chromium.call(
        "Runtime.evaluate", expression=RUN, awaitPromise=True, returnByValue=True
    )
    found = answer["result"]["value"]["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:200]}"
        for rule in found
        for node in rule["nodes"]
    ]
