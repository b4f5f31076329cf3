"""`model_list`: each entry to an upstream and a place on the route of its model."""

import re
from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import urlsplit

import msgspec

from transom.coming_from import advice
from transom.coming_from.nodes import Node, number
from transom.coming_from.providers import PROVIDERS, UNREACHED, UNREACHED_ELSE, Provider, split
from transom.coming_from.reading import Notes, Table
from transom.coming_from.result import Declared, Entry, Model
from transom.metering.prices import prices_problem
from transom.upstreams.settings import UpstreamSettings
from transom.values import Price

_CONNECTIONS = 512
"""An upstream's connections, unless it says more."""
_REFERENCE = "os.environ/"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_SECRET = re.compile(r"auth|key|token|secret|cookie|password", re.IGNORECASE)
_VERSION = re.compile(r"/v\d+[a-z]*(?:/|$)")
_KINDS = {"chat": "chat", "completion": "chat", "responses": "chat", "embedding": "embedding"}
_PRICES = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "output_cost_per_reasoning_token": "reasoning",
}
"""What LiteLLM calls the price of a token, in dollars; and what Transom calls that of a million."""


class Deployments:
    """Reads the entries of one configuration into `declared`. `environment` is where a base URL may come from."""

    def __init__(self, declared: Declared, notes: Notes, environment: Mapping[str, str]) -> None:
        self._declared = declared
        self._notes = notes
        self._environment = environment
        self._secrets: dict[str, str] = {}
        """Variables proposed for secrets in the clear, by the secret. It is compared, and goes nowhere."""
        self.timeout: Decimal | None = None
        """Seconds for calls to entries that say none themselves."""
        self.breaker: dict[str, object] = {}

    def read(self, place: str, node: Node) -> None:
        """Read one entry; what cannot be carried is noted."""
        entry = Table(node, place, self._notes)
        name, params = entry.text("model_name"), entry.table("litellm_params")
        info = entry.table("model_info")
        entry.leave({"model_id": "", "description": ""} | {each: advice.ENTRY[each] for each in ("rpm", "tpm")})
        entry.rest("is not a setting of an entry that is known here.")
        line, model = params.line_of("model"), params.text("model")
        if name is None or model is None:
            missing = "model_name" if name is None else "litellm_params.model"
            self._notes.add(node.line, place, f"has no {missing}, so it serves nothing. Correct it, and import again.")
            return
        known = self._model_name(name, node.line, place)
        if known is None:
            return
        provider, own = split(model, params.text("custom_llm_provider"))
        kind = self._kind(info, own)
        found = None if kind is None else self._upstream(provider, own, kind, params, line)
        if kind is None or found is None:
            return
        upstream, own = found
        if self._place(known, kind, Entry(upstream, own), params, info, node.line):
            self._price(upstream, own, params, info)
        for group in info.texts("access_groups"):
            self._declared.groups.setdefault(group, []).append(known)
        params.leave(advice.ENTRY)
        params.rest(advice.ENTRY_ELSE)
        info.leave(advice.INFO)
        info.rest("tells of the model what has no counterpart here.")

    def _model_name(self, name: str, line: int, place: str) -> str | None:
        """Return the model's name here. Wildcards are none: every model is declared."""
        if "*" in name:
            self._notes.add(
                line,
                f"{place}.model_name",
                f"{name!r} stands for any model. Here every model is declared, so that somebody has decided on it: "
                'write [models."NAME"] for each one that is used, with this upstream as its route.',
            )
            return None
        known = re.sub(r"[\s@]+", "-", name.strip())
        if not known or not known.isprintable():
            self._notes.add(line, f"{place}.model_name", "is no name that a model can have here. Give it another.")
            return None
        if known != name:
            self._notes.add(
                line, f"{place}.model_name", f"{name!r} has a space or an @: callers must ask for {known!r} instead."
            )
        return known

    def _kind(self, info: Table, own: str) -> str | None:
        line, mode = info.line_of("mode"), info.text("mode")
        if mode is None:
            return "embedding" if "embed" in own.lower() else "chat"
        if mode not in _KINDS:
            what = f"models of the mode {mode!r} are not served here: chat and embedding are. Leave it where it is."
            self._notes.add(line, info.at("mode"), what)
        return _KINDS.get(mode)

    # Where it is asked.

    def _upstream(self, provider: str | None, own: str, kind: str, params: Table, line: int) -> tuple[str, str] | None:
        """Return the upstream's name, and its own name of the model; `None` where it cannot be reached."""
        place = params.at("model")
        if provider is None:
            self._notes.add(line, place, "names no provider. Write it as PROVIDER/MODEL, and import again.")
            return None
        unreached = next((what for name, what in UNREACHED.items() if provider.startswith(name)), None)
        if unreached is not None or (provider not in PROVIDERS and provider != "azure"):
            self._notes.add(line, place, unreached or UNREACHED_ELSE)
            return None
        base_line, base = self._base(params)
        settings: dict[str, object] | None
        if provider == "azure":
            settings = self._azure(own, base, params, line)
        else:
            settings = self._vendor(provider, PROVIDERS[provider], base, params, line)
        if settings is None:
            return None
        settings |= self._common(params)
        speaks = settings.get("speaks", ("openai-chat", "openai-embeddings"))
        assert isinstance(speaks, tuple)
        if kind == "embedding" and "openai-embeddings" not in speaks:
            what = "embeddings are asked for in OpenAI's API: declare an upstream at the vendor's compatible endpoint."
            self._notes.add(line, place, what)
            return None
        name = self._declare(provider, own, settings, base_line, params)
        return None if name is None else (name, own)

    def _base(self, params: Table) -> tuple[int, str | None]:
        line = params.line_of("api_base") if "api_base" in params else params.line_of("base_url")
        base = params.text("api_base") or params.text("base_url")
        if base is None or not base.startswith(_REFERENCE):
            return line, base
        variable = base.removeprefix(_REFERENCE)
        if variable not in self._environment:
            what = f"the base URL stands in {variable!r}, which is not set where this runs. Set it, and import again."
            self._notes.add(line, params.at("api_base"), what)
            return line, ""
        return line, self._environment[variable]

    def _vendor(
        self, provider: str, known: Provider, base: str | None, params: Table, line: int
    ) -> dict[str, object] | None:
        if base == "":
            return None
        base = base or known.base_url
        if base is None:
            self._notes.add(line, params.at("api_base"), f"{provider} needs the address of its server, and has none.")
            return None
        if known.version and not _VERSION.search(urlsplit_path(base)):
            base = base.rstrip("/") + known.version
        own_server = base != known.base_url
        settings: dict[str, object] = {"base_url": base}
        if own_server and known.key is not None and "api_key" not in params:
            what = (
                f"no key is named for this server, which does not get {known.key} unasked. If it wants one, add `key`."
            )
            self._notes.add(line, params.at("api_key"), what)
        key = self._key(params, provider, None if own_server else known.key)
        if key is not None:
            settings["key"] = key
        speaks = ("openai-chat", "openai-embeddings") if own_server and provider == "openai" else known.speaks
        if speaks != ("openai-chat", "openai-embeddings"):
            settings["speaks"] = speaks
        params.leave({"api_version": ""})
        return settings

    def _azure(self, deployment: str, base: str | None, params: Table, line: int) -> dict[str, object] | None:
        """Say Azure's own addresses: one for each deployment, unless its newer API without them is asked."""
        version = params.text("api_version")
        if not base:
            if base is None:
                self._notes.add(line, params.at("api_base"), "azure needs the address of the resource, and has none.")
            return None
        base = base.rstrip("/")
        settings: dict[str, object] = {}
        if base.endswith("/openai/v1") or version in ("v1", "latest", "preview"):
            settings["base_url"] = base if base.endswith("/openai/v1") else f"{base}/openai/v1"
        else:
            settings["base_url"] = f"{base.removesuffix('/openai')}/openai/deployments/{deployment}"
            if version is None or version.startswith(_REFERENCE):
                what = 'Azure wants a version of its API: add query = { "api-version" = "…" } to this upstream.'
                self._notes.add(line, params.at("api_version"), what)
            else:
                settings["query"] = {"api-version": version}
        key = self._key(params, "azure", "AZURE_API_KEY")
        assert key is not None
        return settings | {"key": key, "key_header": "api-key"}

    def _key(self, params: Table, provider: str, usual: str | None) -> dict[str, str] | None:
        line, said = params.line_of("api_key"), params.text("api_key")
        if said is None:
            return None if usual is None else self._reference(usual)
        found = self._variable(said, usual or f"{provider.upper()}_API_KEY", line, params.at("api_key"))
        return None if found is None else self._reference(found)

    def _variable(self, said: str, usual: str, line: int, place: str) -> str | None:
        """Return the variable that a secret comes from: the one that is named, or one for what stands in the clear."""
        if said.startswith(_REFERENCE):
            variable = said.removeprefix(_REFERENCE)
            if _VARIABLE.fullmatch(variable):
                return variable
            self._notes.add(line, place, "names no variable that can be set. Correct it, or declare `key` yourself.")
            return None
        if said not in self._secrets:
            taken = {*variables(self._declared.upstreams), *self._secrets.values()}
            names = [usual, *(f"{usual}_{count}" for count in range(2, len(taken) + 3))]
            self._secrets[said] = next(name for name in names if name not in taken)
        variable = self._secrets[said]
        what = (
            f"holds a secret in the clear, which is not copied. Replace it at its vendor, since files get copied, and "
            f"set {variable} to the new one where Transom is started."
        )
        self._notes.add(line, place, what)
        return variable

    @staticmethod
    def _reference(variable: str) -> dict[str, str]:
        return {"env": variable}

    def _common(self, params: Table) -> dict[str, object]:
        """Say what upstreams of every vendor have."""
        settings: dict[str, object] = {}
        headers = self._headers(params)
        if headers:
            settings["headers"] = headers
        whole, stream = params.number("timeout"), params.number("stream_timeout")
        whole = self.timeout if whole is None else whole
        timeouts = {"whole": whole, "first_byte": whole if stream is None else stream, "between_chunks": stream}
        said = {name: short(seconds) for name, seconds in timeouts.items() if seconds is not None and seconds > 0}
        if said:
            settings["timeouts"] = said
        parallel = params.whole("max_parallel_requests")
        region_line, region = params.line_of("region_name"), params.text("region_name")
        if parallel is not None:
            settings["max_concurrent"] = parallel
            if parallel > _CONNECTIONS:
                settings["max_connections"] = parallel
        if region is not None and region.startswith(_REFERENCE):
            self._notes.add(
                region_line, params.at("region_name"), "stands in the environment. Declare `region` itself."
            )
        elif region:
            settings["region"] = region
        return settings | ({"breaker": self.breaker} if self.breaker else {})

    def _headers(self, params: Table) -> dict[str, object]:
        organization = params.take("organization")
        extra = params.table("extra_headers")
        said = [(name, extra.line_of(name), extra.at(name), extra.text(name)) for name in extra]
        if organization is not None and isinstance(organization.value, str):
            where = (organization.line, params.at("organization"))
            said.append(("openai-organization", *where, organization.value))
        headers: dict[str, object] = {}
        for name, line, place, value in said:
            if value is None:
                continue
            if not _HEADER.fullmatch(name) or not (value.isascii() and value.isprintable()):
                self._notes.add(line, place, "is no header that can be sent. Correct it.")
            elif value.startswith(_REFERENCE) or _SECRET.search(name):
                usual = re.sub(r"[^A-Za-z0-9]", "_", name).upper()
                variable = self._variable(value, usual if usual[:1].isalpha() else f"H_{usual}", line, place)
                if variable is not None:
                    headers[name.lower()] = self._reference(variable)
            else:
                headers[name.lower()] = value
        return headers

    def _declare(self, provider: str, own: str, settings: dict[str, object], line: int, params: Table) -> str | None:
        """Return the name of the upstream with these settings, a new one where there is none yet."""
        for name, known in self._declared.upstreams.items():
            if {field: each for field, each in known.items() if field != "prices"} == settings:
                return name
        try:
            msgspec.convert(settings, UpstreamSettings, strict=True)
        except msgspec.ValidationError as error:
            what = f"the upstream cannot be declared: {error}. Correct it, and import again."
            self._notes.add(line or params.line, params.at("api_base"), what)
            return None
        host = urlsplit(str(settings["base_url"])).hostname or ""
        usual = PROVIDERS[provider].base_url if provider in PROVIDERS else None
        words = own if provider == "azure" else "" if settings["base_url"] == usual else host
        stem = re.sub(r"[^a-z0-9]+", "-", f"{provider}-{words}".lower()).strip("-")
        names = [stem, *(f"{stem}-{count}" for count in range(2, len(self._declared.upstreams) + 3))]
        name = next(each for each in names if each not in self._declared.upstreams)
        self._declared.upstreams[name] = settings
        return name

    # What of it is whose.

    def _place(self, name: str, kind: str, entry: Entry, params: Table, info: Table, line: int) -> bool:
        """Put an upstream onto its model's route. Returns whether it is there."""
        model = self._declared.models.setdefault(name, Model(line, kind))
        if model.kind != kind:
            what = (
                f"{name!r} is of kind {model.kind} by an entry before, and cannot be both. Give this one another name."
            )
            self._notes.add(line, info.place, what)
            return False
        rpm_line, rpm = params.line_of("rpm"), params.number("rpm")
        if rpm is not None:
            self._notes.add(rpm_line, params.at("rpm"), advice.ENTRY["rpm"])
        weight, order = params.number("weight"), params.number("order")
        share = weight if weight is not None else rpm
        if share is not None and share > 0:
            entry.weight = short(share)
        if order is not None and order == int(order):
            entry.priority = int(order)
        if any((each.upstream, each.model) == (entry.upstream, entry.model) for each in model.route):
            self._notes.add(line, params.at("model"), "is the same as an entry before: a request asks each once.")
        else:
            model.route.append(entry)
        for field in ("max_input_tokens", "max_output_tokens"):
            found = info.whole(field)
            if found is not None:
                model.settings[field] = found
        return True

    def _price(self, upstream: str, own: str, params: Table, info: Table) -> None:
        line = params.line_of("input_cost_per_token")
        price: dict[str, object] = {"currency": "USD"}
        for theirs, ours in _PRICES.items():
            cost = params.number(theirs)
            other = info.number(theirs)
            cost = other if cost is None else cost
            if cost is not None:
                price[ours] = f"{cost.scaleb(6).normalize():f}"
        per_second = params.number("input_cost_per_second")
        if per_second is not None:
            price["per_second"] = f"{per_second.normalize():f}"
        if len(price) == 1:
            return
        if "output" in price:
            price.setdefault("input", "0")
        elif "input" in price:
            price["output"] = "0"
        try:
            problem = prices_problem((msgspec.convert(price, Price),))
        except msgspec.ValidationError as error:
            problem = str(error)
        if problem is not None:
            self._notes.add(line, params.at("input_cost_per_token"), f"no price can be made of it: {problem}")
            return
        prices = self._declared.upstreams[upstream].setdefault("prices", {})
        assert isinstance(prices, dict)
        if prices.setdefault(own, price) != price:
            what = "another entry has another price for the same model at the same upstream, and the first one counts."
            self._notes.add(line, params.at("input_cost_per_token"), what)


def variables(upstreams: Mapping[str, Mapping[str, object]]) -> tuple[str, ...]:
    """Return the variables that upstreams' keys and headers are read from."""
    found: dict[str, None] = {}
    for settings in upstreams.values():
        headers = settings.get("headers")
        for each in (settings.get("key"), *(headers.values() if isinstance(headers, dict) else ())):
            if isinstance(each, dict):
                found[each["env"]] = None
    return tuple(found)


def short(value: Decimal) -> int | float:
    """Return a number as one would write it."""
    return int(value) if value == int(value) else float(value)


def urlsplit_path(url: str) -> str:
    """Return a URL's path; nothing of what is none."""
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def cheapest(prices: Mapping[str, object]) -> Decimal:
    """Return what a million tokens of each side cost, to compare by."""
    return sum((number(Node(str(prices.get(side, "0")))) or Decimal(0) for side in ("input", "output")), Decimal(0))
