//! Evaluates health checks without IO: the requests to a server, and the judgement of its
//! responses. Every check is a script of steps (`crate::script`), either configured or built in
//! (`protocol`). `play` runs a script, `expect` evaluates responses, and `scene` evaluates
//! expressions. `proxy::health` has the sockets and the clock.

pub mod expect;
mod hello;
pub mod http;
pub mod play;
mod protocol;
pub mod scene;

pub use crate::sample::plain::unhex;
pub use crate::script::{
    CheckStep, Code, Connect, Dialogue, Expect, HttpField, HttpSend, Matcher, MessageStyle,
    Pattern, PortSource, ReportedText, STEPS_MAX, Script, Send, StatusRange, StepAction,
};
pub use expect::ANSWER_MAX;
