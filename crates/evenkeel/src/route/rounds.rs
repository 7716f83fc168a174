//! A request in the configuration and with the state of a running instance: the instance is asked for
//! its state again where the request needs entries of large tables.

use super::{NotFollowed, Report, Request};
use configuration::Recording;
use keyword::load::{self, Loaded};
use proxy::message::AskedKey;

/// How often entries of large tables are asked for: which one is needed can depend on another.
const ROUNDS_MAX: usize = 4;

/// Why there is no report.
pub enum NotServed {
    /// The instance did not tell its state, in words.
    Silent(String),
    /// The files have errors.
    Invalid(Box<Loaded>),
    /// The request cannot be served.
    NotFollowed(NotFollowed),
}

/// Serves a request with the state that `ask` gets from an instance, which is asked for these entries
/// of large tables besides.
///
/// # Errors
/// The instance does not tell its state, the files have errors, or no listener takes the request.
pub fn serve(
    request: &Request,
    recording: &Recording,
    mut ask: impl FnMut(&[AskedKey]) -> Result<Vec<u8>, String>,
) -> Result<Report, NotServed> {
    let mut keys: Vec<AskedKey> = Vec::new();
    for round in 1.. {
        let state = ask(&keys).map_err(NotServed::Silent)?;
        let at = jiff::Timestamp::now();
        // Each round meets a state of its own.
        let mut loaded = load::replay(recording.clone());
        let Some(config) = loaded.config.take() else {
            return Err(NotServed::Invalid(Box::new(loaded)));
        };
        let followed = request.follow_live(config, &loaded.sources, &state);
        let (mut report, needed) = followed.map_err(NotServed::NotFollowed)?;
        let more = needed.iter().filter(|key| !keys.contains(key)).cloned();
        let more: Vec<AskedKey> = more.collect();
        if !more.is_empty() && round < ROUNDS_MAX {
            keys.extend(more);
            continue;
        }
        if let Some(live) = &mut report.live {
            live.at = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
            let tables = more.iter().map(|key| {
                format!(
                    "an entry of table {} was not asked for: it counts as absent",
                    key.table
                )
            });
            live.notes.extend(tables);
        }
        return Ok(report);
    }
    Err(NotServed::Silent(
        "the instance was asked too often".to_owned(),
    ))
}
