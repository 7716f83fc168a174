//! Health checks: what to ask of a server, whether the answer is good, when to
//! ask next. The first two are values; the driver, on the side thread, is the
//! only part with sockets and a clock. Its results go to the server's state.

mod http;
mod schedule;

pub use http::{ANSWER_MAX, Answer, Expect, Matcher, Pattern, StatusRange, judge, request};
pub use schedule::{Phase, Schedule};
