"""`transom config`: the declared files."""

import typer

from transom.app.build import open_declared_database
from transom.app.declared import read_running, read_settings
from transom.app.home import find_home, prepare
from transom.cli.common import AsJson, console, print_json
from transom.policy.vocabulary import starter_files

app = typer.Typer(help="Check the declared files.", no_args_is_help=True)


@app.command("check")
def check(as_json: AsJson = False) -> None:
    """Read transom.toml and the policies as a start or reload would, and say what is wrong where. Changes nothing."""
    home = find_home()
    prepare(home)
    settings = read_settings(home)
    open_declared_database(home, settings).close()
    with settings.source.placing():
        for name, kept in settings.ledger.sources._asdict().items():
            if kept is not None:
                kept.resolve(f"ledger.{name}")
    running = read_running(home, settings)
    if as_json:
        print_json(
            {
                "ok": True,
                "models": [version.name for version in running.registry.versions],
                "policies": len(running.policies.policies),
                "policy_digest": running.policies.digest,
                "settings_digest": running.settings_digest,
            }
        )
        return
    console.print(
        f"{home.path} is in order: {len(running.registry.versions)} models, {len(running.policies.policies)} policies "
        f"in {len(running.policies.files)} files.",
        soft_wrap=True,
    )


@app.command("starter")
def starter() -> None:
    """Print the starter policies of this version, to compare with your own. Changes nothing."""
    typer.echo("\n".join(starter_files().values()), nl=False)


@app.callback()
def group() -> None:
    """Check the declared files."""
