//! Tests the follower with real Mercurial repositories.

use super::*;

struct Repository {
    directory: TemporaryDirectory,
}

impl Repository {
    fn new(name: &str) -> Repository {
        let directory = TemporaryDirectory::new(name);
        std::fs::create_dir(directory.at("work")).unwrap();
        let repository = Repository { directory };
        repository.hg(&["init", "."]);
        repository
    }

    fn path(&self) -> PathBuf {
        self.directory.at("work")
    }

    fn hg(&self, arguments: &[&str]) -> String {
        run(&self.path(), "hg", arguments)
    }

    fn commit(&self, text: &str, message: &str) -> String {
        write(&self.path().join("haproxy.cfg"), text);
        self.hg(&[
            "commit",
            "--addremove",
            "-u",
            "Berta <b@example.com>",
            "-m",
            message,
        ]);
        self.hg(&["log", "-r", ".", "-T", "{node}"])
    }

    fn follower(&self, branch: Option<&str>) -> Follower {
        let mut settings = followed(System::Hg, &self.path());
        settings.branch = branch.map(str::to_owned);
        Follower::new(settings, &self.directory.at("state"))
    }
}

#[tokio::test]
async fn each_new_revision_is_proposed_once_with_its_author_message_and_files() {
    lab::skip_unless_installed!("hg");
    let repository = Repository::new("hg-each");
    write(&repository.path().join("maps/a.map"), "a b\n");
    write(&repository.path().join("run.sh"), "#!/bin/sh\n");
    run(&repository.path(), "chmod", &["755", "run.sh"]);
    std::os::unix::fs::symlink("/etc/passwd", repository.path().join("link")).unwrap();
    let first = repository.commit("one\n", "Die Erste: größer");
    let (mut follower, mut told) = (repository.follower(None), ClusterView::default());
    let wanted = told.take(&mut follower).await;
    assert_eq!(wanted.revision.id, first);
    assert_eq!(wanted.revision.author, "Berta <b@example.com>");
    assert_eq!(wanted.revision.message, "Die Erste: größer");
    assert_eq!(
        names(&wanted.set),
        [
            "/etc/haproxy/haproxy.cfg (main)",
            "/etc/haproxy/maps/a.map",
            "/etc/haproxy/run.sh"
        ]
    );
    assert_eq!(wanted.set.files[2].mode, 0o755);
    assert_eq!(told.look(&mut follower).await, PollResult::Nothing);
    let second = repository.commit("two\n", "two");
    assert_eq!(told.take(&mut follower).await.revision.id, second);
    assert_eq!(told.look(&mut follower).await, PollResult::Nothing);
}

#[tokio::test]
async fn a_branch_that_was_rewritten_is_refused_until_it_follows_again() {
    lab::skip_unless_installed!("hg");
    let repository = Repository::new("hg-force");
    let first = repository.commit("one\n", "one");
    let second = repository.commit("two\n", "two");
    let (mut follower, mut told) = (repository.follower(None), ClusterView::default());
    told.take(&mut follower).await;
    repository.hg(&["update", "--clean", &first]);
    repository.commit("other\n", "other");
    let (trouble, again) = refused(told.look(&mut follower).await);
    assert_eq!(
        trouble,
        Trouble::Rewritten {
            last: second.clone()
        }
    );
    assert!(!again);
    // A member that never had the stripped revision refuses the branch, too.
    repository.hg(&[
        "--config",
        "extensions.strip=",
        "strip",
        "--no-backup",
        &second,
    ]);
    let settings = followed(System::Hg, &repository.path());
    let mut fresh = Follower::new(settings, &repository.directory.at("elsewhere"));
    let (trouble, _) = refused(told.look(&mut fresh).await);
    assert_eq!(trouble, Trouble::Rewritten { last: second });
}

#[tokio::test]
#[ignore = "it takes long: make test-long"]
async fn named_branch_and_bookmark_are_followed_until_deleted() {
    lab::skip_unless_installed!("hg");
    let repository = Repository::new("hg-branch");
    repository.commit("one\n", "one");
    repository.hg(&["branch", "stable"]);
    let stable = repository.commit("stable\n", "stable");
    repository.hg(&["update", "default"]);
    repository.commit("two\n", "two");
    repository.hg(&["bookmark", "--inactive", "live"]);
    let mut told = ClusterView::default();
    let wanted = told.take(&mut repository.follower(Some("stable"))).await;
    assert_eq!(wanted.revision.id, stable);
    let mut told = ClusterView::default();
    let mut follower = repository.follower(Some("live"));
    assert_eq!(told.take(&mut follower).await.revision.message, "two");
    repository.hg(&["bookmark", "--delete", "live"]);
    assert_eq!(
        refused(told.look(&mut follower).await).0,
        Trouble::BranchGone
    );
}

#[tokio::test]
async fn hooks_of_the_repository_do_not_run_and_a_bad_revision_is_not_tried_again() {
    lab::skip_unless_installed!("hg");
    let repository = Repository::new("hg-bad");
    let first = repository.commit("one\n", "one");
    let marker = repository.directory.at("ran");
    let hook = format!(
        "[hooks]\noutgoing = touch {0}\npreoutgoing = touch {0}\n",
        marker.display()
    );
    write(&repository.path().join(".hg/hgrc"), &hook);
    let (mut follower, mut told) = (repository.follower(None), ClusterView::default());
    let outcome = told.look(&mut follower).await;
    assert!(matches!(outcome, PollResult::Propose(_)));
    assert!(!marker.exists());
    let words = "beta: no such file".to_owned();
    told.decided(
        &first,
        ProposalResult::Bad {
            words: words.clone(),
        },
    );
    let (trouble, again) = refused(told.look(&mut follower).await);
    assert_eq!((trouble, again), (Trouble::Bad { words }, false));
    repository.commit("two\n", "two");
    assert_eq!(told.take(&mut follower).await.revision.message, "two");
}

#[tokio::test]
async fn missing_or_empty_repository_is_reported() {
    lab::skip_unless_installed!("hg");
    let repository = Repository::new("hg-empty");
    let mut follower = repository.follower(None);
    let told = ClusterView::default();
    assert_eq!(
        refused(told.look(&mut follower).await).0,
        Trouble::BranchGone
    );
    let settings = followed(System::Hg, &repository.directory.at("nowhere"));
    let mut follower = Follower::new(settings, &repository.directory.at("state"));
    let (trouble, _) = refused(told.look(&mut follower).await);
    assert!(
        matches!(trouble, Trouble::Unreachable { .. }),
        "{trouble:?}"
    );
}

fn mirror(repository: &Repository) -> PathBuf {
    let mut made = std::fs::read_dir(repository.directory.at("state")).unwrap();
    made.next().unwrap().unwrap().path()
}

#[tokio::test]
#[ignore = "it takes long: make test-long"]
async fn interrupted_pull_is_recovered_by_the_next() {
    lab::skip_unless_installed!("hg");
    let repository = Repository::new("hg-torn");
    repository.commit("one\n", "one");
    let (mut follower, mut told) = (repository.follower(None), ClusterView::default());
    told.take(&mut follower).await;
    let mirror = mirror(&repository);
    // A killed pull leaves the previous length of each file.
    let index = mirror.join(".hg/store/00changelog.i");
    let end = std::fs::metadata(&index).unwrap().len();
    let mut torn = std::fs::read(&index).unwrap();
    torn.extend([7; 100]);
    std::fs::write(&index, torn).unwrap();
    let journal = mirror.join(".hg/store/journal");
    std::fs::write(&journal, format!("00changelog.i\0{end}\n")).unwrap();
    let second = repository.commit("two\n", "two");
    let kept = mirror.join("kept");
    write(&kept, "");
    assert_eq!(told.take(&mut follower).await.revision.id, second);
    assert!(!journal.exists() && kept.exists());
    assert_eq!(told.look(&mut follower).await, PollResult::Nothing);
}

#[tokio::test]
#[ignore = "it takes long: make test-long"]
async fn unrecoverable_mirror_is_cloned_again() {
    lab::skip_unless_installed!("hg");
    let repository = Repository::new("hg-spoiled");
    repository.commit("one\n", "one");
    let (mut follower, mut told) = (repository.follower(None), ClusterView::default());
    told.take(&mut follower).await;
    let mirror = mirror(&repository);
    // A journal with which `hg recover` fails.
    std::fs::create_dir(mirror.join(".hg/store/journal")).unwrap();
    let second = repository.commit("two\n", "two");
    assert_eq!(told.take(&mut follower).await.revision.id, second);
    assert!(!mirror.join(".hg/store/journal").exists());
    // An interrupted `hg init`: a part of the repository is missing.
    std::fs::remove_dir_all(mirror.join(".hg/store")).unwrap();
    std::fs::create_dir(mirror.join(".hg/store")).unwrap();
    std::fs::remove_file(mirror.join("evenkeel.made")).unwrap();
    let third = repository.commit("three\n", "three");
    let wanted = told.take(&mut follower).await;
    assert_eq!(wanted.revision.id, third);
    assert_eq!(told.look(&mut follower).await, PollResult::Nothing);
}
