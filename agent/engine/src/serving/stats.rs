//! Figures of one worker, for the agent's metrics.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};

/// Prometheus' own default: upper bounds in seconds.
const BOUNDS_S: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// A count that only grows.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub fn add_if(&self, happened: bool) {
        self.0.fetch_add(happened.into(), Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How many there are; each holds a `Held`.
#[derive(Default)]
pub struct Gauge(AtomicU64);

/// One of them, until it is dropped.
pub struct Held<T: AsRef<Gauge>>(T);

impl Gauge {
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl<T: AsRef<Gauge>> Held<T> {
    pub fn new(of: T) -> Self {
        of.as_ref().0.fetch_add(1, Relaxed);
        Self(of)
    }
}

impl<T: AsRef<Gauge>> Drop for Held<T> {
    fn drop(&mut self) {
        self.0.as_ref().0.fetch_sub(1, Relaxed);
    }
}

/// Everything that is counted.
#[derive(Default)]
pub struct Stats {
    classes: [Count; 5],
    durations: Mutex<Durations>,
    /// Instances that were made.
    pub instances: Count,
    pub traps: Count,
    pub timeouts: Count,
    /// Requests answered 503: there were too many at a time.
    pub denied: Count,
    /// Connections that came.
    pub connected: Count,
}

#[derive(Default)]
struct Durations {
    buckets: [u64; BOUNDS_S.len()],
    sum_s: f64,
    count: u64,
}

impl Stats {
    /// A response is out, or given up.
    pub fn answered(&self, status: u16, took: Duration) {
        if let Some(class) = self.classes.get(usize::from(status / 100).wrapping_sub(1)) {
            class.add();
        }
        let took_s = took.as_secs_f64();
        let mut durations = self.durations.lock().expect("no holder of it panics");
        durations.sum_s += took_s;
        durations.count += 1;
        for (bucket, bound_s) in durations.buckets.iter_mut().zip(BOUNDS_S) {
            *bucket += u64::from(took_s <= bound_s);
        }
    }

    /// All of it, beside what others know.
    pub fn to_json(&self, in_flight: u64, live: u64, connections: u64, denied_calls: u64) -> Value {
        let class = |at: usize| self.classes[at].get();
        let durations = self.durations.lock().expect("no holder of it panics");
        let buckets: Vec<_> = BOUNDS_S.iter().zip(durations.buckets).collect();
        json!({
            "requests": {
                "1xx": class(0), "2xx": class(1), "3xx": class(2), "4xx": class(3), "5xx": class(4),
            },
            "durations": {"buckets": buckets, "sum": durations.sum_s, "count": durations.count},
            "in_flight": in_flight,
            "instances": self.instances.get(),
            "live_instances": live,
            "traps": self.traps.get(),
            "timeouts": self.timeouts.get(),
            "denied": self.denied.get(),
            "denied_outgoing": denied_calls,
            "connections": connections,
            "connections_made": self.connected.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let stats = Stats::default();
        for millis in [1, 30, 700, 20_000] {
            stats.answered(204, Duration::from_millis(millis));
        }
        stats.answered(999, Duration::ZERO);

        let told = stats.to_json(0, 0, 0, 0);
        let counts: Vec<u64> = told["durations"]["buckets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bucket| bucket[1].as_u64().unwrap())
            .collect();
        assert_eq!(counts, [2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4]);
        assert_eq!(told["durations"]["count"], 5);
        assert_eq!(told["requests"]["2xx"], 4);
    }
}
