"""Prometheus metrics of the service."""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from asr_s2s.serve.batcher import BatchReport

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "asr_s2s_requests",
            "Requests by route and status; status 499 if the client disconnected.",
            ("route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "asr_s2s_request_seconds",
            "Time from the start of a request to the end of its response.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.active = Gauge(
            "asr_s2s_active_requests", "Requests in progress.", registry=self.registry
        )
        self.audio = Counter(
            "asr_s2s_audio_seconds", "Transcribed audio, in seconds.", registry=self.registry
        )
        self.characters = Counter(
            "asr_s2s_text_characters", "Translated text, in characters.", registry=self.registry
        )
        self.batch_items = Histogram(
            "asr_s2s_batch_items",
            "Pieces of recordings, or lines of text, per batch.",
            ("model",),
            buckets=_ITEMS,
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "asr_s2s_batch_seconds",
            "Time to decode a batch.",
            ("model",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.waiting = Gauge(
            "asr_s2s_waiting_items",
            "Queued pieces of recordings, or lines of text.",
            ("model",),
            registry=self.registry,
        )

    def reporter(self, model: str) -> Callable[[BatchReport], None]:
        """Function that records the batches of a model."""
        items = self.batch_items.labels(model)
        seconds = self.batch_seconds.labels(model)

        def report(batch: BatchReport) -> None:
            items.observe(batch.items)
            seconds.observe(batch.seconds)

        return report

    def page(self) -> bytes:
        """All metrics in Prometheus text format."""
        return generate_latest(self.registry)
