//! A health check as a value: what to ask of a server and whether the answer is good.
//! Whatever asks is a script of steps (`script`), whether its lines stand in the file or are
//! built in (`protocol`); `play` runs one, with `expect` for answers and `scene` for what
//! is evaluated in it. [`crate::health`] has the sockets and the clock.

pub(crate) mod expect;
mod hello;
pub(crate) mod http;
pub(crate) mod play;
mod protocol;
pub(crate) mod scene;
pub(crate) mod script;

pub(crate) use expect::unhex;
pub use expect::{ANSWER_MAX, Code, Expect, Matcher, Pattern, StatusRange, Told};
pub use protocol::Dialogue;
pub use script::{
    Connect, HttpField, HttpSend, PortSource, STEPS_MAX, Script, Send, Step, StepAction, Voice,
};
