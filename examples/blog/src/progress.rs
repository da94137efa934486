//! Shows what is going on: a bar on a terminal, a line per phase anywhere else. Always on standard error,
//! so that the figures can be piped away.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::report::grouped;

/// Announces a phase and returns its bar.
pub(crate) fn phase(name: &str, steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64).with_style(style()).with_message(name.to_owned());
    if bar.is_hidden() {
        eprintln!("{name}: {} …", grouped(steps));
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Ends a phase: the bar goes, a line stays.
pub(crate) fn done(bar: &ProgressBar) {
    let line = format!(
        "{}: {} in {:.1} s",
        bar.message(),
        grouped(bar.position() as usize),
        bar.elapsed().as_secs_f64()
    );
    bar.finish_and_clear();
    eprintln!("{line}");
}

fn style() -> ProgressStyle {
    let plain = ProgressStyle::default_bar();
    plain.clone().template("{msg:32} {wide_bar} {human_pos}/{human_len} {elapsed}").unwrap_or(plain)
}
