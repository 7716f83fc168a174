//! Health checks: what to ask of a server, whether the answer is good, when to
//! ask next. The first two are values; the driver, on the side thread, is the
//! only part with sockets and a clock. Its results go to the server's state.

mod agent;
mod driver;
mod hello;
mod http;
mod http2;
mod plan;
mod probe;
mod report;
mod schedule;
#[cfg(test)]
mod tests;

pub use driver::{Checks, Notice, start};
pub(crate) use driver::{log_level, tell_of_agent, tell_of_trackers};
pub use http::{ANSWER_MAX, Answer, Expect, Matcher, Pattern, StatusRange, judge, request};
pub(crate) use probe::{Target, target};
pub use report::{Level, LogLine, lines, send_state};
pub use schedule::{Phase, Schedule};
