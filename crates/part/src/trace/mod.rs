//! Decides which trace events of a process are recorded, and where they go.

mod control;
pub mod journal;
mod record;
mod ring;
mod subscriber;

pub use control::{
    LEVELS_VARIABLE, RING_VARIABLE, TEMPORARY_MAX, TemporaryLevels, TraceControl, control, own,
    take_inherited,
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
