//! Metric names, Prometheus exporter, logging and health
