"""`transom up`: serve, engine included."""

import asyncio
from typing import Annotated

import typer
import uvloop

from transom.app.home import Home, find_home
from transom.app.up import up as serve_home
from transom.callers.issue import Issued
from transom.cli.common import console
from transom.cli.models import Pulling

_FIRST = """
  Your first key (group operators), shown this once:

    {key}

  Ask the open model:

    curl {url}/v1/chat/completions \\
      -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \\
      -d '{{"model": "smollm2-135m-instruct", "temperature": 0, "messages": [
           {{"role": "system", "content": "You answer in one sentence."}},
           {{"role": "user", "content": "What is the capital of France?"}}]}}'

  or, after `pip install openai`:

    from openai import OpenAI
    client = OpenAI(base_url="{url}/v1", api_key="{key}")
    answer = client.chat.completions.create(
        model="smollm2-135m-instruct",
        temperature=0,
        messages=[
            {{"role": "system", "content": "You answer in one sentence."}},
            {{"role": "user", "content": "What is the capital of France?"}},
        ],
    )
    print(answer.choices[0].message.content)
"""


def up(
    port: Annotated[int | None, typer.Option(help="Listen here instead of where transom.toml says.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Serving processes.")] = None,
) -> None:
    """Serve this door until Ctrl-C: settings, state and keys are in TRANSOM_HOME (default ~/.transom)."""
    with Pulling() as pulling, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_home(find_home(), _Screen(pulling), port=port, workers=workers))


class _Screen:
    """Says on the terminal what happens."""

    def __init__(self, pulling: Pulling) -> None:
        self.pulling = pulling

    def serving(self, url: str, home: Home, first_key: Issued | None) -> None:
        """Say that requests are answered, and where."""
        console.print(f"\nTransom answers at {url}", style="bold", soft_wrap=True)
        console.print(
            f"  pages      {url}/\n  settings   {home.settings}\n  policies   {home.policies}", soft_wrap=True
        )
        if first_key is not None:
            console.print(_FIRST.format(key=first_key.key, url=url), markup=False, soft_wrap=True)
        console.print("Ctrl-C stops everything.", soft_wrap=True)

    def engine(self, state: str, error: str | None) -> None:
        """Say how the engine is."""
        said = {"starting": "loading the embedded model …", "ready": "the embedded model is ready"}.get(state, state)
        console.print(f"  engine     {said}{': ' + error if error and state != 'ready' else ''}", markup=False)

    def stopping(self) -> None:
        """Say that the end has begun."""
        console.print("Stopping.")
