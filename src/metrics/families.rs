//! The words shared by all metric declarations: families, labels, status classes.

use http::StatusCode;
use prometheus::core::Desc;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// The declaration of a family that Larder collects itself.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: MetricType,
}

impl Family {
    /// The description under which the registry files this family.
    #[expect(clippy::expect_used, reason = "names and help are constants; every test makes them all")]
    pub(super) fn desc(&self, labels: &[&str]) -> Desc {
        let labels = labels.iter().map(|label| label.to_string()).collect();
        Desc::new(self.name.into(), self.help.into(), labels, Default::default())
            .expect("a constant metric name is valid")
    }

    pub(super) fn family(&self, metrics: Vec<Metric>) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.into());
        family.set_help(self.help.into());
        family.set_field_type(self.kind);
        family.set_metric(metrics);
        family
    }
}

pub(super) fn labels(pairs: &[(&str, &str)]) -> Vec<LabelPair> {
    pairs
        .iter()
        .map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).into());
            pair.set_value((*value).into());
            pair
        })
        .collect()
}

pub(super) fn counter(pairs: &[(&str, &str)], value: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value as f64);
    let mut metric = Metric::from_label(labels(pairs));
    metric.set_counter(counter);
    metric
}

pub(super) fn gauge(pairs: &[(&str, &str)], value: u64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value as f64);
    let mut metric = Metric::from_label(labels(pairs));
    metric.set_gauge(gauge);
    metric
}

/// The classes of status codes (RFC 9110 §15), as labels.
pub(super) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Where in [`CLASSES`] a status belongs. A code beyond 599 counts as 5xx (RFC 9110 §15).
pub(super) fn class_index(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1
}
