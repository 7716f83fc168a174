//! What may be longer than agreed, each with its reason. An entry that is not
//! needed any more is a finding itself.

use super::size::Exception;

pub(super) const EXCEPTIONS: &[Exception] = &[];
