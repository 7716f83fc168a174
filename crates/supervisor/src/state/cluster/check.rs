//! Checks whether a version could be served, by a loader that changes nothing. Checks run beside
//! changes, one at a time.

use super::requests::Verdict;
use crate::loading::{LoadError, LoaderResult, Loading};
use part::channel::Channel;
use part::versions::Findings;
use rustix::event::PollFd;
use std::time::Instant;

/// The check in progress; empty between checks.
#[derive(Default)]
pub struct VersionCheck {
    loading: Option<Loading>,
    ask: u64,
    as_json: bool,
}

impl VersionCheck {
    pub fn begin(&mut self, loading: Loading, ask: u64, as_json: bool) {
        *self = VersionCheck {
            loading: Some(loading),
            ask,
            as_json,
        };
    }

    pub fn is_running(&self) -> bool {
        self.loading.is_some()
    }

    /// Returns the verdict when the loader has ended.
    pub fn poll(&mut self) -> Option<Verdict> {
        let told = Loading::settle(&mut self.loading)?;
        Some(verdict(self.ask, self.as_json, told))
    }

    pub fn abandon(&mut self) {
        Loading::abandon(&mut self.loading);
    }

    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let loading = self.loading.iter();
        loading.flat_map(|one| one.process.watched())
    }

    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        let process = self.loading.iter().map(|one| &one.process);
        process
            .filter(|process| !process.is_channel_closed)
            .map(|process| &process.channel)
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.loading.as_ref().map(|one| one.until)
    }
}

/// Returns the verdict of a loader that only checked. Dropping the result closes what the loader
/// opened.
fn verdict(ask: u64, as_json: bool, told: Result<LoaderResult, LoadError>) -> Verdict {
    let (outcome, words) = match told {
        Ok(told) => (told.outcome.ok(), told.shown),
        Err(error) => (None, error.to_string()),
    };
    let plan = outcome.as_ref();
    let mut parts = plan.iter().flat_map(|plan| &plan.parts);
    let difference = plan.map_or("", |plan| &plan.difference);
    Verdict {
        ask,
        is_good: plan.is_some(),
        is_simultaneous: parts.any(|part| part.together),
        words: if as_json {
            Findings::of(&words, difference).json()
        } else {
            words
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::role::{NotLoaded, PartPlan, VersionPlan};

    fn result(outcome: Result<VersionPlan, NotLoaded>) -> Result<LoaderResult, LoadError> {
        Ok(LoaderResult {
            outcome,
            plain: String::new(),
            shown: "a warning".to_owned(),
            descriptors: Vec::new(),
        })
    }

    #[test]
    fn verdict_follows_from_the_outcome_of_the_loader() {
        let together = PartPlan {
            together: true,
            ..PartPlan::default()
        };
        let with = |parts: &[PartPlan]| VersionPlan {
            parts: parts.to_vec(),
            ..VersionPlan::default()
        };
        let plain = verdict(7, false, result(Ok(with(&[]))));
        assert_eq!(plain, Verdict::new(7, true, "a warning"));
        let all = verdict(7, false, result(Ok(with(&[PartPlan::default(), together]))));
        assert!(all.is_good && all.is_simultaneous);
        let refused = verdict(7, false, result(Err(NotLoaded::default())));
        assert_eq!(refused, Verdict::new(7, false, "a warning"));
        let failed = verdict(7, false, Err(LoadError::Ended));
        let words = LoadError::Ended.to_string();
        assert_eq!(failed, Verdict::new(7, false, &words));
        let json = verdict(7, true, result(Ok(with(&[]))));
        assert!(json.words.starts_with('{'), "{}", json.words);
    }

    #[test]
    fn no_check_has_no_verdict_and_no_deadline() {
        let mut check = VersionCheck::default();
        assert!(check.poll().is_none());
        check.abandon();
        assert!(!check.is_running() && check.deadline().is_none());
    }
}
