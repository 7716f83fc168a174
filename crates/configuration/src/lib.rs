//! Loading of configuration files, whichever part of the program the sections are of:
//! the files of the command line, their lines, each given to the part that its section is of,
//! all that a load asks of its environment, and the recording of a load, from which it is done
//! again elsewhere.
//!
//! This crate knows no process, no part, and of keywords only `on`, which stands before any.

mod accounts;
pub mod codes;
mod console;
mod context;
mod external;
pub mod files;
mod load;
mod node;
mod nodes;
mod options;
pub mod outside;
mod part;
mod recording;
mod sections;
mod table;
mod unknown;

pub use accounts::{Account, Accounts, Password};
pub use console::ConsoleAddress;
pub use context::Context;
pub use external::{External, Login, Storage};
pub use load::{Loaded, load, replay};
pub use node::{Located, Node, Nodes, is_name_of};
pub use nodes::DOCUMENTED as ON_DOCUMENTED;
pub use options::LoadOptions;
pub use part::{Draft, Exchange, Given, Kind, NamedAddress, Part, Rest, Run, no_rest};
pub use recording::{Export, Recording, RecordingError, without_secrets};
pub use sections::{Sections, Words};
pub use table::{LineBuilder, Lines, SectionTable, Tabled};
pub use unknown::Unknown;
