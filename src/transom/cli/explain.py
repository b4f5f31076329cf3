"""`transom explain`: the story of one decision."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from transom.app.build import Stores
from transom.audit.looks import REASONS, Look, read_why, record_look
from transom.cli.common import AsJson, console, stores
from transom.decisions import explain as stories
from transom.decisions.governance import TERMINAL

_WHY = f"With --content, why you look, in a word, for the record: {', '.join(REASONS)} …"


def explain(
    id_: Annotated[str, typer.Argument(metavar="ID", help="A decision's id: the transom-decision header's.")],
    content: Annotated[bool, typer.Option("--content", help="Show the prompt and the answer too.")] = False,
    reason: Annotated[str, typer.Option(help=_WHY)] = "",
    note: Annotated[str, typer.Option(help="With --content, what else there is to say of why; kept sealed.")] = "",
    as_json: AsJson = False,
) -> None:
    """Tell the whole story of one request: who asked, what was ruled and why, what came of it, and the proof."""
    with stores() as opened:
        with opened.database.begin(write=False) as connection:
            story = stories.explain(connection, opened.objects, opened.keys, id_)
        if content:
            story = _look(opened, story, reason, note)
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


def _look(opened: Stores, story: stories.Story, reason: str, note: str) -> stories.Story:
    """Put the look on the record, and only then read what was said."""
    look = Look(
        by=opened.keys.pseudonym(TERMINAL),
        decisions=(story.id,),
        why=read_why(reason, note),
        retain_seconds=opened.settings.retention.default,
    )
    with opened.database.begin() as connection:
        record_look(connection, opened.vault, look)
    with opened.database.begin(write=False) as connection:
        return stories.explain(connection, opened.objects, opened.keys, story.id, vault=opened.vault)


def _printable(text: str) -> str:
    """Take out what would act on a terminal: a model's answer may hold escape sequences."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
