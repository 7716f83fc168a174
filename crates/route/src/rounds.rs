//! Evaluates a request with the configuration and the state of a running instance. If the request
//! needs entries of large tables, the state is requested again with these entries, up to a limit.

use super::{NotFollowed, Request, RouteReport};
use configuration::Recording;
use keyword::load::{self, Loaded};
use proxy::message::AskedKey;

/// Limit of requests for the state: one table entry can determine which one is needed next.
const ROUNDS_MAX: usize = 4;

pub enum NotServed {
    /// The instance did not send its state, for this reason.
    Silent(String),
    Invalid(Box<Loaded>),
    NotFollowed(NotFollowed),
}

/// Evaluates a request with the state of an instance. `ask` requests that state, together with the
/// given entries of large tables.
///
/// # Errors
/// Fails if the instance does not send its state, the files have errors, or no listener accepts the
/// request.
pub fn serve(
    request: &Request,
    recording: &Recording,
    mut ask: impl FnMut(&[AskedKey]) -> Result<Vec<u8>, String>,
) -> Result<RouteReport, NotServed> {
    let mut keys: Vec<AskedKey> = Vec::new();
    for round in 1.. {
        let state = ask(&keys).map_err(NotServed::Silent)?;
        let at = jiff::Timestamp::now();
        // Each round changes its own copy of the state.
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
                    "an entry of table {} was not requested: it counts as absent",
                    key.table
                )
            });
            live.notes.extend(tables);
        }
        return Ok(report);
    }
    Err(NotServed::Silent(
        "too many requests to the instance".to_owned(),
    ))
}
