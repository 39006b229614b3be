"""``course``: list, run, build and look after the lessons.

Only names that every command needs are imported above; ``course --help`` must be there at
once, so each command imports what it works with.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from course_lib.errors import CourseError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="course",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""A course on predicting what shoppers do next, in Jupyter notebooks.

    Learners start with: course lab. Instructors run lessons on any log with: course run.
    Maintainers bring stored notebooks up to date with: course build.

    Bad input is answered with one sentence on standard error and exit status 2, before
    anything is written; a lesson that fails gives exit status 1.
    """,
    epilog="""\b
Examples:
  course lab
  course list
  course run
  course run 01 02 05 -p dataset=eshop -p seed=7 --out results
  course data import orders.csv --user customer --time when --item sku
  course hint 02.1

COURSE_DATA names a folder of logs that are already on this machine.""",
)
data_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    short_help="List, describe, fetch and import logs.",
    help="Logs: which there are, what they hold, fetching published ones, importing your own.",
)
app.add_typer(data_app, name="data")

Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", "-j", min=1, help="Notebooks at once; by default one a core, at most 2."
    ),
]
CellTimeout = Annotated[int, typer.Option(min=1, help="Seconds that one cell may take.")]


def _default_jobs(jobs: int | None) -> int:
    return jobs or min(2, os.cpu_count() or 1)


def _relative(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _show_version(wanted: bool) -> None:
    if wanted:
        from course_lib import __version__

        typer.echo(f"course {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Take the options that stand before a command; `app` has the help."""


@app.command(name="list", short_help="Lessons, minutes, needs, parameters.")
def list_lessons() -> None:
    """List the lessons: minutes, what each needs of a log, and its parameters."""
    from course_lib.folders import course_folder
    from course_lib.runs.lessons import all_lessons
    from course_lib.runs.parameters import read_parameters

    for lesson in all_lessons(course_folder(required=True)):
        unit = "minute" if lesson.minutes == 1 else "minutes"
        typer.echo(f"{lesson.number}  {lesson.title}  ({lesson.minutes:g} {unit})")
        if lesson.question:
            typer.echo(f"    {lesson.question}")
        typer.echo(f"    needs: {lesson.needs}")
        declared = read_parameters(lesson.path).values()
        texts = [f"{one.name}: {one.type_name} = {one.default!r}" for one in declared]
        width = max(map(len, texts), default=0)
        for text, one in zip(texts, declared, strict=True):
            typer.echo(f"    -p {text:<{width}}  {one.help}".rstrip())
        typer.echo()


@app.command(
    short_help="Execute lessons, gather the results in one page.",
    epilog="""\b
Examples:
  course run                                     every lesson, as it stands
  course run 05 -p seed=3                        lesson 05 with another seed
  course run 01 02 05 -p dataset=eshop -p seed=7 --out results
  course run 05 -p seed=1 -p seed=2 -p dataset=shopworld -p dataset=jd
                                                 a grid: four runs of lesson 05
  course run --resume                            the rest of the newest folder of runs

\b
In the folder: notebooks/ (executed), pages/ (the same for a browser), results/ (one JSON
file a run) and index.html (status, seconds, claims by log). Later runs into the same folder
are added to its index. Exit status: 0 all ran, 1 a lesson failed, 2 bad input, 130 Ctrl-C.""",
)
def run(
    lessons: Annotated[
        list[str] | None,
        typer.Argument(help="Numbers or file names; all lessons if none is named."),
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            "-p",
            metavar="NAME=VALUE",
            help="A parameter's value; the same name again spans a grid. See: course list.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the results.  [default: a new one in runs/]"),
    ] = None,
    jobs: Jobs = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Do only the runs that have not succeeded there with the lesson as it is now; "
            "without lessons and parameters, of what was asked for there last.",
        ),
    ] = False,
    cell_timeout: CellTimeout = 1800,
) -> None:
    """Execute lessons with papermill and gather the results in one page.

    Names and values of parameters are checked against each lesson before anything starts, and
    so is whether the log can serve it; a published log that is not here is fetched. Without
    lesson names, lessons that the log cannot serve are left out, and named.
    """
    from course_lib.folders import course_folder
    from course_lib.runs import execution, report

    root = course_folder(required=True)
    lessons, parameters = lessons or [], parameters or []
    if resume:
        folder = out or execution.newest_folder(root)
        if not lessons and not parameters:
            lessons, parameters = execution.last_request(folder)
    else:
        folder = out or execution.new_folder(root)
    runs, left_out = execution.plan(root, lessons, parameters)
    todo = execution.unfinished(runs, folder) if resume else runs
    execution.fetch_logs(todo)
    execution.remember_request(folder, lessons, parameters)
    for sentence in left_out:
        typer.echo(sentence, err=True)
    if resume:
        typer.echo(f"{len(runs) - len(todo)} of {len(runs)} runs are done already.")
    interrupted = False
    results: list[execution.Result] = []
    try:
        if todo:
            results = execution.execute_runs(
                todo, folder, jobs=_default_jobs(jobs), cell_timeout=cell_timeout
            )
    except KeyboardInterrupt:
        interrupted = True
    if (folder / "results").is_dir():
        index = report.write_index(folder)
        typer.echo(f"Executed notebooks: {_relative(folder / 'notebooks')}")
        typer.echo(f"Index of results:   {_relative(index)}")
    if interrupted:
        again = f"course run --out {shlex.quote(_relative(folder))} --resume does the rest"
        typer.echo(f"Interrupted; finished runs are kept; {again}.", err=True)
        raise typer.Exit(INTERRUPTED)
    if any(result.error is not None for result in results):
        raise typer.Exit(FAILED)


@app.command()
def lab(
    lesson: Annotated[str, typer.Argument(help="The lesson to open.")] = "00",
    options: Annotated[
        list[str] | None,
        typer.Argument(help="Passed on to JupyterLab after --, for example -- --no-browser."),
    ] = None,
) -> None:
    """Open JupyterLab on a lesson."""
    from course_lib.folders import course_folder
    from course_lib.runs.lessons import pick_lessons

    root = course_folder(required=True)
    if lesson.startswith("-"):  # course lab -- --no-browser: no lesson is named
        lesson, options = "00", [lesson, *(options or ())]
    path = pick_lessons(root, [lesson])[0].path.relative_to(root)
    # As the default address the lesson is also what the printed link opens.
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--LabApp.default_url=/lab/tree/{path.as_posix()}",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # in a container there is often nobody else
    command += options or ()
    with_library = os.pathsep.join(
        filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")])
    )
    try:
        status = subprocess.call(command, cwd=root, env={**os.environ, "PYTHONPATH": with_library})
    except KeyboardInterrupt:
        status = 0
    raise typer.Exit(status)


@app.command(
    short_help="Bring exercises and stored outputs up to date.",
    epilog="""\b
Examples:
  course build                 everything
  course build 05              lesson 05, its solution and its exercises
  course build --no-execute    after an edit of prose or of an exercise's text
  course build --check         what would change; exit status 1 if anything would""",
)
def build(
    lessons: Annotated[
        list[str] | None, typer.Argument(help="Lessons to build; all if none is named.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Say what differs, write nothing, exit 1 if any.")
    ] = False,
    execute: Annotated[
        bool,
        typer.Option("--execute/--no-execute", help="Execute lessons and solutions."),
    ] = True,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Store every new output, also those equal but for noise."),
    ] = False,
    jobs: Jobs = None,
    cell_timeout: CellTimeout = 1800,
) -> None:
    """Regenerate the exercises, execute lessons and solutions, store their outputs.

    Outputs are stored in a normal form, so that a second build changes nothing. An output
    that is equal but for addresses, durations and the like, or, in a cell tagged
    nbval-ignore-output, but for its numbers and pictures, is left as it is stored.
    """
    from course_lib.folders import course_folder
    from course_lib.runs.build import build as build_notebooks

    findings = build_notebooks(
        course_folder(required=True),
        lessons or (),
        check=check,
        execute=execute,
        fresh=fresh,
        jobs=_default_jobs(jobs),
        cell_timeout=cell_timeout,
    )
    faults = [finding for finding in findings if finding.fault]
    for finding in findings:
        typer.echo(str(finding), err=finding.fault)
    if not findings:
        typer.echo("Everything is up to date.")
    elif not check:
        typer.echo(f"{len(findings) - len(faults)} notebooks brought up to date.")
    if faults or (check and findings):
        raise typer.Exit(FAILED)


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="A module of tests/benchmarks.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one line: a flat JSON object.")
    ] = False,
) -> None:
    """Run one benchmark and print its figures."""
    from course_lib.folders import course_folder
    from course_lib.runs.bench import run_benchmark

    figures = run_benchmark(course_folder(required=True), name)
    width = max(map(len, figures), default=0)
    for key, value in figures.items():
        typer.echo(
            f"{key:<{width}}  {value:,.6g}"
            if isinstance(value, float)
            else f"{key:<{width}}  {value}"
        )
    if as_json:
        typer.echo(json.dumps(figures))


@app.command(short_help="Check the environment; remedies beside faults.")
def doctor() -> None:
    """Look at Python, packages, kernel, device, logs and disk; say what to do about faults."""
    from course_lib.folders import course_folder
    from course_lib.runs.doctor import diagnose

    faults = 0
    for diagnosis in diagnose(course_folder(required=True)):
        typer.echo(str(diagnosis))
        faults += bool(diagnosis.remedy)
    if faults:
        raise typer.Exit(FAILED)


@app.command()
def progress() -> None:
    """Show which exercises are passed, tried and open."""
    from course_lib.checks import progress as standing

    typer.echo(str(standing()))


@app.command()
def hint(exercise: Annotated[str, typer.Argument(help="For example 02.1.")]) -> None:
    """Give the next hint of an exercise."""
    from course_lib.checks import core
    from course_lib.checks import hint as next_hint

    core.find(exercise)
    typer.echo(str(next_hint(exercise)))


@app.command(short_help="Put an exercise's answer cell back.")
def reset(exercise: Annotated[str, typer.Argument(help="For example 02.1.")]) -> None:
    """Put the answer cell of an exercise back as it was, and forget its tries."""
    from course_lib.checks.reset import reset as put_back

    typer.echo(str(put_back(exercise)))


@data_app.command(name="list", short_help="List the logs, their tasks, and which are here.")
def list_logs() -> None:
    """List the logs, the tasks each can serve, and whether it is on this machine."""
    from course_lib import datasets

    names = datasets.names()
    width = max(map(len, names))
    for name in names:
        card = datasets.card(name)
        here = "here" if datasets.available(name) else "not here yet"
        typer.echo(f"{name:<{width}}  {card.title}")
        typer.echo(f"{'':<{width}}  {here}; serves {', '.join(card.tasks)}; clock: {card.clock}")


@data_app.command(short_help="Show a log's card: columns, size, licence, source.")
def describe(name: Annotated[str, typer.Argument(help="A log's name.")]) -> None:
    """Show a log's card: columns, size, licence, citation, where it comes from."""
    from course_lib import datasets

    typer.echo(str(datasets.card(name)))


@data_app.command(short_help="Fetch published logs from their official address.")
def fetch(
    names: Annotated[list[str], typer.Argument(help="Logs to fetch, by name.")],
) -> None:
    """Fetch published logs from their official address, checked against their checksum."""
    from course_lib import datasets

    for name in names:
        datasets.card(name)
    for name in names:
        for path in datasets.fetch(name):
            typer.echo(f"{name}: {path}")


@data_app.command(
    name="import",
    short_help="Read your own shop's log; report what was done.",
    epilog="""\b
Examples:
  course data import orders.csv --user customer --time when --item sku
  course data import shop.csv.gz --user u --time t --item i --event action --sep ';'
      --map-event buy=purchase --map-event click=view --name myshop
Then, for example: course run 01 -p dataset=myshop""",
)
def import_file(
    file: Annotated[Path, typer.Argument(help="CSV (gzipped or not) or Parquet.")],
    user: Annotated[str | None, typer.Option(help="Column that says who acted.")] = None,
    time: Annotated[str | None, typer.Option(help="Column that says when.")] = None,
    item: Annotated[str | None, typer.Option(help="Column that says on which item.")] = None,
    event: Annotated[str | None, typer.Option(help="Column that says what happened.")] = None,
    session: Annotated[str | None, typer.Option(help="Column of the shop's own sessions.")] = None,
    category: Annotated[str | None, typer.Option(help="Column of the item's category.")] = None,
    price: Annotated[str | None, typer.Option(help="Column of the price per unit.")] = None,
    map_event: Annotated[
        list[str] | None,
        typer.Option(metavar="THEIRS=OURS", help="What a value of the event column means."),
    ] = None,
    sep: Annotated[str | None, typer.Option(help="What separates columns.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of the text; UTF-8 by default.")] = None,
    name: Annotated[str | None, typer.Option(help="What to call the log.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the imported log.")] = None,
) -> None:
    """Read your own shop's log, repair what can be repaired, and say what was done.

    Columns that are not named are guessed, and the report says what was guessed. Rows that
    cannot be used are put in quarantine with the reason; none vanishes.
    """
    from course_lib.datasets.own_csv import import_log

    mapping = {}
    for text in map_event or ():
        theirs, equals, ours = text.partition("=")
        if not (equals and theirs and ours):
            raise CourseError(f"{text!r} maps no event: write --map-event THEIRS=OURS.")
        mapping[theirs] = ours
    typer.echo(
        str(
            import_log(
                file,
                user=user,
                time=time,
                item=item,
                event=event,
                session=session,
                category=category,
                price=price,
                map_event=mapping,
                sep=sep,
                encoding=encoding,
                name=name,
                out=out,
            )
        )
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; bad input ends with one sentence and exit status 2.

    Args:
        arguments: Instead of ``sys.argv[1:]``.
    """
    # Where notebooks share the cores, threads of scikit-learn that wait must not keep them busy:
    # boosted trees took ten to forty times as long beside another program.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        app(arguments)
    except CourseError as error:
        print(f"course: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except BrokenPipeError:
        # The reader went away (course list | head): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
