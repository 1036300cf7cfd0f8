"""The command ``diptych``. Each command imports what it needs when it is called."""

import json
import signal
import sys
from pathlib import Path

import click

from diptych import __version__

FILES = click.option(
    "-f", "--file", "files", multiple=True, metavar="FILE",
    help="Parameter file: a path, or a name under params/ such as tasks/reviews. "
    "A later file wins.",
)  # fmt: skip
VALUES = click.option(
    "-p", "--parameter", "overrides", multiple=True, metavar="NAME=VALUE",
    help="One parameter; wins over the files.",
)  # fmt: skip
OPEN = click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="diptych")
def cli():
    """Take the same task through MLOps and LLMOps, side by side, as parameterized notebooks."""


@cli.command()
@click.argument("notebook")
@FILES
@VALUES
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Put the run folder here instead of the workspace.",
)  # fmt: skip
@OPEN
def run(notebook, files, overrides, output, open_page):
    """Run NOTEBOOK, a path or a name such as mlops/2_build, with checked parameters."""
    from diptych.run.runner import run_notebook

    done = run_notebook(notebook, files, overrides, outputs_root=output)
    click.echo(done.folder)
    if open_page:
        _open(done.folder / "notebook.html")


@cli.command("list")
@click.argument("notebook", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(notebook, as_json):
    """Show the notebooks, or the parameters of NOTEBOOK."""
    from diptych.run import listing
    from diptych.run.notebooks import find_notebook

    if notebook:
        path = find_notebook(notebook)
        facts, table = listing.one(path), listing.parameter_table
    else:
        facts, table = listing.every(), listing.notebook_table
    if as_json:
        click.echo(json.dumps(facts, indent=1, ensure_ascii=False))
    else:
        click.echo(table(facts))


@cli.command()
@click.argument("scenario", nargs=-1)
@VALUES
@click.option(
    "--site", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Write the report here (default: site/).",
)  # fmt: skip
@OPEN
def report(scenario, overrides, site, open_page):
    """Run SCENARIO (default: all) as one pipeline and write the report."""
    from diptych.report import scenario as scenarios

    page = scenarios.report(scenario, overrides, site=site, progress=True)
    click.echo(page)
    if open_page:
        _open(page)


@cli.command()
def doctor():
    """Show what is installed, what is missing and what to do."""
    from diptych.run.doctor import examine

    findings = list(examine())
    marks = {True: "ok     ", False: "MISSING", None: "note   "}
    for finding in findings:
        remedy = f"\n         -> {finding.remedy}" if finding.remedy else ""
        click.echo(f"{marks[finding.ok]}  {finding.what}{remedy}")
    if any(finding.ok is False for finding in findings):
        click.echo("Something required is missing: do what the arrows say.", err=True)
        sys.exit(1)


@cli.group()
def serve():
    """Serve a model."""


@serve.command(
    "model",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve_model(arguments):
    """Serve a classical model over HTTP; --help shows the options."""
    from diptych.mlops.serve import main as serve_main

    sys.exit(serve_main(list(arguments)))


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0, 1 for a failed notebook, 2 for bad input, 130 for Ctrl-C."""
    from diptych.run.errors import NotebookFailed, ParameterError, WorkspaceError

    # A polite kill ends the kernel and keeps the partial run, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        code = cli.main(args=arguments, prog_name="diptych", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        code = 130
    except (ParameterError, WorkspaceError) as error:
        click.echo(error, err=True)
        code = 2
    except NotebookFailed as error:
        click.echo(f"\n{error}", err=True)
        code = 1
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe left; Python would complain once more
        code = 1
    except OSError as error:
        click.echo(f"{error.filename or 'diptych'}: {error.strerror or error}", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _open(page: Path) -> None:
    import webbrowser

    webbrowser.open(Path(page).absolute().as_uri())
