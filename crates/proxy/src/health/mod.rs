//! Health checks: what to ask of a server, whether the answer is good, when to
//! ask next. Whatever asks is a script of steps (`script`), whether its lines
//! stand in the file or are built in (`protocol`); running one is a value
//! (`play`, with `expect` for answers and `scene` for what is evaluated in it).
//! The driver and `probe`, on the side thread, are the only parts with sockets
//! and a clock. Results go to the server's state.

mod agent;
mod driver;
mod expect;
mod external;
mod hello;
mod http;
mod http2;
mod mail;
pub(crate) mod orders;
mod outbox;
mod plan;
mod play;
mod probe;
mod protocol;
mod report;
mod scene;
mod schedule;
mod script;
mod socks;
#[cfg(test)]
mod tests;

pub use driver::{Checks, Notice, start};
pub(crate) use driver::{log_level, tell_of_agent, tell_of_trackers};
pub(crate) use expect::unhex;
pub use expect::{ANSWER_MAX, Code, Expect, Matcher, Pattern, StatusRange, Told};
pub use external::{use_programs, wants_programs};
pub use outbox::alert;
pub(crate) use probe::{Target, target};
pub use protocol::Dialogue;
pub use report::{Level, LogLine, lines, send_state};
pub use schedule::{Phase, Schedule};
pub use script::{
    Connect, HttpField, HttpSend, PortSource, STEPS_MAX, Script, Send, Step, StepAction, Voice,
};
pub(crate) use socks::USER as SOCKS4_USER;
