//! What may be longer than agreed, each with its reason. An entry that is not
//! needed any more is a finding itself.

use super::size::Exception;

pub(super) const EXCEPTIONS: &[Exception] = &[Exception {
    file: "crates/proxy/src/reactor/tests/fuzz.rs",
    function: Some("one_step_at_a_time"),
    reason: "the moves of one model over one state: apart, each would take all of it",
}];
