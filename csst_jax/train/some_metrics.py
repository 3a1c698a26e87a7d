"""A metric writer that keeps a part of what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clu import metric_writers

if TYPE_CHECKING:
    from collections.abc import Mapping


class SomeMetrics(metric_writers.MetricWriter):
    """CLU metric writer that drops everything; a writer overrides what it keeps."""

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Not kept."""

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        """Not kept."""

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Not kept: `stage.json` and `config.json` hold the settings."""

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Not kept: likewise."""

    def write_summaries(self, step: int, values: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
        """Not kept."""

    def write_videos(self, step: int, videos: Mapping[str, Any]) -> None:
        """Not kept."""

    def write_audios(self, step: int, audios: Mapping[str, Any], *, sample_rate: int) -> None:
        """Not kept."""

    def write_histograms(
        self, step: int, arrays: Mapping[str, Any], num_buckets: Mapping[str, int] | None = None
    ) -> None:
        """Not kept."""

    def write_pointcloud(self, step: int, point_clouds: Any, **_: Any) -> None:
        """Not kept."""

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""
