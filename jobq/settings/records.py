"""What settings say: which storage, which options and limits, and how the worker runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Layer:
    """The settings of one source, the environment or a file: what it names, and nothing else.

    storage: url, sync, max_size. options, limits, worker: fields that are set. topics: options by topic.
    """

    storage: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    worker: Mapping[str, Any] = field(default_factory=dict)
    topics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def over(self, lower: Layer) -> Layer:
        """Lay this one over another: its own values go first."""
        topics = {
            topic: {**lower.topics.get(topic, {}), **self.topics.get(topic, {})}
            for topic in (*lower.topics, *self.topics)
        }
        return Layer(
            storage={**lower.storage, **self.storage},
            options={**lower.options, **self.options},
            limits={**lower.limits, **self.limits},
            worker={**lower.worker, **self.worker},
            topics=topics,
        )
