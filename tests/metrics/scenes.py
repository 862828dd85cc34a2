"""Reading metrics as Prometheus does."""

from __future__ import annotations

from itertools import pairwise

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """What a text in the format of Prometheus says, by the parser of the official client."""

    def __init__(self, text: str) -> None:
        self.families: dict[str, Metric] = {one.name: one for one in text_string_to_metric_families(text)}
        samples = [sample for one in self.families.values() for sample in one.samples]
        self.samples = {(one.name, frozenset(one.labels.items())): one.value for one in samples}
        assert len(self.samples) == len(samples), "a series is there twice"

    def value(self, name: str, /, **labels: str) -> float:
        return self.samples[name, frozenset(labels.items())]

    def pair(self, name: str, /, **labels: str) -> tuple[float, float]:
        """The count and the sum of a summary or of a histogram."""
        return self.value(f"{name}_count", **labels), self.value(f"{name}_sum", **labels)

    def all(self, name: str) -> dict[tuple[str, ...], float]:
        """The values of all series of a name, by the values of their labels, in the order of the labels' names."""
        return {
            tuple(value for _, value in sorted(labels)): number
            for (one, labels), number in self.samples.items()
            if one == name
        }

    def buckets(self, name: str, /, **labels: str) -> dict[str, float]:
        """How many a histogram has in each of its buckets alone; empty ones are left out."""
        bounds = {
            dict(one)["le"]: number
            for (sample, one), number in self.samples.items()
            if sample == f"{name}_bucket" and labels.items() <= dict(one).items()
        }
        rising = sorted(bounds, key=float)
        counts = [0.0, *[bounds[bound] for bound in rising]]
        assert counts == sorted(counts), "a histogram is cumulative"
        assert rising[-1] == "+Inf"
        assert counts[-1] == self.value(f"{name}_count", **labels)
        return {bound: more - less for bound, (less, more) in zip(rising, pairwise(counts), strict=True) if more > less}


def scrape(registry: CollectorRegistry) -> Scrape:
    """What a registry says."""
    return Scrape(generate_latest(registry).decode())
