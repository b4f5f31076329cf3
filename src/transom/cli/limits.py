"""`transom limits`: what is spent and held of each limit."""

import typer
from rich.table import Table

from transom.callers.keys import Keyring
from transom.cli.common import AsJson, console, print_json, stores
from transom.metering import overview
from transom.metering.limits import counted_rules

app = typer.Typer(help="Show how budgets and limits on calls under way stand.", no_args_is_help=True)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List what is spent and held of every limit that the database counts, the fullest first. Rates are not shown."""
    with stores() as opened, opened.database.begin(write=False) as connection:
        keyring = Keyring(opened.keys.pseudonym)
        keyring.reload(connection)
        rules = counted_rules(opened.settings.limits)
        found = overview.read(connection, rules, keyring.caller)
    if as_json:
        print_json(found)
        return
    if not found:
        console.print("Nothing is spent or held of any limit." if rules else "No such limit is declared ([[limits]]).")
        return
    table = Table("limit", "who", "window", "spent", "held", "limit")
    for each in found:
        who = each.name or each.who
        table.add_row(each.limit, who, each.window, each.spent, each.held, f"{each.ceiling} {each.unit}")
    console.print(table)
