//! Every loss and its gradient against torch's: see `golden/`.

mod golden;

use burn::tensor::Device;
use golden::Against;

fn assert_close(cases: Vec<Against>, at_least: usize) {
    assert!(cases.len() >= at_least);
    // The logarithm of a GPU is less exact than a CPU's.
    let of_value = if Device::default() == Device::flex() {
        1e-5
    } else {
        1e-3
    };
    for (at, case) in cases.iter().enumerate() {
        assert!(
            case.value <= of_value && case.gradient <= 1e-5,
            "case {at}, {}: value off by {:.1e}, gradient by {:.1e}",
            case.loss,
            case.value,
            case.gradient
        );
    }
}

#[test]
fn losses_on_the_output_are_torchs() {
    assert_close(golden::output::divergences(), 30);
    assert_close(golden::output::others(), 18);
}

#[test]
fn losses_on_features_are_torchs() {
    assert_close(golden::features::cases(), 40);
}
