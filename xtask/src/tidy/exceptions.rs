//! What may be longer than agreed, each with its reason. An entry that is not
//! needed any more is a finding itself.

use super::size::Exception;

pub(super) const EXCEPTIONS: &[Exception] = &[Exception {
    file: "crates/model/src/transaction/born.rs",
    function: Some("renew"),
    reason: "names every field of a stream, so that none can be forgotten",
}];
