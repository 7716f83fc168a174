//! Defines samples: values and their types, and what they are compared with (networks, regular
//! expressions, patterns, lists that operators change). This module does not know streams.

pub(crate) mod hash;
pub mod live;
pub mod map;
pub mod matching;
pub mod network;
pub(crate) mod plain;
mod rdp;
pub mod regular;
mod tables;
pub mod value;
pub mod variables;

pub use map::Gives;
pub use matching::Method;
pub use rdp::rdp_cookie;
pub use value::{Sample, SampleValue, Type};
pub use variables::{Scope, VariableName, Variables};
