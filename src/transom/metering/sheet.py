"""The price sheet in force: what a model costs at each upstream of its route. Made when the files are read."""

from collections.abc import Mapping

import msgspec

from transom.config.digest import digest
from transom.metering.prices import in_force
from transom.metering.vendor import offer_of
from transom.values import Digest, Price, Target, Version

_canonical = msgspec.json.Encoder(order="sorted")


class Seller(msgspec.Struct, frozen=True):
    """What an upstream's settings say of prices: where it is, whose it is, and prices by its own names of models."""

    base_url: str
    vendor: str | None = None
    prices: Mapping[str, tuple[Price, ...]] = {}
    seconds: float = 0.0
    """How long it may work on one call."""


class PriceSheet:
    """Prices by version and target. `digest` is over all of them: every outcome that has a cost names it."""

    def __init__(self, versions: tuple[Version, ...], sellers: Mapping[str, Seller]) -> None:
        """Look up every price: the upstream's own for the model, else the version's, else the vendor's public one."""
        self._prices: dict[tuple[str, Target], tuple[Price, ...]] = {}
        self._inputs: dict[tuple[str, Target], int] = {}
        self.sellers = sellers
        for version in versions:
            for target in version.route:
                self._look_up(version, target, sellers.get(target.upstream))
        self.source: bytes = _canonical.encode(
            {f"{name} {target.upstream} {target.model}": prices for (name, target), prices in self._prices.items()}
        )
        self.digest: Digest = digest(self.source)

    def _look_up(self, version: Version, target: Target, seller: Seller | None) -> None:
        own = () if seller is None else seller.prices.get(target.model, ())
        prices = own or version.prices
        if seller is not None and not prices:
            offer = offer_of(seller.vendor, seller.base_url, target.model)
            if offer is not None:
                prices = offer.prices
                if offer.max_input_tokens is not None:
                    self._inputs[version.name, target] = offer.max_input_tokens
        if prices:
            self._prices[version.name, target] = prices

    def price(self, version: Version, target: Target, today: str) -> Price | None:
        """Return what a version costs at a target on the day `today` (UTC); `None` where nobody says."""
        return in_force(self._prices.get((version.name, target), ()), today)

    def currency(self, version: Version, target: Target) -> str | None:
        """Return what a version is paid in at a target; `None` where nobody says what it costs."""
        prices = self._prices.get((version.name, target), ())
        return prices[0].currency if prices else None

    def max_input_tokens(self, version: Version, target: Target) -> int | None:
        """Return how long an input the version takes at a target, at most, where that is known."""
        if version.max_input_tokens is not None:
            return version.max_input_tokens
        return self._inputs.get((version.name, target))

    def seconds(self, target: Target) -> float:
        """Return how long a target's upstream may work on one call."""
        seller = self.sellers.get(target.upstream)
        return 0.0 if seller is None else seller.seconds
