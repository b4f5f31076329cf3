"""Keys and teams of LiteLLM's database, as `/key/list` and `/team/list` answer: to limits, policies and new keys.

Keys themselves cannot come along: LiteLLM keeps hashes of them. Each gets a new one, in the group of its team, held to
the models that it was for.
"""

import re
import shlex
from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase

import msgspec

from transom.coming_from import advice
from transom.coming_from.nodes import Node
from transom.coming_from.reading import Notes, Table
from transom.coming_from.result import Declared
from transom.metering.money import amount_problem
from transom.metering.settings import LimitSettings

EVERYBODY = "litellm"
"""The group of keys that belong to no team."""
_OF_A_TEAM = "litellm-"
"""Begins the group of each team: whatever a team is called, it is none of the groups that other policies speak of."""
_EVERY_MODEL = frozenset(("*", "all-proxy-models", "all-team-models"))
_WINDOWS = {"1d": "day", "24h": "day", "30d": "month", "1mo": "month", None: "total"}
"""LiteLLM's `budget_duration`. Its 30 days end with the month (it resets on the first), as Transom's do."""
_NO_WINDOW = "begins anew neither with a day nor with a month. Declare [[limits]] with money per day, month or total."


class Team(msgspec.Struct):
    """A team: the group that it is here, and the models it may use; `None`: all."""

    name: str
    models: list[str] | None = None


class Grant(msgspec.Struct):
    """A key to be created."""

    name: str
    group: str
    models: list[str]
    """It is for these, and for all where there are none."""
    expires: datetime | None = None


class People:
    """Reads the answers of one export after the other."""

    def __init__(self, declared: Declared) -> None:
        self._declared = declared
        self._teams: list[Team] = []
        self._teams_by_id: dict[str, Team] = {}
        self._names: set[str] = set()
        self.grants: list[Grant] = []
        self._keys: list[tuple[Table, Notes]] = []

    def read(self, root: Node, notes: Notes) -> None:
        """Read an answer, or a list of answers; keys wait for their teams, which may come later."""
        rows = list(_rows(root))
        _check_pages(root, notes)
        if not rows:
            notes.add(
                0, "", "holds neither keys nor teams. Save what /key/list?return_full_object=true or /team/list says."
            )
        for place, row in rows:
            if isinstance(row.value, str):
                notes.add(0, place, "is a key's hash alone. Ask GET /key/list?return_full_object=true for the rest.")
                continue
            table = Table(row, place, notes)
            if any(name in table for name in ("token", "key_alias", "key_name")):
                self._keys.append((table, notes))
            else:
                self._team(table, notes)

    def finish(self) -> None:
        """Read the keys, now that all teams are known."""
        for table, notes in self._keys:
            self._key(table, notes)
        self._keys = []

    def policies(self) -> str:
        """Return who may use what, as Cedar; empty where nobody came along."""
        if not self.grants and not self._teams:
            return ""
        teams = [*self._teams]
        if any(grant.group == EVERYBODY for grant in self.grants):
            teams.append(Team(EVERYBODY))
        permits = [_permit(index, team) for index, team in enumerate(teams, 1) if team.models != []]
        return "\n".join([_HEAD, *permits])

    def commands(self) -> str:
        """Return a script that issues the keys. Nothing that was imported gets into it but quoted, or made anew."""
        lines = [_SCRIPT]
        for grant in self.grants:
            models = "".join(f" --model {shlex.quote(model)}" for model in grant.models)
            if grant.expires is not None:
                when = grant.expires.isoformat()
                lines.append(f"# The next one was to expire at {when}: add --expires 30d, or what is left.")
            lines.append(f"transom keys create {shlex.quote(grant.name)} --group {shlex.quote(grant.group)}{models}")
        return "\n".join([*lines, ""])

    def _team(self, table: Table, notes: Notes) -> None:
        id_, alias = table.text("team_id"), table.text("team_alias")
        name = self._name(alias or id_, table, notes, _OF_A_TEAM)
        if name is None:
            return
        team = Team(name, self._models(table, notes))
        if table.flag("blocked"):
            notes.add(0, table.at("blocked"), f"the team {name!r} is blocked: it gets no permit.")
            team.models = []
        self._teams.append(team)
        if id_ is not None:
            self._teams_by_id[id_] = team
        self._limit(name, {"group": name, "per": "all"}, table, notes)

    def _key(self, table: Table, notes: Notes) -> None:
        team_id = table.text("team_id")
        alias, masked = table.text("key_alias"), table.text("key_name")
        name = self._name(alias or masked or "key", table, notes)
        if name is None:
            return
        expires = _date(table, notes)
        if table.flag("blocked"):
            notes.add(0, table.place, f"the key {name!r} is blocked: none is issued in its place.")
            return
        models = self._models(table, notes)
        if models == []:
            notes.add(0, table.at("models"), f"the key {name!r} is for none of the models here: none is issued.")
            return
        group = EVERYBODY if team_id is None else self._team_of(team_id, table, notes).name
        self.grants.append(Grant(name, group, models or [], expires))
        self._limit(name, {"key": name}, table, notes)

    def _team_of(self, team_id: str, table: Table, notes: Notes) -> Team:
        team = self._teams_by_id.get(team_id)
        if team is None:
            # What it may use is not known, so that nothing is permitted.
            name = self._free(_OF_A_TEAM + _slug(f"team-{team_id}"))
            team = self._teams_by_id[team_id] = Team(name, [])
            what = f"{name!r} here, did not come along, so no policy permits its keys anything. Export /team/list too."
            notes.add(0, table.at("team_id"), what)
        return team

    def _name(self, said: str | None, table: Table, notes: Notes, begins: str = "") -> str | None:
        """Return a name of one's own, such as groups have: limits, groups and keys are told apart by it."""
        stem = _slug(said or "")
        if not stem:
            notes.add(0, table.place, "has no name that it could be known by. Give it an alias, and import again.")
            return None
        name = self._free(begins + stem)
        if name != f"{begins}{said}":
            notes.add(0, table.place, f"is called {name!r} here.")
        return name

    def _free(self, stem: str) -> str:
        """Return a name that nobody has yet, and keep it."""
        names = [stem, *(f"{stem}-{count}" for count in range(2, len(self._names) + 3))]
        name = next(each for each in names if each not in self._names)
        self._names.add(name)
        return name

    def _models(self, table: Table, notes: Notes) -> list[str] | None:
        """Return the declared models that it may use; `None` for all."""
        said = table.texts("models")
        if not said or _EVERY_MODEL & set(said):
            return None
        known: list[str] = []
        for name in said:
            found = [model for model in self._declared.models if fnmatchcase(model, name)]
            found += self._declared.groups.get(name, [])
            if not found and name != "no-default-models":
                notes.add(0, table.at("models"), f"{name!r} is no model that came along, so it is left out.")
            known += found
        return sorted(set(known))

    def _limit(self, name: str, scope: dict[str, object], table: Table, notes: Notes) -> None:
        limit: dict[str, object] = {"name": name} | scope
        for theirs, ours in (
            ("rpm_limit", "requests_per_minute"),
            ("tpm_limit", "tokens_per_minute"),
            ("max_parallel_requests", "concurrent"),
        ):
            count = table.whole(theirs)
            if count is not None:
                limit[ours] = count
        money = budget(table, notes)
        if money is not None:
            limit["money"] = money
        add_limit(self._declared, limit, scope, table, notes)
        for theirs, ours in (("model_rpm_limit", "requests_per_minute"), ("model_tpm_limit", "tokens_per_minute")):
            each = table.table(theirs)
            for model in each:
                count = each.whole(model)
                if model not in self._declared.models:
                    notes.add(0, each.at(model), "is no model that came along, so that nothing is to be limited.")
                elif count is not None:
                    apart = scope | {"model": model}
                    add_limit(self._declared, {"name": f"{name}-{len(self._declared.limits)}"} | apart | {ours: count},
                              apart, table, notes)  # fmt: skip
        table.leave(advice.PERSON)
        table.rest("is not carried.")


def _date(table: Table, notes: Notes) -> datetime | None:
    """Take `expires`."""
    line, said = table.line_of("expires"), table.text("expires")
    if said is None:
        return None
    try:
        return datetime.fromisoformat(said)
    except ValueError:
        notes.add(line, table.at("expires"), "is no date. The new key expires where you say --expires.")
        return None


def _slug(name: str) -> str:
    """Return a name that a group can have: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48].strip("-")


def budget(table: Table, notes: Notes) -> dict[str, object] | None:
    """Take `max_budget` and `budget_duration`, which are in dollars."""
    line, amount = table.line_of("max_budget"), table.number("max_budget")
    window = table.text("budget_duration")
    if amount is None:
        return None
    if amount <= 0:
        notes.add(line, table.at("max_budget"), "is 0, which forbids everything: issue no key for it.")
        return None
    if window not in _WINDOWS:
        notes.add(line, table.at("budget_duration"), f"{window!r} {_NO_WINDOW}")
        return None
    said = f"{amount:f}"
    problem = amount_problem(said)
    if problem is not None:
        notes.add(line, table.at("max_budget"), f"{problem} Declare [[limits]] with money yourself.")
        return None
    return {"amount": said, "currency": "USD", "per": _WINDOWS[window]}


def add_limit(
    declared: Declared, limit: dict[str, object], scope: dict[str, object], table: Table, notes: Notes
) -> None:
    """Declare a limit, unless it limits nothing."""
    if set(limit) == {"name", *scope}:
        return
    try:
        msgspec.convert(limit, LimitSettings, strict=True)
    except msgspec.ValidationError as error:
        notes.add(table.line, table.place, f"no limit can be made of it: {error}. Declare [[limits]] yourself.")
        return
    declared.limits.append(limit)


def _rows(node: Node, place: str = "") -> Iterable[tuple[str, Node]]:
    """Give every key and team of an answer, of a list of them, or of a list of answers."""
    if isinstance(node.value, list):
        for index, item in enumerate(node.value):
            yield from _rows(item, f"{place}[{index}]")
    elif isinstance(node.value, dict) and (found := {"keys", "teams", "data"} & set(node.value)) and _is_page(node):
        for name in sorted(found, reverse=True):
            yield from _rows(node.value[name], name if not place else f"{place}.{name}")
    elif place and isinstance(node.value, str | dict):
        yield place, node


def _check_pages(root: Node, notes: Notes) -> None:
    """Tell of an answer that is one page of several: who is on the others must not be forgotten."""
    for place, node in [("", root)] if isinstance(root.value, dict) else _items(root):
        if isinstance(node.value, dict) and _is_page(node) and "total_pages" in node.value:
            pages = node.value["total_pages"].value
            if isinstance(pages, int) and pages > 1:
                notes.add(0, place, f"is one page of {pages}. Hand over all: --keys may be repeated.")


def _items(node: Node) -> list[tuple[str, Node]]:
    return [(f"[{index}]", item) for index, item in enumerate(node.value)] if isinstance(node.value, list) else []


def _is_page(node: Node) -> bool:
    """Whether it is an answer, and not a team, which has `keys` of its own."""
    return isinstance(node.value, dict) and not {"team_id", "team_alias", "token"} & set(node.value)


_HEAD = """// From LiteLLM: what its teams may use. `create-keys.sh` puts each new key into its team's group.
// @safeguards and @retain are those of the starter set: change them as you need.
"""
_SCRIPT = """#!/bin/sh
# Issues a new key for each of LiteLLM's; every key is shown once, here. Set TRANSOM_HOME first. Give each to its owner.
set -eu
"""
_USE = '[Action::"infer", Action::"embed", Action::"view_model"]'


def _permit(index: int, team: Team) -> str:
    group = f'Group::"{team.name}"'
    which = "resource.rung >= 2" + ("" if team.models is None else f" && {_among(team.models)}")
    return (
        f'@id("litellm-team-{index}-uses") @safeguards("secrets") @retain("30d")\n'
        f"permit (principal in {group}, action in {_USE}, resource)\nwhen {{ {which} }};\n"
        f'@id("litellm-team-{index}-lists")\n'
        f'permit (principal in {group}, action == Action::"list_models", resource);\n'
    )


def _among(models: list[str]) -> str:
    names = ", ".join('"' + model.replace("\\", "\\\\").replace('"', '\\"') + '"' for model in models)
    return f"[{names}].contains(resource.name)"
