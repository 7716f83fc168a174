//! The keywords of the configuration: what there is, and what each builds.

pub mod known;
