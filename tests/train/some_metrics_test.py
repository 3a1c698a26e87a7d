"""What a writer does not keep is dropped, whatever CLU hands it."""

import inspect

from clu import metric_writers

from csst_jax.train.some_metrics import SomeMetrics


def test_nothing_of_clus_writer_is_left_out():
    assert not inspect.isabstract(SomeMetrics)
    assert metric_writers.MetricWriter.__abstractmethods__ <= vars(SomeMetrics).keys()
    writer = SomeMetrics()
    writer.write_histograms(1, {"a": 0})
    writer.write_pointcloud(1, {"a": 0}, point_colors=None, configs=None)
