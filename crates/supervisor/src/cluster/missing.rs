//! A version that is served although this machine lacks something, such as the addresses of a host
//! name, or for an accepted version of a cluster also a port that another program uses. The
//! supervisor loads the version again from time to time, and applies the result as soon as less is
//! missing.

use crate::loading::{LoadError, LoaderResult};
use crate::state::Supervisor;
use crate::version::LoadedVersion;
use part::spawn::OWN_PROGRAM;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Name of the file in the state directory with the results of earlier loads: addresses of host
/// names and ids of accounts.
const FOUND: &str = "found";
/// Shortest interval between attempts to find what the version lacks.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LAST_PAUSE: Duration = Duration::from_secs(20);

/// Returns the time until the next attempt after this number of attempts.
fn pause(attempts: u32) -> Duration {
    let doubled = 1_u32.checked_shl(attempts).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(doubled).min(LAST_PAUSE)
}

impl Supervisor {
    /// Returns whether a load that starts now is of the accepted version, which is served although
    /// this machine lacks something.
    pub(in super::super) fn loads_accepted(&self) -> bool {
        self.cluster.serving.is_none() && self.cluster.accepted.is_some()
    }

    /// Returns the path of the file with earlier results, on a cluster node.
    pub(in super::super) fn found_path(&self) -> Option<Vec<u8>> {
        let start = self.cluster.start.as_ref().filter(|start| !start.arbiter)?;
        let path = start.directory.join(FOUND);
        Some(path.as_os_str().as_bytes().to_vec())
    }

    /// Returns whether a load that retried missing resources still lacks the same ones.
    pub(in super::super) fn retried_in_vain(
        &mut self,
        told: &Result<LoaderResult, LoadError>,
    ) -> bool {
        let has_version = told.as_ref().is_ok_and(|told| told.outcome.is_ok());
        let in_vain = std::mem::take(&mut self.cluster.retrying) && !has_version;
        if in_vain {
            self.changing.requests.finish();
        }
        in_vain
    }

    fn lacks_something(&self) -> bool {
        let kept = self.versions.last_good.as_ref();
        kept.is_some_and(|kept: &LoadedVersion| !kept.plan().lacks.missing.is_empty())
    }

    pub(super) fn look_for_missing(&mut self, now: Instant) {
        if !self.lacks_something() || self.service.stop.is_some() {
            (self.cluster.retry_at, self.cluster.retries) = (None, 0);
            return;
        }
        let retries = self.cluster.retries;
        let at = *self
            .cluster
            .retry_at
            .get_or_insert_with(|| now + pause(retries));
        if at > now {
            return;
        }
        self.cluster.retry_at = Some(now + pause(retries));
        let idle = self.may_change()
            && (self.loads_accepted() || !self.is_member())
            && self.cluster.trial.is_none()
            && self.cluster.first.is_none()
            && !self.changing.requests.is_asked();
        if !idle {
            return;
        }
        self.cluster.retries = retries.saturating_add(1);
        self.changing.requests.ask(None);
        if self.changing.requests.begin().is_some() {
            self.cluster.retrying = true;
            self.begin_load(Path::new(OWN_PROGRAM));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_back_off_but_never_stop() {
        let seconds: Vec<u64> = [0, 1, 2, 3, 31, 32, u32::MAX]
            .map(|n| pause(n).as_secs())
            .into();
        assert_eq!(seconds, [5, 10, 20, 20, 20, 20, 20]);
    }
}
