"""`transom explain`: the story of one decision."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from transom.cli.common import AsJson, console, stores
from transom.decisions import explain as stories


def explain(
    id_: Annotated[str, typer.Argument(metavar="ID", help="A decision's id: the transom-decision header's.")],
    content: Annotated[bool, typer.Option("--content", help="Show the prompt and the answer too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell the whole story of one request: who asked, what was ruled and why, what came of it, and the proof."""
    with stores() as opened, opened.database.begin(write=False) as connection:
        vault = opened.vault if content else None
        story = stories.explain(connection, opened.objects, opened.keys, id_, vault=vault)
    if as_json:
        print(stories.to_json(story).decode())
        return
    table = Table(show_header=False, box=None, title=f"Decision {story.id}", title_justify="left", pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for word, sentence in stories.tell(story):
        table.add_row(word, Text(_printable(sentence)))
    for part in story.content:
        table.add_row(part.part, Text(_printable(part.text or "not kept")))
    console.print(table)


def _printable(text: str) -> str:
    """Take out what would act on a terminal: a model's answer may hold escape sequences."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
