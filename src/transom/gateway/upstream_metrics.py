"""How upstreams stand, for Prometheus."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from transom.upstreams.breaker import STATES
from transom.upstreams.client import Upstream


def upstream_metrics(upstreams: Mapping[str, Upstream]) -> Iterator[Metric]:
    """Give what is so now, one sample for each upstream (of the breaker, for each state)."""
    in_flight = GaugeMetricFamily(
        "transom_upstream_in_flight", "Requests sent whose answers are not over.", labels=("upstream",)
    )
    waiting = GaugeMetricFamily("transom_upstream_waiting", "Requests that wait to be sent.", labels=("upstream",))
    well = GaugeMetricFamily(
        "transom_upstream_well", "0 while its health check fails; 1 also where none is declared.", labels=("upstream",)
    )
    breaker = GaugeMetricFamily(
        "transom_upstream_breaker", "1 for the state that its breaker is in.", labels=("upstream", "state")
    )
    for name, upstream in upstreams.items():
        in_flight.add_metric((name,), upstream.in_flight)
        waiting.add_metric((name,), upstream.waiting)
        well.add_metric((name,), float(upstream.unwell is None))
        if upstream.breaker is not None:
            state = upstream.breaker.state
            for each in STATES:
                breaker.add_metric((name, each), float(each == state))
    yield from (in_flight, waiting, well, breaker)
