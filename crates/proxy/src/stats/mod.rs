//! Statistics: the page, CSV, JSON.

use crate::stream::{Reply, Stream};

/// The statistics page, when the request asks for it.
pub fn answer(_: &Stream, _: bool) -> Option<Reply> {
    None
}
