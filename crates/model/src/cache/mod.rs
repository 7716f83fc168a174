//! Implements the cache of small HTTP responses (`cache` sections, `cache-use`, `cache-store`):
//! decides which responses are stored and for how long, stores them, and finds those to deliver.
//! This module knows no stream; `crate::caching` applies it to streams.
//!
//! A cache survives reloads as long as its section stays the same. Its entries use at most
//! `total-max-size`: the oldest is removed first. Responses that are still arriving may use the
//! same amount again. An entry is never delivered after its expiry. A request with
//! `Authorization` gets no entry, and its response is not stored.

pub(crate) mod control;
pub(crate) mod store;
pub(crate) mod vary;

pub use store::{Cache, Entry, Keyed, Settings};

use http::message::HttpMessage;
use std::sync::Arc;
use vary::Secondary;

/// Use of a cache by a stream: the looked-up key, and the response that is being stored.
#[derive(Debug)]
pub struct Used {
    pub(crate) cache: Arc<Cache>,
    pub(crate) key: Box<[u8]>,
    pub(crate) secondary: Secondary,
    pub hit: bool,
    pub(crate) storing: Option<Storing>,
    /// The method of the request may change the resource, so a response with a status from 200 to
    /// 399 removes the stored responses for the key.
    pub(crate) unsafe_method: bool,
}

impl Used {
    pub(crate) fn new(cache: &Arc<Cache>, key: Box<[u8]>, unsafe_method: bool) -> Used {
        Used {
            cache: Arc::clone(cache),
            key,
            secondary: Secondary::default(),
            hit: false,
            storing: None,
            unsafe_method,
        }
    }

    pub fn name(&self) -> &str {
        &self.cache.settings.name
    }
}

/// A response being stored in a cache.
#[derive(Debug)]
pub(crate) struct Storing {
    pub(crate) head: HttpMessage,
    pub(crate) body: Vec<u8>,
    pub(crate) age_s: u32,
    pub(crate) lifetime_s: u32,
    pub(crate) varies: vary::Varies,
    pub(crate) filling: store::Filling,
}
