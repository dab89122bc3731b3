//! Makes the metrics of the families in the table.

use prometheus::core::Collector;
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::families::Family;

/// Makes the metrics of families and registers them.
pub struct Maker<'a>(pub &'a Registry);

impl Maker<'_> {
    pub fn counters(&self, family: &Family) -> IntCounterVec {
        self.register(IntCounterVec::new(opts(family), family.labels))
    }
    pub fn int_gauges(&self, family: &Family) -> IntGaugeVec {
        self.register(IntGaugeVec::new(opts(family), family.labels))
    }
    pub fn gauges(&self, family: &Family) -> GaugeVec {
        self.register(GaugeVec::new(opts(family), family.labels))
    }
    pub fn histograms(&self, family: &Family) -> HistogramVec {
        let opts = HistogramOpts::new(family.name, family.help).buckets(family.buckets.to_vec());
        self.register(HistogramVec::new(opts, family.labels))
    }

    #[expect(clippy::expect_used, reason = "names, labels and buckets are constants; a test makes each one")]
    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let made = made.expect("a family of the table is well formed");
        self.0.register(Box::new(made.clone())).expect("a family of the table is registered once");
        made
    }
}

fn opts(family: &Family) -> Opts {
    Opts::new(family.name, family.help)
}
