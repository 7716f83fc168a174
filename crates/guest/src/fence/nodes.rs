//! Fences all other nodes, for the guest role: which nodes are to be powered off, the running
//! commands, and their results. Nothing here blocks.

use super::power::{FenceOrder, Fencing, FencingOutcome, Method};
use crate::record::Fenced;
use part::power::child::Child;
use part::power::control::{CommandExit, PowerAction, PowerCommandOutcome, PowerControl};
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

/// Minimum time between two fencings of a node, milliseconds.
pub const AGAIN_MS: u64 = 300_000;
/// Maximum number of orders for one node in one turn; more would be a bug.
const ORDERS_MAX: usize = 16;

#[derive(Debug)]
struct NodeFencing {
    fences: Vec<PowerControl>,
    fencing: Fencing,
    child: Option<(usize, PowerAction, Child)>,
}

/// Fencing of all other nodes. [`Nodes::fence`] sets the nodes to be fenced, and [`Nodes::turn`]
/// runs their commands without blocking.
#[derive(Debug, Default)]
pub struct Nodes {
    by_name: BTreeMap<String, NodeFencing>,
    started: BTreeMap<String, u64>,
    notes: Vec<String>,
}

impl Nodes {
    pub fn resume(started: BTreeMap<String, u64>) -> Nodes {
        Nodes {
            started,
            ..Nodes::default()
        }
    }

    pub fn started(&self) -> &BTreeMap<String, u64> {
        &self.started
    }

    /// Fences exactly these nodes. If a node is no longer among them, it has returned, or another
    /// node fences it; its command is killed.
    pub fn fence(&mut self, wanted: &BTreeMap<String, Vec<PowerControl>>, now: u64) {
        self.started
            .retain(|_, at| now < at.saturating_add(AGAIN_MS));
        let notes = &mut self.notes;
        self.by_name.retain(|name, node| {
            let stays = wanted.contains_key(name) || node.fencing.outcome().is_some();
            if !stays {
                notes.push(format!(
                    "node {name}: fencing ends: the node returns, or this node has lost a lease"
                ));
            }
            stays
        });
        for (name, fences) in wanted {
            if self
                .by_name
                .get(name)
                .is_some_and(|node| node.fencing.outcome().is_none())
            {
                continue;
            }
            if self.started.contains_key(name) {
                continue;
            }
            self.started.insert(name.clone(), now);
            self.notes
                .push(format!("node {name} is gone: fencing starts"));
            let methods = fences.iter().map(Method::of).collect();
            let node = NodeFencing {
                fences: fences.clone(),
                fencing: Fencing::new(methods, now),
                child: None,
            };
            self.by_name.insert(name.clone(), node);
        }
    }

    pub fn runs(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Returns whether a node was fenced recently and has been available since, so that it is not
    /// fenced again now.
    pub fn was_fenced_recently(&self, name: &str) -> bool {
        self.started.contains_key(name) && !self.runs(name)
    }

    /// Starts, reads and kills commands. Returns the nodes whose fencing has ended just now.
    pub fn turn(&mut self, now: u64) -> Vec<(String, Fenced)> {
        let mut ended = Vec::new();
        for (name, node) in &mut self.by_name {
            if node.fencing.outcome().is_some() {
                continue;
            }
            node.turn(now);
            if let Some((outcome, _)) = node.fencing.outcome() {
                let fenced = match outcome {
                    FencingOutcome::Off(_) => Fenced::Off,
                    FencingOutcome::Failed(_) => Fenced::Failed,
                };
                self.notes
                    .push(format!("node {name}: fencing: {}", node.fencing.words(now)));
                ended.push((name.clone(), fenced));
            }
        }
        ended
    }

    pub fn forget(&mut self, name: &str, now: u64) {
        if let Some(node) = self.by_name.remove(name) {
            let words = node.fencing.words(now);
            self.notes
                .push(format!("node {name} is back; its fencing: {words}"));
        }
    }

    pub fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Returns the fencing status of a node as text, and the result if fencing has ended.
    pub fn words(&self, name: &str, now: u64) -> Option<(String, Option<Fenced>)> {
        let node = self.by_name.get(name)?;
        let ended = node.fencing.outcome().map(|(outcome, _)| match outcome {
            FencingOutcome::Off(_) => Fenced::Off,
            FencingOutcome::Failed(_) => Fenced::Failed,
        });
        Some((node.fencing.words(now), ended))
    }

    pub fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let children = self.by_name.values().filter_map(|node| node.child.as_ref());
        children.flat_map(|(_, _, child)| child.watched())
    }

    pub fn deadline(&self, wanted: &BTreeMap<String, Vec<PowerControl>>) -> Option<u64> {
        let turns = self
            .by_name
            .values()
            .filter_map(|node| node.fencing.deadline());
        let again = wanted.keys().filter_map(|name| {
            let runs = self
                .by_name
                .get(name)
                .is_some_and(|node| node.fencing.outcome().is_none());
            let at = self.started.get(name).filter(|_| !runs)?;
            Some(at.saturating_add(AGAIN_MS))
        });
        turns.chain(again).min()
    }
}

impl NodeFencing {
    fn turn(&mut self, now: u64) {
        self.look(now);
        for _ in 0..ORDERS_MAX {
            match self.fencing.next(now) {
                None => break,
                Some(FenceOrder::Kill) => self.child = None,
                Some(FenceOrder::Start { method, action }) => self.start(method, action, now),
            }
        }
    }

    fn look(&mut self, now: u64) {
        let Some((method, action, child)) = &mut self.child else {
            return;
        };
        let ended: Option<CommandExit> = child.poll_exit();
        let Some(ended) = ended else { return };
        let seen = match self.fences.get(*method) {
            Some(fence) => fence.interpret_exit(*action, &ended),
            None => PowerCommandOutcome::Failed("its line is gone".to_owned()),
        };
        self.child = None;
        self.fencing.apply_command_result(seen, now);
    }

    fn start(&mut self, method: usize, action: PowerAction, now: u64) {
        let invocation = self
            .fences
            .get(method)
            .and_then(|one| one.invocation(action));
        let started = match &invocation {
            Some(invocation) => Child::start(invocation)
                .map_err(|error| format!("cannot start {}: {error}", invocation.program.display())),
            None => Err("it has no such action".to_owned()),
        };
        match started {
            Ok(child) => self.child = Some((method, action, child)),
            Err(words) => self
                .fencing
                .apply_command_result(PowerCommandOutcome::Failed(words), now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::{ScratchDirectory, eventually};
    use std::fs;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn program(scratch: &ScratchDirectory, script: &str) -> BTreeMap<String, Vec<PowerControl>> {
        let file = scratch.path().join("script");
        fs::write(&file, script).unwrap();
        let words = ["/bin/sh".to_owned(), file.display().to_string()];
        [("beta".to_owned(), vec![PowerControl::Exec(words.into())])].into()
    }

    fn until_ended(nodes: &mut Nodes, wanted: &BTreeMap<String, Vec<PowerControl>>) -> Fenced {
        let mut all = Vec::new();
        // The clock belongs to the test: two rounds of methods, with the pause between them.
        let mut now = 0;
        let done = || {
            nodes.fence(wanted, now);
            all = nodes.turn(now);
            if nodes.watched().next().is_none() {
                now += 100;
            }
            !all.is_empty()
        };
        assert!(eventually(PATIENCE, done));
        all[0].1
    }

    #[test]
    fn a_node_is_fenced_once_and_not_again_within_five_minutes() {
        let scratch = ScratchDirectory::new().unwrap();
        let log = scratch.path().join("log");
        let wanted = program(&scratch, &format!("echo off >> {}", log.display()));
        let mut nodes = Nodes::default();
        assert_eq!(until_ended(&mut nodes, &wanted), Fenced::Off);
        let (words, ended) = nodes.words("beta", 5000).unwrap();
        assert!(
            words.starts_with("off confirmed by exec /bin/sh"),
            "{words}"
        );
        assert_eq!(ended, Some(Fenced::Off));
        nodes.forget("beta", 5000);
        let mut nodes = Nodes::resume(nodes.started().clone());
        nodes.fence(&wanted, AGAIN_MS - 1000);
        assert!(nodes.turn(AGAIN_MS - 1000).is_empty());
        assert!(nodes.words("beta", AGAIN_MS - 1000).is_none());
        assert!(nodes.was_fenced_recently("beta") && !nodes.was_fenced_recently("alpha"));
        assert!(nodes.deadline(&wanted).is_some_and(|at| at >= AGAIN_MS));
        assert_eq!(fs::read_to_string(log).unwrap(), "off\n");
        nodes.fence(&wanted, 2 * AGAIN_MS);
        assert!(nodes.words("beta", 2 * AGAIN_MS).is_some());
        assert!(!nodes.was_fenced_recently("beta"));
    }

    #[test]
    fn a_program_that_fails_twice_reports_its_output() {
        let scratch = ScratchDirectory::new().unwrap();
        let wanted = program(&scratch, "echo no route to beta; exit 3");
        let mut nodes = Nodes::default();
        assert_eq!(until_ended(&mut nodes, &wanted), Fenced::Failed);
        let (words, _) = nodes.words("beta", 0).unwrap();
        assert_eq!(words, "failed: exec /bin/sh: exit code 3: no route to beta");
        assert_eq!(nodes.notes().len(), 2);
    }

    #[test]
    fn fencing_of_a_returned_node_is_killed() {
        let scratch = ScratchDirectory::new().unwrap();
        let pid = scratch.path().join("pid");
        let wanted = program(
            &scratch,
            &format!("echo $$ > {}; sleep 1000", pid.display()),
        );
        let mut nodes = Nodes::default();
        nodes.fence(&wanted, 0);
        nodes.turn(0);
        let written = || fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'));
        assert!(eventually(PATIENCE, written));
        assert!(nodes.watched().count() > 0);
        nodes.fence(&BTreeMap::new(), 10);
        assert_eq!(
            (nodes.watched().count(), nodes.words("beta", 10)),
            (0, None)
        );
        let pid = fs::read_to_string(&pid).unwrap();
        assert!(!std::path::Path::new("/proc").join(pid.trim()).exists());
    }

    #[test]
    fn a_command_that_never_ends_is_killed_at_its_timeout() {
        let scratch = ScratchDirectory::new().unwrap();
        let wanted = program(&scratch, "sleep 1000");
        let mut nodes = Nodes::default();
        nodes.fence(&wanted, 0);
        assert!(nodes.turn(0).is_empty());
        assert!(nodes.turn(20_000).is_empty());
        assert_eq!(nodes.watched().count(), 0);
        assert!(nodes.turn(22_000).is_empty());
        assert!(nodes.watched().count() > 0);
        assert_eq!(nodes.turn(42_000), [("beta".to_owned(), Fenced::Failed)]);
        let (words, _) = nodes.words("beta", 42_000).unwrap();
        assert_eq!(words, "failed: exec /bin/sh: no response within 20 s");
    }
}
