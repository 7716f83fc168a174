//! Holds the settings of FastCGI applications (`fcgi-app` sections).

use super::LogTarget;
use crate::compiled::{Condition, Format};
use crate::sample::regular::Regular;
use language::Span;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct FcgiApp {
    pub name: Box<str>,
    pub span: Span,
    pub docroot: Option<Box<[u8]>>,
    pub index: Box<[u8]>,
    pub path_info: Option<Arc<Regular>>,
    pub keep_connections: bool,
    /// `set-param`, in the order of the file.
    pub params: Vec<Arc<SetParam>>,
    pub passed: Vec<Arc<PassHeader>>,
    /// Targets for the standard error of the application (`log-stderr`).
    pub logs: Vec<LogTarget>,
    pub log_global: bool,
}

impl FcgiApp {
    pub fn new(name: &str, span: Span) -> FcgiApp {
        FcgiApp {
            name: name.into(),
            span,
            docroot: None,
            index: Box::default(),
            path_info: None,
            keep_connections: true,
            params: Vec::new(),
            passed: Vec::new(),
            logs: Vec::new(),
            log_global: false,
        }
    }
}

#[derive(Debug)]
pub struct SetParam {
    /// Name in upper case; characters other than letters and digits are `_`.
    pub name: Box<[u8]>,
    /// Value of the parameter; an empty value does not set it.
    pub value: Format,
    pub condition: Option<Condition>,
}

#[derive(Debug)]
pub struct PassHeader {
    pub name: Box<[u8]>,
    pub condition: Option<Condition>,
}
