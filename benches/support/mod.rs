//! Cases side by side in one process, in interleaved rounds, so that a noisy neighbour disturbs all of them alike. Only
//! ratios mean something on another machine.
#![allow(dead_code, unreachable_pub, reason = "every benchmark uses its own part")]

use std::time::{Duration, Instant};

/// How often each case is run.
pub const ROUNDS: usize = 31;
/// How long one run of a case takes, about.
const BATCH: Duration = Duration::from_millis(8);

/// One way to do a thing: runs it this many times and says how long that took.
pub struct Case {
    pub name: &'static str,
    /// The case it is compared to, by its place.
    pub base: usize,
    pub run: Box<dyn Fn(u64) -> Duration>,
}

impl Case {
    pub fn new(name: &'static str, base: usize, run: impl Fn(u64) + 'static) -> Self {
        let run = move |times| {
            let start = Instant::now();
            run(times);
            start.elapsed()
        };
        Self { name, base, run: Box::new(run) }
    }

    /// How many times take about [`BATCH`].
    fn calibrate(&self) -> u64 {
        let mut times = 1;
        loop {
            let took = (self.run)(times);
            if took > BATCH / 2 {
                return ((times as f64 * BATCH.as_secs_f64() / took.as_secs_f64()) as u64).max(1);
            }
            times *= 2;
        }
    }
}

/// For each case the median time, and the median over the rounds of its ratio to its base.
pub fn print_table(what: &str, cases: &[Case]) {
    let batches: Vec<u64> = cases.iter().map(Case::calibrate).collect();
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let mut nanos = vec![0.0; cases.len()];
        for turn in 0..cases.len() {
            let at = (round + turn) % cases.len();
            nanos[at] = (cases[at].run)(batches[at]).as_secs_f64() * 1e9 / batches[at] as f64;
        }
        rounds.push(nanos);
    }
    println!("\n{what:<44} {:>10}   ratio, median (10th to 90th of {ROUNDS} rounds), to", "ns");
    for (at, case) in cases.iter().enumerate() {
        let nanos = sorted(rounds.iter().map(|round| round[at]));
        let ratios = sorted(rounds.iter().map(|round| round[at] / round[case.base]));
        let [median, low, high] = [5, 1, 9].map(|tenths| part(&ratios, tenths));
        let base = cases[case.base].name;
        println!("{:<44} {:>10.1}   {median:.3} ({low:.3} to {high:.3})  {base}", case.name, part(&nanos, 5));
    }
}

/// So many tenths of the way through sorted numbers.
pub fn part(sorted: &[f64], tenths: usize) -> f64 {
    sorted[(sorted.len() - 1) * tenths / 10]
}

pub fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable_by(f64::total_cmp);
    numbers
}

/// Whether the figures are wanted: `cargo test --benches` only wants to know that a benchmark starts.
pub fn is_wanted() -> bool {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    has("--bench") && !has("--list") && !has("--test")
}
