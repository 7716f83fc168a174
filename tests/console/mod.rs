//! Contains the scenarios of the web console, and their setup.

pub mod access;
pub mod browser;
pub mod config;
pub mod far;
pub mod hostile;
pub mod monitoring;
pub mod nodes;
pub mod pages;
pub mod pictures;
pub mod requests;
pub mod screen;
pub mod site;
pub mod spice;
