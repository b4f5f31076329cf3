"""`transom import`: what other gateways were told, for Transom."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transom.cli.common import AsJson, console, print_json
from transom.errors import ConfigError, StartError

if TYPE_CHECKING:
    from transom.coming_from.result import Imported

app = typer.Typer(help="Bring what another gateway was told.", no_args_is_help=True)
_RUN = {"create-keys.sh"}
"""Files that are commands."""


@app.command("litellm")
def litellm(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="LiteLLM's config.yaml.")],
    keys: Annotated[
        list[Path] | None,
        typer.Option(help="An answer of /key/list?return_full_object=true or /team/list, as JSON; may be repeated."),
    ] = None,
    into: Annotated[Path, typer.Option(help="The folder for the files, which must not have them yet.")] = Path(
        "transom-from-litellm"
    ),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing: only say what would be.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make Transom's files of LiteLLM's configuration, and list what could not be carried. Overwrites nothing."""
    from transom.coming_from.litellm import from_litellm  # noqa: PLC0415 # no other command needs to read YAML

    exports = [(str(path), _read(path)) for path in keys or ()]
    imported = from_litellm(_read(config), str(config), exports, os.environ)
    if not dry_run:
        _write(into, imported.files)
    if as_json:
        print_json({"folder": None if dry_run else str(into.absolute()), **_as_values(imported)})
    else:
        _tell(imported, into, dry_run=dry_run)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}. Name a file that is there.", file=str(path)) from error


def _write(folder: Path, files: dict[str, str]) -> None:
    """Write all files, or none where one is there already."""
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise StartError(
            f"{folder / there[0]} is there already, and nothing is overwritten. Name another folder: --into FOLDER."
        )
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
            if name in _RUN:
                path.chmod(0o755)
    except OSError as error:
        raise StartError(f"{folder} cannot be written: {error.strerror}. Name another: --into FOLDER.") from error


def _as_values(imported: "Imported") -> dict[str, object]:
    return {
        "files": imported.files,
        "not_carried": imported.left,
        "environment": imported.environment,
        "upstreams": imported.upstreams,
        "models": imported.models,
        "limits": imported.limits,
        "keys": imported.keys,
    }


def _tell(imported: "Imported", folder: Path, *, dry_run: bool) -> None:
    for left in imported.left:
        console.print(str(left), soft_wrap=True)
    console.print(
        f"\n{len(imported.models)} models, {len(imported.upstreams)} upstreams, {imported.limits} limits, "
        f"{imported.keys} keys; {len(imported.left)} remarks on what was not carried, above.",
        soft_wrap=True,
    )
    if dry_run or not imported.files:
        console.print("Nothing was written." if imported.files else "There is nothing to write.")
        return
    console.print("Written: " + ", ".join(str(folder / name) for name in imported.files), soft_wrap=True)
    if imported.environment:
        console.print("Set these where Transom is started: " + ", ".join(imported.environment), soft_wrap=True)
    console.print(
        f"Then: TRANSOM_HOME={folder.absolute()} transom config check. Or add the files to a home that you have.",
        soft_wrap=True,
    )


@app.callback()
def group() -> None:
    """Bring what another gateway was told."""
