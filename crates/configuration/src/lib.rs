//! Loads configuration files, whatever part of the platform (proxy, volumes, virtual machines, …)
//! their sections belong to: passes each line to the part of its section, makes all queries of
//! the load to the system, and records the load, so that it can be repeated in another process.
//!
//! The crate knows no process and no part of the platform, and only one keyword: `on`, which
//! precedes any other.

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
mod vocabulary;
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
    ConfigurationPart, Exchange, NamedAddress, ObjectCount, ObjectKind, PartDraft, Rest, RoleInput,
    RoleInterface, no_leftovers,
};
pub use recording::{Export, Recording, RecordingError, without_secrets};
pub use sections::{SectionKeywords, Sections};
pub use table::{DraftLineBuilder, SectionTable, Tabled, TabledDraft};
pub use unknown::Unknown;
pub use vocabulary::{documented, vocabulary};
pub use volume_storage::{
    VolumeFiles, VolumeStorage, VolumeUser, file_identity, waiting_for_volumes,
};
