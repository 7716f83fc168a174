//! A health check as a value: what to ask of a server and whether the answer is good.
//! Whatever asks is a script of steps (`script`), whether its lines stand in the file or are
//! built in (`protocol`); `play` runs one, with `expect` for answers and `scene` for what
//! is evaluated in it. `proxy::health` has the sockets and the clock.

pub mod expect;
mod hello;
pub mod http;
pub mod play;
mod protocol;
pub mod scene;

pub use crate::script::{
    Code, Connect, Dialogue, Expect, HttpField, HttpSend, Matcher, Pattern, PortSource,
    ReportedText, STEPS_MAX, Script, Send, StatusRange, Step, StepAction, Voice,
};
pub use expect::ANSWER_MAX;
pub use expect::unhex;
