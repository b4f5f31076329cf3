"""LiteLLM's proxy: its configuration and, if exported, its keys and teams, to files for Transom. Pure.

What is written is accepted as it stands; what could not be carried is listed, each with its place and what to do.
Source: LiteLLM's documentation, "All settings", "Router", "Virtual keys", "Budgets, rate limits".
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from transom.coming_from import advice
from transom.coming_from.deployments import Deployments, cheapest, short, variables
from transom.coming_from.nodes import Node, read_json, read_yaml
from transom.coming_from.people import People, add_limit, budget
from transom.coming_from.reading import Notes, Table
from transom.coming_from.result import Declared, Imported, Model
from transom.coming_from.toml_text import inline, key, table
from transom.policy.vocabulary import starter_files

_CHOICES = {
    "simple-shuffle": "weighted",
    "least-busy": "least-loaded",
    "latency-based-routing": "fastest",
    "usage-based-routing": "least-loaded",
    "usage-based-routing-v2": "least-loaded",
    "cost-based-routing": "order",
}
_UNKNOWN = "is not carried."
_MOST_TRIES = 20


def from_litellm(
    config: bytes,
    file: str,
    exports: Sequence[tuple[str, bytes]] = (),
    environment: Mapping[str, str] | None = None,
) -> Imported:
    """Return what becomes of a configuration, and of `exports` (names and contents of files).

    `environment` is where a base URL (never a secret) that the configuration names may be found. Raises `ConfigError`
    where a file cannot be read as what it should be.
    """
    notes, declared = Notes(file), Declared()
    root = Table(read_yaml(config, file), "", notes)
    router, library, proxy = (root.table(name) for name in ("router_settings", "litellm_settings", "general_settings"))
    deployments = Deployments(declared, notes, environment or {})
    deployments.timeout = _first(router.number("timeout"), library.number("request_timeout"))
    deployments.breaker = _breaker(router, library)
    for place, entry in root.items("model_list"):
        deployments.read(place, entry)
    used = {entry.upstream for model in declared.models.values() for entry in model.route}
    declared.upstreams = {name: each for name, each in declared.upstreams.items() if name in used}
    _routes(declared, router, library, notes)
    _everybody(declared, library, proxy, notes)
    people = People(declared)
    left = [notes]
    for name, data in exports:
        left.append(Notes(name))
        people.read(read_json(data, name), left[-1])
    people.finish()
    for section, known in ((router, advice.ROUTER), (library, advice.LIBRARY), (proxy, advice.PROXY)):
        section.leave(known)
        section.rest(_UNKNOWN)
    root.leave(advice.TOP)
    root.rest(_UNKNOWN)
    _unbounded(declared, notes)
    if not declared.models:
        notes.add(0, "model_list", "nothing of it could be carried, so that there is nothing to serve.")
    return Imported(
        files=_files(declared, people, file) if declared.models else {},
        left=tuple(each for some in left for each in some.left),
        environment=variables(declared.upstreams),
        upstreams=tuple(declared.upstreams),
        models=tuple(declared.models),
        limits=len(declared.limits),
        keys=len(people.grants),
    )


def _first(*numbers: Decimal | None) -> Decimal | None:
    return next((each for each in numbers if each is not None and each > 0), None)


def _breaker(router: Table, library: Table) -> dict[str, object]:
    """Say when an upstream is left alone. LiteLLM does where more than `allowed_fails` fail within a minute."""
    fails = _first(router.number("allowed_fails"), library.number("allowed_fails"))
    rest = _first(router.number("cooldown_time"), library.number("cooldown_time"))
    breaker: dict[str, object] = {}
    if fails is not None and fails == int(fails):
        breaker["failures"] = int(fails) + 1
    if rest is not None:
        breaker["open_seconds"] = short(rest)
    return breaker


def _routes(declared: Declared, router: Table, library: Table, notes: Notes) -> None:
    """Say of every model how its route is gone along, and what stands in for it."""
    line, strategy = router.line_of("routing_strategy"), router.text("routing_strategy") or "simple-shuffle"
    if strategy not in _CHOICES:
        notes.add(line, router.at("routing_strategy"), "is not known here: routes are gone along in their order.")
    elif strategy.startswith(("usage", "cost")):
        what = "has no exact counterpart: "
        what += "the cheapest is asked first." if strategy.startswith("cost") else "the least loaded is asked first."
        notes.add(line, router.at("routing_strategy"), what)
    for model in declared.models.values():
        if strategy.startswith("cost"):
            model.route.sort(key=lambda entry: _cost(declared, entry.upstream, entry.model))
        _choose(model, _CHOICES.get(strategy, "order"))
    retries = _first(router.number("num_retries"), library.number("num_retries"))
    if retries is not None and retries >= 1:
        attempts = min(int(retries) + 1, _MOST_TRIES)
        for model in declared.models.values():
            model.settings["retry"] = {"attempts": attempts}
    _fallbacks(declared, (router, library), notes)
    _aliases(declared, router, notes)


def _choose(model: Model, choice: str) -> None:
    """Say who is asked first. LiteLLM's shares count where all have one, and where something goes by them."""
    # Who has no `order` is asked after all who have.
    last = max((entry.priority for entry in model.route if entry.priority is not None), default=-1) + 1
    for entry in model.route:
        entry.priority = last if entry.priority is None else entry.priority
    chooses = choice != "order" and len({entry.priority for entry in model.route}) < len(model.route)
    if chooses:
        model.settings["choose"] = choice
    if choice != "weighted" or not chooses or any(entry.weight is None for entry in model.route):
        for entry in model.route:
            entry.weight = None


def _cost(declared: Declared, upstream: str, model: str) -> Decimal:
    prices = declared.upstreams[upstream].get("prices")
    found = prices.get(model) if isinstance(prices, dict) else None
    return cheapest(found) if isinstance(found, dict) else Decimal("Infinity")


def _aliases(declared: Declared, router: Table, notes: Notes) -> None:
    """Give each other name of a model a table of its own, with the same route."""
    aliases = router.table("model_group_alias")
    for alias in aliases:
        line, node = aliases.line_of(alias), aliases.take(alias)
        assert node is not None
        target = node.value
        if isinstance(target, dict):
            target = target["model"].value if "model" in target else None
        if not isinstance(target, str) or target not in declared.models:
            notes.add(line, aliases.at(alias), "leads to no model that came along.")
        elif alias in declared.models or "@" in alias or not alias.isprintable() or " " in alias or not alias:
            notes.add(line, aliases.at(alias), "cannot be a model's name here, or is one already.")
        else:
            same = declared.models[target]
            declared.models[alias] = Model(line, same.kind, same.route, dict(same.settings))


def _fallbacks(declared: Declared, sections: Sequence[Table], notes: Notes) -> None:
    """Say what stands in for each model; what stands in for any of them (`*`), where nothing else does."""
    for_any: list[str] = []
    for section in sections:
        for place, item in section.items("fallbacks"):
            rule = Table(item, place, notes)
            for name in rule:
                found = [each for at, node in rule.items(name) if (each := _stand_in(declared, at, node, notes))]
                if name == "*":
                    for_any += found
                elif name in declared.models:
                    _add_fallback(declared, name, found)
                else:
                    notes.add(rule.line, place, f"{name!r} is no model that came along.")
        for place, node in section.items("default_fallbacks"):
            for_any += [each for each in (_stand_in(declared, place, node, notes),) if each]
    for name, model in declared.models.items():
        if "fallback" not in model.settings:
            _add_fallback(declared, name, for_any)


def _stand_in(declared: Declared, place: str, node: Node, notes: Notes) -> str | None:
    if isinstance(node.value, str) and node.value in declared.models:
        return node.value
    what = "names no model that came along." if isinstance(node.value, str) else (
        "changes the request besides the model. Declare a model of its own for it."
    )  # fmt: skip
    notes.add(node.line, place, what)
    return None


def _add_fallback(declared: Declared, name: str, found: list[str]) -> None:
    model = declared.models[name]
    usable = [each for each in dict.fromkeys(found) if each != name and declared.models[each].kind == model.kind]
    if usable:
        model.settings["fallback"] = usable


def _everybody(declared: Declared, library: Table, proxy: Table, notes: Notes) -> None:
    """Declare what limits everybody together."""
    limit: dict[str, object] = {"name": "everybody", "per": "all"}
    concurrent = proxy.whole("global_max_parallel_requests")
    if concurrent is not None:
        limit["concurrent"] = concurrent
    line, at = library.line_of("max_budget"), library.at("max_budget")
    if budget(library, notes) is not None:
        what = (
            "is a budget of everybody, for which every model needs a price. Declare prices, then [[limits]] with "
            'per = "all" and money.'
        )
        notes.add(line, at, what)
    add_limit(declared, limit, {"per": "all"}, library, notes)


def _unbounded(declared: Declared, notes: Notes) -> None:
    """Tell of what budgets refuse: a call of which nobody can say what it costs at most."""
    if not any("money" in limit for limit in declared.limits):
        return
    for name, model in declared.models.items():
        if model.kind == "chat" and "max_output_tokens" not in model.settings:
            what = (
                f"{name!r} has no max_output_tokens: under a budget, calls without a limit of their own are refused. "
                "Declare it, and a price where Transom knows none."
            )
            notes.add(model.line, "model_list", what)


def _files(declared: Declared, people: People, file: str) -> dict[str, str]:
    files = {"transom.toml": _settings(declared, file)}
    policies = people.policies()
    if policies:
        files |= {f"policies/{name}": text for name, text in starter_files().items()}
        files["policies/from-litellm.cedar"] = policies
    if people.grants:
        files["create-keys.sh"] = people.commands()
    return files


def _settings(declared: Declared, file: str) -> str:
    parts = [f"# From {inline(file)}, by `transom import litellm`. Keys are read from the environment.\n"]
    for name, settings in declared.upstreams.items():
        prices = settings.get("prices")
        head = f"upstreams.{key(name)}"
        parts.append(table(f"[{head}]", {field: each for field, each in settings.items() if field != "prices"}))
        if isinstance(prices, dict):
            parts.append(table(f"[{head}.prices]", prices))
    parts += [table(f"[models.{key(name)}]", _model(name, model)) for name, model in declared.models.items()]
    parts += [table("[[limits]]", limit) for limit in declared.limits]
    return "\n".join(parts)


def _model(name: str, model: Model) -> dict[str, object]:
    route: list[object] = []
    for entry in model.route:
        step: dict[str, object] = {"upstream": entry.upstream}
        if entry.model != name:
            step["model"] = entry.model
        if entry.weight is not None:
            step["weight"] = entry.weight
        if entry.priority:
            step["priority"] = entry.priority
        route.append(entry.upstream if len(step) == 1 else step)
    kind: dict[str, object] = {} if model.kind == "chat" else {"kind": model.kind}
    return kind | {"route": route} | model.settings
