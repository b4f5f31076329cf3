"""`transom backup` and `transom restore`."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn

from transom.app import backup as backups
from transom.app.backup import Restored, Told
from transom.app.home import find_home
from transom.cli.common import AsJson, console, print_json, stores
from transom.errors import InvalidRequest, StartError

_SECONDS = 20
_MOST_BYTES = 1 << 20
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The backup's folder.")]


def backup(
    folder: Folder,
    keys: Annotated[
        bool, typer.Option("--keys", help="Copy the door's own secrets too. Whoever has all of it reads everything.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write everything that this home holds into a new folder, as of one moment, while the door goes on serving."""
    with stores() as opened, _progress(quiet=as_json) as told:
        manifest = backups.back_up(opened, folder.absolute(), keys=keys, told=told)
    if as_json:
        print_json({"folder": str(folder.absolute()), "at": manifest.at, "rows": manifest.rows})
        return
    console.print(
        f"{sum(manifest.rows.values())} rows as of {manifest.at} are in {folder}. Delete its record-keys/ sooner than "
        "the rest: until then it holds what is erased here later.",
        soft_wrap=True,
    )
    if not keys:
        console.print(f"The door's own keys are not in it: keep {find_home().data / 'keys'} apart.", soft_wrap=True)


def restore(
    folder: Folder,
    published: Annotated[
        str | None, typer.Option(help="The newest checkpoint that anybody outside has: a file or an http(s) address.")
    ] = None,
    unpublished: Annotated[
        bool, typer.Option("--unpublished", help="Nobody outside has seen a newer checkpoint than the backup's.")
    ] = False,
    keys: Annotated[Path | None, typer.Option(help="A folder with the door's own keys.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make TRANSOM_HOME of a backup, the log from its rows, and verify it all. Exit status 1 if anything is wrong."""
    if (published is not None) == unpublished:
        raise InvalidRequest(
            "Say what others have seen of this log, so that no second history is signed: --published ADDRESS of its "
            "newest checkpoint (a mirror, a witness or a monitor has one), or --unpublished."
        )
    seen = None if published is None else _fetch(published)
    with _progress(quiet=as_json) as told:
        done = backups.restore(find_home(), folder.absolute(), keys=keys, published=seen, told=told)
    if as_json:
        problems = [{"where": problem.where, "what": problem.what} for problem in done.report.problems]
        facts = {"ok": done.report.ok, "size": done.report.size, "closed": done.closed, "erased": done.erased}
        print_json(facts | {"problems": problems})
    else:
        _tell(done)
    if not done.report.ok:
        raise typer.Exit(1)


def _tell(done: Restored) -> None:
    report = done.report
    for problem in report.problems:
        console.print(f"{problem.where}: {problem.what}", style="red", markup=False, soft_wrap=True)
    console.print(
        f"{find_home().path} holds what was backed up at {done.manifest.at}: {report.size} entries in the log, "
        f"{report.contents} contents. {done.closed} decisions that were open then are closed as interrupted.",
        soft_wrap=True,
    )
    if done.erased:
        console.print(
            f"The contents of {done.erased} decisions are erased: the backup had no keys for them any more, and that "
            "is on record.",
            soft_wrap=True,
        )
    if done.kept_settings:
        console.print("The home had settings of its own; they stay as they are.", soft_wrap=True)
    verdict = "Everything verifies." if report.ok else f"{report.problem_count} problems."
    console.print(f"{verdict} What was erased since then is here again: erase it again.", soft_wrap=True)


def _fetch(place: str) -> bytes:
    try:
        if not place.startswith(("http://", "https://")):
            return Path(place).read_bytes()
        with urllib.request.urlopen(place, timeout=_SECONDS) as answer:  # noqa: S310 - http and https only, see above
            data: bytes = answer.read(_MOST_BYTES)
            return data
    except OSError as error:
        raise StartError(f"{place} cannot be read: {error}. Name the log's newest checkpoint.") from error


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Told]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total}"))
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def told(what: str, done: int, whole: int) -> None:
            bar.update(task, description=what, completed=done, total=whole)

        yield told
