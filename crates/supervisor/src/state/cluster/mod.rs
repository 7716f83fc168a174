//! Holds the state of a cluster member: the accepted version, the candidate, and the requests of
//! the control role. The value decides what follows from a request or an event; the supervisor
//! carries it out with loaders and roles.

mod check;
mod requests;
mod retry;

pub use requests::{ChangeRequest, CheckRequest, ControlRequest, ServeRequest, Verdict};

use crate::command::Start;
use crate::version::LoadedVersion;
use check::VersionCheck;
use part::SharedFd;
use part::row::ControllerProperties;
use part::voice::MessagePrinter;
use requests::ControlRequests;
use retry::MissingRetry;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Interval after which an accepted version that could not be served is tried again: a host name
/// may not resolve yet, or an address not exist.
pub const AGAIN: Duration = Duration::from_secs(5);
/// Time for a proxy to confirm a rollback or an acceptance. The accepted version is still compiled;
/// a proxy that exceeds the timeout is replaced by one with the accepted version.
const BACK_LIMIT: Duration = Duration::from_secs(5);
/// Name of the file in the state directory with the results of earlier loads: addresses of host
/// names and ids of accounts.
const FOUND: &str = "found";

/// State of a cluster member; empty on other machines.
///
/// A version that the control role wants to serve is in progress while it is loaded. Then it is
/// accepted, or a candidate: a trial beside the accepted version, or the first version of the
/// machine. A candidate ends by `accept` or a rollback.
#[derive(Default)]
pub struct Cluster {
    pub start: Option<Start>,
    pub requests: ControlRequests,
    pub check: VersionCheck,
    pub retry: MissingRetry,
    /// Version that the change in progress loads.
    serving: Option<VersionInProgress>,
    /// True if the control role that requested the change has died, so that the result is settled
    /// without it.
    is_orphaned: bool,
    accepted: Option<SharedFd>,
    trial: Option<Trial>,
    /// State for a rollback, while the first version of this machine is served as a candidate.
    first: Option<First>,
    /// Time of the next attempt to load the accepted version, after a failure at the start.
    load_at: Option<Instant>,
    /// The reason why the accepted version could not be served at the start; empty if it is served.
    failure: String,
}

struct VersionInProgress {
    set: SharedFd,
    trial: bool,
    operation: String,
    /// Output of the loader of a first version.
    shown: String,
}

struct Trial {
    version: LoadedVersion,
    set: SharedFd,
    /// Deadline of a rollback in progress, after which the proxy is killed.
    back_until: Option<Instant>,
    /// Numbers of the rollback requests that get a response at the end.
    asks: Vec<u64>,
    /// Number and deadline of the accept request. The version is accepted once the proxy reports
    /// that it did not roll back meanwhile.
    accepting: Option<(u64, Instant)>,
}

impl Trial {
    fn until(&self) -> Option<Instant> {
        self.back_until.or(self.accepting.map(|(_, until)| until))
    }
}

/// State to which a rollback of a first version returns.
struct First {
    /// An accepted version that this machine could not serve.
    accepted: Option<SharedFd>,
}

/// What follows from a request to serve a version.
#[derive(Debug, PartialEq, Eq)]
pub enum ServeStep {
    Refused(Verdict),
    /// The candidate is rolled back first; the request waits for that.
    RollBack,
    Load,
}

/// What follows from a request to accept the candidate.
#[derive(Debug, PartialEq, Eq)]
pub enum AcceptStep {
    NoCandidate,
    /// The first version is accepted: the sidecars apply it, too.
    First,
    /// The proxy must confirm that it has not rolled back, if it knows of the candidate.
    Trial {
        is_without_proxy: bool,
    },
}

/// What follows from the decision to roll back.
#[derive(Debug, PartialEq, Eq)]
pub enum RollbackStep {
    /// There is no candidate, or its rollback is in progress.
    Nothing,
    /// The candidate is the first version, so nothing is served afterwards.
    ServeNothing,
    /// The rollback has ended, because no role knew of the candidate.
    Ended(Vec<Verdict>),
    /// The proxy must return to the accepted version.
    Proxy,
}

pub struct AcceptedTrial {
    pub version: LoadedVersion,
    pub verdicts: Vec<Verdict>,
}

impl Cluster {
    /// Creates the state; `start` is None on a machine without a cluster.
    pub fn new(start: Option<Start>) -> Cluster {
        Cluster {
            start,
            ..Cluster::default()
        }
    }

    pub fn is_member(&self) -> bool {
        self.start.is_some()
    }

    pub fn is_arbiter(&self) -> bool {
        self.start.as_ref().is_some_and(|start| start.arbiter)
    }

    /// Returns the path of the file with the results of earlier loads, on a node that serves.
    pub fn found_path(&self) -> Option<Vec<u8>> {
        let start = self.start.as_ref().filter(|start| !start.arbiter)?;
        let path = start.directory.join(FOUND);
        Some(path.as_os_str().as_bytes().to_vec())
    }

    pub fn trial_version(&self) -> Option<&LoadedVersion> {
        self.trial.as_ref().map(|trial| &trial.version)
    }

    /// Returns whether a candidate is served.
    pub fn has_candidate(&self) -> bool {
        self.trial.is_some() || self.first.is_some()
    }

    /// Returns whether the candidate is the first version of this machine.
    pub fn has_first_candidate(&self) -> bool {
        self.first.is_some()
    }

    pub fn has_accepted(&self) -> bool {
        self.accepted.is_some()
    }

    /// Returns whether the control role waits for the result of a change.
    pub fn is_changing(&self) -> bool {
        self.serving.is_some()
    }

    /// Returns whether no change, candidate or check is in progress.
    pub fn is_idle(&self) -> bool {
        !self.has_candidate() && !self.is_changing() && !self.check.is_running()
    }

    /// Returns why the accepted version could not be served at the start; empty if it is served.
    pub fn failure(&self) -> &str {
        &self.failure
    }

    /// Returns the id of the change in trace events; None without a change of the control role.
    pub fn operation(&self) -> Option<&str> {
        let operation = self.serving.as_ref().map(|serving| &*serving.operation);
        operation.filter(|operation| !operation.is_empty())
    }

    /// Returns the files of the cluster for a loader; None if it must read the files of this
    /// machine.
    pub fn set_to_load(&self) -> Option<SharedFd> {
        let serving = self.serving.as_ref().map(|one| &one.set);
        serving.or(self.accepted.as_ref()).cloned()
    }

    /// Returns whether a load that starts now is of the accepted version, which is served although
    /// this machine lacks something.
    pub fn loads_accepted(&self) -> bool {
        self.serving.is_none() && self.accepted.is_some()
    }

    /// Returns whether the version in progress becomes a candidate.
    pub fn loads_candidate(&self) -> bool {
        self.serving.as_ref().is_some_and(|serving| serving.trial)
    }

    /// Returns whether sidecars must wait: they apply a version when it is accepted, also a first
    /// one.
    pub fn holds_sidecars_back(&self, served: bool) -> bool {
        (!served && self.loads_candidate()) || self.first.is_some()
    }

    /// Returns why a reload is refused now.
    pub fn reload_refusal(&self) -> Option<&'static str> {
        if !self.is_member() {
            None
        } else if self.has_candidate() {
            Some(
                "a candidate version is being tried; try again when it is decided (`evenkeel config status`)",
            )
        } else if self.accepted.is_none() && self.serving.is_none() {
            // Refuses the reload if there is no accepted version and none is being loaded. During
            // the first load the reload waits for its end.
            Some("nothing is served here; restart to run another program")
        } else {
            None
        }
    }

    /// Reads the last accepted version from the state directory.
    pub fn find_accepted(&mut self, governs: &ControllerProperties, voice: &mut MessagePrinter) {
        let Some(start) = self.start.as_ref().filter(|_| self.accepted.is_none()) else {
            return;
        };
        let path = start.directory.join(governs.accepted);
        match (governs.read_accepted)(&start.directory) {
            Ok(accepted) => {
                if let Some(damage) = accepted.damage {
                    voice.warning(format_args!(
                        "{} {damage}: serving its copy, {}.copy; the next accepted version replaces both",
                        path.display(),
                        governs.accepted
                    ));
                }
                self.accepted = Some(Arc::new(accepted.file));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => voice.alert(format_args!(
                "cannot read the last accepted version ({}: {error}); waiting for the cluster to send it",
                path.display()
            )),
        }
    }

    /// Begins a change, unless a candidate must be rolled back first: the new version would be
    /// compared with it.
    pub fn serve(&mut self, request: ServeRequest) -> ServeStep {
        if self.start.as_ref().is_none_or(|start| start.arbiter) {
            let verdict = Verdict::new(request.ask, false, "an arbiter serves nothing");
            return ServeStep::Refused(verdict);
        }
        if self.has_candidate() {
            self.requests.put_back(ChangeRequest::Serve(request));
            return ServeStep::RollBack;
        }
        self.load_at = None;
        self.serving = Some(VersionInProgress {
            set: request.set,
            trial: request.trial,
            operation: request.operation,
            shown: String::new(),
        });
        ServeStep::Load
    }

    /// Keeps the output of the loader of a first version, for the client that asked.
    pub fn keep_output(&mut self, shown: &str) {
        if let Some(serving) = &mut self.serving {
            shown.clone_into(&mut serving.shown);
        }
    }

    /// Ends the change in progress, if there is one. A version that was applied becomes the
    /// accepted one.
    pub fn end_change(&mut self, is_applied: bool) {
        let serving = self.serving.take();
        if let Some(serving) = serving.filter(|_| is_applied) {
            self.first = None;
            self.accepted = Some(serving.set);
        }
    }

    /// Handles a first version that is served. Returns the output of its loader if the control role
    /// requested the version.
    pub fn first_serves(&mut self) -> Option<String> {
        self.failure.clear();
        let serving = self.serving.as_mut()?;
        let shown = std::mem::take(&mut serving.shown);
        let first = serving.trial.then(|| First {
            accepted: self.accepted.clone(),
        });
        self.end_change(true);
        self.first = first;
        Some(shown)
    }

    /// Handles a first version that could not be served; the accepted one is tried again. Returns
    /// whether the control role requested the version, which then gets the error.
    pub fn first_failed(&mut self, words: &str, shown: &str, now: Instant) -> bool {
        let is_requested = self.serving.is_some();
        let is_tried_again = !is_requested || self.accepted.is_some();
        self.load_at = is_tried_again.then(|| now + AGAIN);
        if !is_requested {
            let mut lines = words.lines().chain(shown.lines()).map(str::trim);
            let why = lines.find(|line| !line.is_empty());
            self.failure = why.unwrap_or("the log says why").to_owned();
        }
        is_requested
    }

    /// Returns whether the accepted version must be loaded now, after a failure.
    pub fn is_load_due(&mut self, now: Instant) -> bool {
        self.load_at.take_if(|at| *at <= now).is_some()
    }

    /// Makes a loaded version the candidate: its trial begins.
    pub fn begin_trial(&mut self, version: LoadedVersion) {
        if let Some(serving) = self.serving.take() {
            self.trial = Some(Trial {
                version,
                set: serving.set,
                back_until: None,
                accepting: None,
                asks: Vec::new(),
            });
        }
    }

    pub fn accept(&mut self, ask: u64, now: Instant) -> AcceptStep {
        if self.first.take().is_some() {
            return AcceptStep::First;
        }
        let Some(trial) = &mut self.trial else {
            return AcceptStep::NoCandidate;
        };
        trial.accepting = Some((ask, now + BACK_LIMIT));
        AcceptStep::Trial {
            is_without_proxy: trial.version.is_without_proxy(),
        }
    }

    /// Ends the trial whose acceptance was confirmed. None if no acceptance is in progress.
    pub fn end_accept(&mut self) -> Option<AcceptedTrial> {
        let trial = self.trial.take_if(|trial| trial.accepting.is_some())?;
        self.accepted = Some(trial.set);
        let accepted = trial.accepting.iter();
        let accepted = accepted.map(|(ask, _)| Verdict::new(*ask, true, ""));
        let refused = trial.asks.iter();
        let refused = refused.map(|ask| Verdict::new(*ask, false, "it was accepted"));
        Some(AcceptedTrial {
            verdicts: accepted.chain(refused).collect(),
            version: trial.version,
        })
    }

    /// Adds a request that gets its verdict at the end of the rollback. Returns false if no trial is
    /// in progress.
    pub fn wait_for_rollback(&mut self, ask: u64) -> bool {
        let trial = self.trial.as_mut();
        trial.map(|trial| trial.asks.push(ask)).is_some()
    }

    pub fn begin_rollback(&mut self, now: Instant) -> RollbackStep {
        if self.first.is_some() {
            return RollbackStep::ServeNothing;
        }
        let Some(trial) = self.trial.as_mut().filter(|one| one.back_until.is_none()) else {
            return RollbackStep::Nothing;
        };
        trial.back_until = Some(now + BACK_LIMIT);
        if trial.version.is_without_proxy() {
            return RollbackStep::Ended(self.end_rollback("").unwrap_or_default());
        }
        RollbackStep::Proxy
    }

    pub fn is_rolling_back(&self) -> bool {
        let trial = self.trial.as_ref();
        trial.is_some_and(|trial| trial.back_until.is_some())
    }

    /// Ends the trial after a rollback: rollback requests have succeeded, and a pending accept
    /// request has failed. None if no trial is in progress.
    pub fn end_rollback(&mut self, words: &str) -> Option<Vec<Verdict>> {
        let trial = self.trial.take()?;
        let refused = trial.accepting.iter();
        let refused = refused.map(|(ask, _)| Verdict::new(*ask, false, words));
        let done = trial.asks.iter();
        let done = done.map(|ask| Verdict::new(*ask, true, words));
        Some(refused.chain(done).collect())
    }

    /// Ends the first version after a rollback. Returns false if there is none.
    pub fn end_first(&mut self, now: Instant) -> bool {
        let Some(First { accepted }) = self.first.take() else {
            return false;
        };
        self.load_at = accepted.is_some().then(|| now + AGAIN);
        self.accepted = accepted;
        true
    }

    /// Returns whether the proxy has taken too long to confirm an acceptance or a rollback.
    pub fn is_trial_late(&self, now: Instant) -> bool {
        let until = self.trial.as_ref().and_then(Trial::until);
        until.is_some_and(|until| until <= now)
    }

    /// Records that the control role has died while it waited for a candidate.
    pub fn orphan_change(&mut self) {
        self.is_orphaned |= self.loads_candidate();
    }

    /// Returns whether the candidate that a change has brought must be settled without the control
    /// role that requested it.
    pub fn take_orphaned(&mut self) -> bool {
        self.serving.is_none() && std::mem::take(&mut self.is_orphaned)
    }

    /// Returns the files of a candidate on which nobody has decided yet.
    pub fn undecided_set(&self) -> Option<&SharedFd> {
        match &self.trial {
            Some(trial) => Some(&trial.set).filter(|_| trial.until().is_none()),
            None => self.accepted.as_ref().filter(|_| self.first.is_some()),
        }
    }

    /// Cancels what waits for the control role or a timer.
    pub fn cancel_pending(&mut self) {
        self.load_at = None;
        self.retry.cancel();
        self.requests.clear();
        self.check.abandon();
    }

    pub fn deadline(&self) -> Option<Instant> {
        let trial = self.trial.as_ref().and_then(Trial::until);
        let all = [
            self.load_at,
            self.retry.deadline(),
            self.check.deadline(),
            trial,
        ];
        all.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::memory;
    use part::role::Take;
    use std::os::fd::OwnedFd;

    fn file() -> OwnedFd {
        memory::create("test", b"files").expect("memory")
    }

    fn cluster() -> Cluster {
        Cluster::new(Some(Start {
            directory: "/state".into(),
            arbiter: false,
        }))
    }

    fn version(without_proxy: bool) -> LoadedVersion {
        let mut take = Take::default();
        take.plan.without_proxy = without_proxy;
        LoadedVersion::of(take, file(), Vec::new())
    }

    fn request(ask: u64, trial: bool) -> ServeRequest {
        ServeRequest {
            ask,
            set: Arc::new(file()),
            trial,
            operation: "operation".to_owned(),
        }
    }

    /// A member with an accepted version, which tries another one.
    fn trying(without_proxy: bool) -> Cluster {
        let mut cluster = cluster();
        cluster.serve(request(1, false));
        cluster.end_change(true);
        assert_eq!(cluster.serve(request(2, true)), ServeStep::Load);
        assert!(cluster.loads_candidate());
        cluster.begin_trial(version(without_proxy));
        cluster
    }

    fn verdicts(all: Option<Vec<Verdict>>) -> Vec<(u64, bool)> {
        let all = all.expect("a trial");
        all.iter().map(|one| (one.ask, one.is_good)).collect()
    }

    #[test]
    fn refused_version_leaves_the_accepted_one() {
        let mut cluster = cluster();
        assert!(cluster.reload_refusal().is_some() && cluster.is_idle());
        assert_eq!(cluster.serve(request(1, false)), ServeStep::Load);
        assert_eq!(cluster.operation(), Some("operation"));
        assert_eq!(cluster.reload_refusal(), None, "the reload waits");
        let set = cluster.set_to_load().expect("files");
        cluster.end_change(true);
        assert!(cluster.loads_accepted() && cluster.is_idle());
        cluster.serve(request(2, false));
        assert!(!cluster.loads_accepted());
        cluster.end_change(false);
        cluster.end_change(true);
        let accepted = cluster.set_to_load().expect("files");
        assert!(Arc::ptr_eq(&accepted, &set));
        assert_eq!(cluster.operation(), None);
    }

    #[test]
    fn arbiter_and_machine_without_cluster_serve_nothing() {
        let mut alone = Cluster::new(None);
        assert_eq!(alone.reload_refusal(), None);
        assert!(matches!(
            alone.serve(request(1, true)),
            ServeStep::Refused(_)
        ));
        let mut arbiter = cluster();
        arbiter.start.as_mut().expect("a member").arbiter = true;
        assert!(arbiter.is_arbiter() && arbiter.found_path().is_none());
        let refused = arbiter.serve(request(1, true));
        let verdict = Verdict::new(1, false, "an arbiter serves nothing");
        assert_eq!(refused, ServeStep::Refused(verdict));
    }

    #[test]
    fn accepted_candidate_refuses_the_requests_for_a_rollback() {
        let now = Instant::now();
        let mut cluster = trying(false);
        assert!(cluster.has_candidate() && cluster.reload_refusal().is_some());
        assert!(cluster.end_accept().is_none(), "nobody has accepted it");
        let step = cluster.accept(7, now);
        let is_without_proxy = false;
        assert_eq!(step, AcceptStep::Trial { is_without_proxy });
        assert!(cluster.wait_for_rollback(8));
        assert!(!cluster.is_trial_late(now) && cluster.is_trial_late(now + BACK_LIMIT));
        let accepted = cluster.end_accept().expect("a trial");
        assert_eq!(verdicts(Some(accepted.verdicts)), [(7, true), (8, false)]);
        assert!(cluster.end_accept().is_none(), "twice");
        assert_eq!(cluster.accept(9, now), AcceptStep::NoCandidate);
        assert!(!cluster.has_candidate() && cluster.loads_accepted());
    }

    #[test]
    fn rollback_refuses_a_pending_acceptance() {
        let now = Instant::now();
        let mut cluster = trying(false);
        cluster.accept(7, now);
        assert!(cluster.wait_for_rollback(8));
        assert_eq!(cluster.begin_rollback(now), RollbackStep::Proxy);
        assert!(cluster.is_rolling_back());
        assert_eq!(cluster.begin_rollback(now), RollbackStep::Nothing, "twice");
        assert!(cluster.is_trial_late(now + BACK_LIMIT));
        let all = cluster.end_rollback("words");
        assert_eq!(verdicts(all), [(7, false), (8, true)]);
        assert!(cluster.end_rollback("words").is_none(), "twice");
        assert!(!cluster.wait_for_rollback(9));
        assert_eq!(cluster.begin_rollback(now), RollbackStep::Nothing);
    }

    #[test]
    fn candidate_without_a_proxy_is_rolled_back_at_once() {
        let mut cluster = trying(true);
        cluster.wait_for_rollback(8);
        let verdict = Verdict::new(8, true, "");
        let step = cluster.begin_rollback(Instant::now());
        assert_eq!(step, RollbackStep::Ended(vec![verdict]));
        assert!(!cluster.has_candidate());
    }

    #[test]
    fn next_version_waits_for_the_rollback_of_a_candidate() {
        let mut cluster = trying(false);
        assert_eq!(cluster.serve(request(3, true)), ServeStep::RollBack);
        assert!(!cluster.is_changing());
        let waits = cluster.requests.next_change();
        let Some(ChangeRequest::Serve(request)) = waits else {
            panic!("{waits:?}");
        };
        cluster.end_rollback("");
        assert_eq!(cluster.serve(request), ServeStep::Load);
    }

    #[test]
    fn first_candidate_is_accepted_or_leaves_nothing() {
        let now = Instant::now();
        for is_accepted in [true, false] {
            let mut cluster = cluster();
            cluster.serve(request(1, true));
            assert!(cluster.holds_sidecars_back(false));
            assert!(!cluster.holds_sidecars_back(true));
            cluster.keep_output("output");
            assert_eq!(cluster.first_serves().as_deref(), Some("output"));
            assert!(cluster.has_first_candidate() && cluster.holds_sidecars_back(true));
            assert!(cluster.undecided_set().is_some());
            if is_accepted {
                assert_eq!(cluster.accept(2, now), AcceptStep::First);
                assert!(cluster.loads_accepted());
            } else {
                assert_eq!(cluster.begin_rollback(now), RollbackStep::ServeNothing);
                assert!(cluster.end_first(now));
                assert!(!cluster.has_accepted() && cluster.deadline().is_none());
            }
            assert!(!cluster.end_first(now) && !cluster.has_candidate());
            assert_eq!(cluster.accept(3, now), AcceptStep::NoCandidate);
            assert!(cluster.first_serves().is_none());
        }
    }

    #[test]
    fn accepted_version_that_cannot_be_served_is_tried_again() {
        let now = Instant::now();
        let mut cluster = cluster();
        cluster.serve(request(1, false));
        assert!(cluster.first_failed("", "", now));
        assert_eq!(cluster.deadline(), None, "there is no other version");
        cluster.end_change(true);
        assert!(!cluster.first_failed("\n", "  cannot bind\nmore", now));
        assert_eq!(cluster.failure(), "cannot bind");
        assert!(!cluster.is_load_due(now));
        assert!(cluster.is_load_due(now + AGAIN));
        assert!(!cluster.is_load_due(now + AGAIN), "once");
        assert!(!cluster.first_failed("", "", now));
        assert_eq!(cluster.failure(), "the log says why");
        cluster.cancel_pending();
        assert_eq!(cluster.deadline(), None);
        assert!(cluster.first_serves().is_none());
        assert_eq!(cluster.failure(), "");
    }

    #[test]
    fn orphaned_candidate_is_settled_once() {
        let mut cluster = cluster();
        cluster.orphan_change();
        assert!(!cluster.take_orphaned());
        cluster.serve(request(1, true));
        cluster.orphan_change();
        assert!(!cluster.take_orphaned(), "the change is in progress");
        cluster.begin_trial(version(false));
        assert!(cluster.take_orphaned());
        assert!(!cluster.take_orphaned(), "twice");
        assert!(cluster.undecided_set().is_some());
        cluster.accept(2, Instant::now());
        assert!(cluster.undecided_set().is_none(), "it is decided");
    }
}
