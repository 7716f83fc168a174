//! Defines the compiled form of rules: expressions, conditions, formats and actions, as values.
//! `crate::rules` compiles them when a file is loaded, and runs them.

pub(crate) mod action;
mod admission;
pub(crate) mod argument;
mod balance;
pub(crate) mod condition;
mod error_page;
pub(crate) mod expression;
pub mod format;
pub(crate) mod lines;
pub(crate) mod map;
mod names;

pub use action::answer::ResponseTemplate;
pub use action::variable::VariableChange;
pub use action::{HttpRule, TcpRule};
pub use admission::AdmissionLine;
pub use argument::{Argument, Arguments, MessageSide};
pub use balance::{Balance, HashKey, Hashed};
pub use condition::{Acl, Condition, Test};
pub use error_page::ERROR_STATUSES;
pub use error_page::{ErrorFile, ErrorPage, HttpErrors, HttpErrorsSlot};
pub use expression::{Converters, Expression};
pub use format::Format;
pub use lines::{LineRuleSet, LineRules, LineState};
pub use map::Map;
pub use names::HeaderNameList;
