"""What vendors ask publicly: the dated prices that the package `genai-prices` ships. Nothing is fetched.

The package takes a second to load and 30 MB, so that it is loaded only where an upstream's prices are looked up in it,
when the files are read: never while a request runs.
"""

import importlib
import importlib.metadata
import ipaddress
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from transom.values import Price, Tier

_PACKAGE: Final = "genai_prices.data_snapshot"
_CURRENCY: Final = "USD"


class Offer(msgspec.Struct, frozen=True):
    """What a vendor says of a model: prices, by the day from which each counts, and the longest input it takes."""

    prices: tuple[Price, ...]
    max_input_tokens: int | None


def offer_of(vendor: str | None, base_url: str, model: str) -> Offer | None:
    """Look a model up by the vendor's name in `genai-prices`, else by the host of `base_url`. `None`: not known."""
    if vendor is None and _is_local(base_url):
        return None
    snapshot: Any = importlib.import_module(_PACKAGE).get_snapshot()
    try:
        _, found = snapshot.find_provider_model(model, None, vendor, None if vendor else base_url)
    except LookupError:
        return None
    if isinstance(found.prices, list):
        dated = [(each.constraint, each.prices) for each in found.prices]
    else:
        dated = [(None, found.prices)]
    prices = tuple(sorted(_prices(dated), key=lambda price: price.effective_at or ""))
    return Offer(prices, found.context_window) if prices else None


def knows(vendor: str) -> bool:
    """Say whether `genai-prices` knows a vendor of this name."""
    snapshot: Any = importlib.import_module(_PACKAGE).get_snapshot()
    return any(provider.id == vendor for provider in snapshot.providers)


def _prices(dated: list[tuple[Any, Any]]) -> Iterator[Price]:
    seen: set[str | None] = set()
    for constraint, rates in dated:
        # A price for some hours of the day is a rebate on the usual one, which is what counts here.
        start = None if constraint is None else getattr(constraint, "start_date", "")
        if start == "" or start in seen or getattr(rates, "input_mtok", None) is None:
            continue
        seen.add(start)
        yield _price(rates, None if start is None else str(start))


def _price(rates: object, effective_at: str | None) -> Price:
    input_, output, cached, written, reasoning = (
        _steps(rates, name)
        for name in ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "output_reasoning_mtok")
    )
    borders = sorted({border for each in (input_, output, cached, written, reasoning) for border in each if border})
    requests: Any = getattr(rates, "requests_kcount", None)
    return Price(
        _CURRENCY,
        input=_at(input_, 0),
        output=_at(output, 0) or "0",
        cached_input=_at(cached, 0),
        cache_write=_at(written, 0),
        reasoning=_at(reasoning, 0),
        effective_at=effective_at,
        per_request=None if requests is None else format(requests / 1000, "f"),
        tiers=tuple(
            Tier(
                above=border,
                input=_at(input_, border) or "0",
                output=_at(output, border) or "0",
                cached_input=_at(cached, border),
                cache_write=_at(written, border),
                reasoning=_at(reasoning, border),
            )
            for border in borders
        ),
    )


def _steps(rates: object, name: str) -> dict[int, str]:
    """Return a rate by the number of input tokens above which it counts."""
    rate: Any = getattr(rates, name, None)
    if rate is None:
        return {}
    if not hasattr(rate, "tiers"):
        return {0: format(rate, "f")}
    return {0: format(rate.base, "f")} | {tier.start: format(tier.price, "f") for tier in rate.tiers}


def _at(steps: dict[int, str], border: int) -> str | None:
    return next((steps[each] for each in sorted(steps, reverse=True) if each <= border), None)


def _is_local(base_url: str) -> bool:
    """Whether a host is none that a vendor can have: a bare name or an address."""
    host = urlsplit(base_url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host
    return True
