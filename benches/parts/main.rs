//! What the parts of a tunnel cost, each alone: `cargo bench`, or `cargo bench -- relay` for one.

mod congestion;
mod relay;
mod wire;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .without_plots()
        .configure_from_args();
    relay::measure(&mut criterion);
    congestion::measure(&mut criterion);
    wire::measure(&mut criterion);
    criterion.final_summary();
}
