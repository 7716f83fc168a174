//! Records the trace events of a process, as far as the levels admit them, and sends them to the
//! journal or to standard error.
//!
//! Every process records the events of its crates (`tracing::info!(volume = %name, "resync
//! started")`) in a [`ring`] of shared memory, which the supervisor created. The ring survives the
//! process, also one that was killed, and `evenkeel trace` and `evenkeel support` show it. The
//! supervisor's own ring is a file in the runtime directory, for the next supervisor. If
//! standard error is the journal, events also go there with their fields ([`journal`]); otherwise
//! warnings and errors go to standard error.
//!
//! [`set_levels`] changes the levels at any time. An event whose level is off costs an atomic load:
//! `tracing` caches the result for each place in the code, and a change of levels renews the cache.
//!
//! An event never blocks: a record that does not fit is cut, and one that the journal does not
//! accept at once is dropped and counted.
//!
//! **Secrets.** A field has a name, an address, a number, a state or a reason; never a password, a
//! key, a token, a cookie, a line of a configuration or the body of a message. A value that could
//! contain one is masked before it becomes a field: by `language::difference::masked_value` for
//! settings and URLs. Records are not searched for secrets later.

mod control;
pub mod journal;
mod record;
mod ring;
mod subscriber;

pub use control::{
    LEVELS_VARIABLE, RING_VARIABLE, TEMPORARY_MAX, TemporaryLevels, TraceControl, continue_in_file,
    control, own, take_inherited,
};
pub use language::log_levels::{LogLevel, LogLevels, LogLevelsError};
pub use record::{TraceRecord, TraceSpan, level_name};
pub use ring::{MappedRing, NumberedRecord, RING_BYTES, RingContents};
pub use subscriber::{replace_ring, set_levels};

use journal::Journal;
use std::hash::{BuildHasher, Hasher, RandomState};
use subscriber::EventOutputs;

pub const OPERATION_BYTES_MAX: usize = 16;

/// Target of the messages that a process prints.
pub const PRINTED: &str = "message";

pub const SUPERVISOR: &str = "supervisor";

/// Starts the recording of events in this process, before its second thread and before its
/// confinement: the socket to the journal is opened here. `print` writes to standard error
/// within the rate limit of messages; None if programs read the messages of this process, as those of
/// HAProxy or keepalived. A second call has no effect.
pub fn begin(
    role: &'static str,
    print: Option<fn(&str)>,
    ring: Option<MappedRing>,
    levels: LogLevels,
) {
    let journal = Journal::of_standard_error(role);
    let outputs = EventOutputs {
        print: print.filter(|_| journal.is_none()),
        journal,
    };
    subscriber::begin(outputs, ring, levels);
}

/// Records a message that the process prints, in the ring only: the printed message is in the log
/// already.
pub fn record_message(level: tracing::Level, text: &str) {
    match level {
        tracing::Level::ERROR => tracing::error!(target: PRINTED, "{text}"),
        tracing::Level::WARN => tracing::warn!(target: PRINTED, "{text}"),
        _ => tracing::info!(target: PRINTED, "{text}"),
    }
}

/// Returns the id of a new operation: six digits that follow a version, a move or a resync through
/// the events of all processes and nodes, in the field `op`.
pub fn new_operation() -> String {
    operation_of(RandomState::new().build_hasher().finish())
}

/// Returns the id of an operation that several nodes know by a number.
pub fn operation_of(number: u64) -> String {
    // Multiplies as in Fibonacci hashing, which distributes consecutive numbers.
    format!("{:06x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40)
}
