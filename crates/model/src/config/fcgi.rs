//! FastCGI applications: the section `fcgi-app`.

use super::LogTarget;
use crate::compiled::{Condition, Format};
use crate::sample::regular::Regular;
use language::Span;
use std::sync::Arc;

/// A FastCGI application.
#[derive(Clone, Debug)]
pub struct FcgiApp {
    /// Its name.
    pub name: Box<str>,
    /// Where that stands.
    pub span: Span,
    /// `docroot`
    pub docroot: Option<Box<[u8]>>,
    /// `index`
    pub index: Box<[u8]>,
    /// `path-info`
    pub path_info: Option<Arc<Regular>>,
    /// `option keep-conn`
    pub keep_connections: bool,
    /// `set-param`, in the order of the file.
    pub params: Vec<Arc<SetParam>>,
    /// `pass-header`
    pub passed: Vec<Arc<PassHeader>>,
    /// `log-stderr`
    pub logs: Vec<LogTarget>,
    /// `log-stderr global`
    pub log_global: bool,
}

impl FcgiApp {
    /// An application before its lines are read.
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

/// `set-param`
#[derive(Debug)]
pub struct SetParam {
    /// The name in upper case, with `_` for what is no letter or digit.
    pub name: Box<[u8]>,
    /// Its value; the parameter is not set where that is empty.
    pub value: Format,
    /// When it is set.
    pub condition: Option<Condition>,
}

/// `pass-header`
#[derive(Debug)]
pub struct PassHeader {
    /// The header.
    pub name: Box<[u8]>,
    /// When it is passed.
    pub condition: Option<Condition>,
}
