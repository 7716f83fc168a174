//! Loads configuration files, whatever part of the program their sections belong to: the files of
//! the command line, their lines, each passed to the part of its section, all queries of a load to
//! its environment, and the recording of a load, from which it can be repeated elsewhere.
//!
//! This crate knows no process, no part, and only the keyword `on`, which precedes any other.

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
mod volume_storage;

pub use accounts::{Account, Accounts, Password};
pub use console::ConsoleAddress;
pub use context::Context;
pub use external::{External, Login, Storage};
pub use load::{Loaded, load, replay};
pub use node::{ConfiguredNode, Located, NodeMatch, Nodes, is_name_of};
pub use nodes::DOCUMENTED as ON_DOCUMENTED;
pub use options::LoadOptions;
pub use part::{
    ConfigurationPart, Exchange, NamedAddress, ObjectKind, PartDraft, Rest, RoleInput,
    RoleInterface, no_leftovers,
};
pub use recording::{Export, Recording, RecordingError, without_secrets};
pub use sections::{SectionKeywords, Sections};
pub use table::{DraftLineBuilder, SectionTable, Tabled, TabledDraft};
pub use unknown::Unknown;
pub use volume_storage::{
    VolumeFiles, VolumeStorage, VolumeUser, file_identity, waiting_for_volumes,
};
