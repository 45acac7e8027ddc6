//! What we measure: `cargo bench` runs the operations against their compositions of burn
//! operations, as ratios on one machine in one run.
