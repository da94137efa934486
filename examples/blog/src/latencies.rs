//! Mean and percentiles, exact: all durations are kept and sorted.

use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Latencies {
    sorted: Vec<Duration>,
}

impl Latencies {
    pub(crate) fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self { sorted: durations }
    }

    pub(crate) fn mean(&self) -> Duration {
        match self.sorted.len() {
            0 => Duration::ZERO,
            count => self.sorted.iter().sum::<Duration>().div_f64(count as f64),
        }
    }

    /// The smallest duration that `percent` of all durations do not exceed (nearest rank); zero when
    /// there are none.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        let rank = (percent / 100.0 * self.sorted.len() as f64).ceil() as usize;
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get(rank.saturating_sub(1).min(last)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: impl IntoIterator<Item = u64>) -> Latencies {
        Latencies::new(millis.into_iter().map(Duration::from_millis).collect())
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let hundred = millis((1..=100).rev());
        assert_eq!(hundred.percentile(50.0), Duration::from_millis(50));
        assert_eq!(hundred.percentile(95.0), Duration::from_millis(95));
        assert_eq!(hundred.percentile(99.0), Duration::from_millis(99));
        assert_eq!(hundred.percentile(100.0), Duration::from_millis(100));
        assert_eq!(hundred.percentile(0.0), Duration::from_millis(1));
        assert_eq!(millis([7, 3]).percentile(99.0), Duration::from_millis(7));
    }

    #[test]
    fn the_mean_is_the_mean() {
        assert_eq!(millis([1, 2, 6]).mean(), Duration::from_millis(3));
    }

    #[test]
    fn nothing_measured_is_zero() {
        assert_eq!(millis([]).mean(), Duration::ZERO);
        assert_eq!(millis([]).percentile(99.0), Duration::ZERO);
    }
}
