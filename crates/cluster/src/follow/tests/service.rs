//! Tests the loop of the control role that polls the followed repositories.

use super::*;
use crate::keyword::ConfigSection;
use std::sync::Mutex;

/// A cluster of one member, which reports for each revision the result that the test wants.
#[derive(Default)]
struct Scripted {
    section: Mutex<Option<ConfigSection>>,
    past: Mutex<Past>,
    answers: Mutex<VecDeque<Proposed>>,
    proposed: Mutex<Vec<String>>,
    told: Mutex<Vec<String>>,
    standing: Mutex<Vec<FollowStatus>>,
}

impl Cluster for Scripted {
    fn section(&self) -> Option<ConfigSection> {
        self.section.lock().unwrap().clone()
    }

    async fn accepted(&self) -> Option<Arc<FileSet>> {
        None
    }

    fn past(&self, _: &Followed) -> Past {
        self.past.lock().unwrap().clone()
    }

    async fn propose(&self, wanted: ProposedRevision, judge: Duration) -> Proposed {
        assert_eq!(judge, Duration::from_secs(7));
        self.proposed.lock().unwrap().push(wanted.revision.message);
        self.answers.lock().unwrap().pop_front().unwrap()
    }

    async fn record_event(&self, words: String) {
        self.told.lock().unwrap().push(words);
    }

    fn publish_status(&self, standing: Vec<FollowStatus>) {
        *self.standing.lock().unwrap() = standing;
    }
}

async fn until(what: &str, mut there: impl FnMut() -> bool) {
    for _ in 0..1_200 {
        if there() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} did not come");
}

#[tokio::test]
async fn new_revision_is_proposed_again_after_a_conflict() {
    lab::skip_unless_installed!("git");
    let directory = TemporaryDirectory::new("service");
    let work = directory.at("work");
    std::fs::create_dir(&work).unwrap();
    let git = |arguments: &[&str]| run(&work, "git", arguments);
    git(&["init", "--quiet"]);
    git(&["config", "user.name", "Anna"]);
    git(&["config", "user.email", "a@example.com"]);
    let commit = |message: &str| {
        write(&work.join("haproxy.cfg"), message);
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "-m", message]);
    };
    commit("one");
    let version = VersionId(1);
    let words = "refused by beta".to_owned();
    let cluster = Scripted {
        answers: Mutex::new(VecDeque::from([
            Proposed::Later,
            Proposed::Decided(version, ProposalResult::Accepted),
            Proposed::Decided(version, ProposalResult::Bad { words }),
        ])),
        ..Scripted::default()
    };
    let wake = Wake::default();
    let script = async {
        let proposed = |count: usize| cluster.proposed.lock().unwrap().len() == count;
        // Not the leader: nothing is polled.
        wake.now();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let section = ConfigSection {
            follow: vec![followed(System::Git, &work)],
            judge: Duration::from_secs(7),
            ..ConfigSection::default()
        };
        *cluster.section.lock().unwrap() = Some(section);
        until("the first revision", || proposed(1)).await;
        wake.now();
        until("the first revision once more", || proposed(2)).await;
        commit("two");
        wake.now();
        until("the second revision", || proposed(3)).await;
        wake.now();
        let trouble = || {
            let standing = cluster.standing.lock().unwrap();
            let trouble = standing.first().and_then(|one| one.trouble.clone());
            standing.first().is_some_and(|one| one.looks >= 4) && trouble.is_some()
        };
        until("the trouble in the status", trouble).await;
    };
    tokio::select! {
        () = run_service(&cluster, directory.at("state"), &wake) => {}
        () = script => {}
    }
    assert_eq!(*cluster.proposed.lock().unwrap(), ["one", "one", "two"]);
    // The log reports the version; the loop does not repeat it.
    assert!(cluster.told.lock().unwrap().is_empty());
}

use super::super::run as run_service;
