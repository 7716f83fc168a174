//! Tests the follower with real git repositories.

use super::*;

/// A repository with a working directory.
struct Repository {
    directory: TemporaryDirectory,
}

impl Repository {
    fn new(name: &str) -> Repository {
        let directory = TemporaryDirectory::new(name);
        std::fs::create_dir(directory.at("work")).unwrap();
        let repository = Repository { directory };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        for (name, value) in [("user.name", "Anna"), ("user.email", "anna@example.com")] {
            repository.git(&["config", name, value]);
        }
        repository
    }

    fn path(&self) -> PathBuf {
        self.directory.at("work")
    }

    fn git(&self, arguments: &[&str]) -> String {
        run(&self.path(), "git", arguments)
    }

    fn write(&self, name: &str, text: &str) {
        write(&self.path().join(name), text);
    }

    fn commit(&self, message: &str) -> String {
        self.commit_with(message, &[])
    }

    fn commit_with(&self, message: &str, more: &[&str]) -> String {
        self.git(&["add", "--all"]);
        let commit = ["commit", "--quiet", "--allow-empty", "-m", message];
        self.git(&[&commit, more].concat());
        self.git(&["rev-parse", "HEAD"])
    }

    fn follower(&self) -> Follower {
        self.following(followed(System::Git, &self.path()))
    }

    fn following(&self, settings: Followed) -> Follower {
        Follower::new(settings, &self.directory.at("state"))
    }
}

#[tokio::test]
async fn each_new_revision_is_proposed_once_with_its_author_message_and_files() {
    lab::skip_unless_installed!("git");
    let repository = Repository::new("git-each");
    repository.write("haproxy.cfg", "global\n");
    repository.write("certs/a.pem", "-----BEGIN PRIVATE KEY-----\n");
    repository.write("script.sh", "#!/bin/sh\n");
    repository.write(".hidden/x", "x");
    run(&repository.path(), "chmod", &["755", "script.sh"]);
    std::os::unix::fs::symlink("/etc/passwd", repository.path().join("link")).unwrap();
    let first = repository.commit("More servers\n\nFor the holidays.");
    let mut follower = repository.follower();
    let mut told = ClusterView {
        accepted: Some(Arc::new(FileSet {
            files: vec![
                file("/etc/other.cfg", true, "other\n"),
                file("/etc/haproxy/haproxy.cfg", true, "old\n"),
                file("/etc/haproxy/gone.map", false, "old\n"),
                file("/etc/ssl/b.pem", false, "kept\n"),
            ],
            listings: vec![("/etc/ssl".to_owned(), vec!["b.pem".to_owned()])],
            ..FileSet::default()
        })),
        ..ClusterView::default()
    };
    let wanted = told.take(&mut follower).await;
    assert_eq!(wanted.revision.id, first);
    assert_eq!(wanted.revision.author, "Anna <anna@example.com>");
    assert_eq!(wanted.revision.message, "More servers\n\nFor the holidays.");
    assert!(wanted.revision.time_s > 1_500_000_000);
    assert_eq!(
        names(&wanted.set),
        [
            "/etc/other.cfg (main)",
            "/etc/haproxy/haproxy.cfg (main)",
            "/etc/haproxy/certs/a.pem",
            "/etc/haproxy/script.sh",
            "/etc/ssl/b.pem"
        ]
    );
    let of = |path: &str| wanted.set.files.iter().find(|f| f.path == path).unwrap();
    assert_eq!(of("/etc/haproxy/haproxy.cfg").bytes, b"global\n");
    assert!(of("/etc/haproxy/certs/a.pem").secret);
    assert_eq!(of("/etc/haproxy/script.sh").mode, 0o755);
    let listed = |name: &str, names: &[&str]| {
        (
            name.to_owned(),
            names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        wanted.set.listings,
        [
            listed("/etc/haproxy", &["certs", "haproxy.cfg", "script.sh"]),
            listed("/etc/haproxy/certs", &["a.pem"]),
            listed("/etc/ssl", &["b.pem"]),
        ]
    );
    assert_eq!(told.look(&mut follower).await, PollResult::Nothing);
    repository.write("haproxy.cfg", "global\n    maxconn 5\n");
    let second = repository.commit("Second");
    let wanted = told.take(&mut follower).await;
    assert_eq!(wanted.revision.id, second);
    assert_eq!(told.look(&mut follower).await, PollResult::Nothing);
    assert_eq!(follower.follow_status().accepted.as_deref(), Some(&*second));
    assert_eq!(follower.follow_status().trouble, None);
}

#[tokio::test]
async fn killed_fetch_does_not_block_the_next() {
    lab::skip_unless_installed!("git");
    let repository = Repository::new("git-killed");
    repository.write("haproxy.cfg", "one\n");
    repository.commit("one");
    let (mut follower, mut told) = (repository.follower(), ClusterView::default());
    told.take(&mut follower).await;
    let mut made = std::fs::read_dir(repository.directory.at("state")).unwrap();
    let mirror = made.next().unwrap().unwrap().path();
    let lock = mirror.join("refs/evenkeel/branch.lock");
    std::fs::write(&lock, "").unwrap();
    repository.write("haproxy.cfg", "two\n");
    let second = repository.commit("two");
    assert_eq!(told.take(&mut follower).await.revision.id, second);
    assert!(!lock.exists());
}

#[tokio::test]
async fn rewritten_branch_is_refused_and_reported_once() {
    lab::skip_unless_installed!("git");
    let repository = Repository::new("git-force");
    repository.write("haproxy.cfg", "one\n");
    let first = repository.commit("one");
    repository.write("haproxy.cfg", "two\n");
    let second = repository.commit("two");
    let (mut follower, mut told) = (repository.follower(), ClusterView::default());
    told.take(&mut follower).await;
    repository.git(&["reset", "--quiet", "--hard", &first]);
    repository.write("haproxy.cfg", "other\n");
    let other = repository.commit("other");
    let (trouble, again) = refused(told.look(&mut follower).await);
    assert_eq!(
        trouble,
        Trouble::Rewritten {
            last: second.clone()
        }
    );
    assert!(!again);
    let words = follower.follow_status().trouble.clone().unwrap();
    assert!(
        words.contains("was rewritten") && words.contains(&other[..12]),
        "{words}"
    );
    assert!(refused(told.look(&mut follower).await).1);
    // Another member leads: it never saw the second revision, and knows it from the state.
    let settings = followed(System::Git, &repository.path());
    let mut fresh = Follower::new(settings, &repository.directory.at("elsewhere"));
    let (trouble, again) = refused(told.look(&mut fresh).await);
    assert_eq!(
        trouble,
        Trouble::Rewritten {
            last: second.clone()
        }
    );
    assert!(!again);
    repository.git(&["merge", "--quiet", "-s", "ours", "-m", "joined", &second]);
    let merged = told.take(&mut fresh).await;
    assert_eq!(merged.revision.message, "joined");
}

#[tokio::test]
async fn deleted_or_missing_branch_is_refused() {
    lab::skip_unless_installed!("git");
    let repository = Repository::new("git-gone");
    repository.write("haproxy.cfg", "one\n");
    repository.commit("one");
    repository.git(&["branch", "live"]);
    let mut settings = followed(System::Git, &repository.path());
    settings.branch = Some("live".to_owned());
    let (mut follower, mut told) = (repository.following(settings), ClusterView::default());
    told.take(&mut follower).await;
    repository.git(&["branch", "-D", "live"]);
    assert_eq!(
        refused(told.look(&mut follower).await).0,
        Trouble::BranchGone
    );
    repository.git(&["branch", "live"]);
    assert_eq!(told.look(&mut follower).await, PollResult::Nothing);
}

#[tokio::test]
async fn rolled_back_revision_is_not_retried_but_the_next_is() {
    lab::skip_unless_installed!("git");
    let repository = Repository::new("git-bad");
    repository.write("haproxy.cfg", "one\n");
    repository.commit("one");
    let (mut follower, mut told) = (repository.follower(), ClusterView::default());
    told.take(&mut follower).await;
    repository.write("haproxy.cfg", "bad\n");
    let bad = repository.commit("bad");
    let outcome = told.look(&mut follower).await;
    assert!(matches!(&outcome, PollResult::Propose(wanted) if wanted.revision.id == bad));
    let words = "errors went from 0 to 31 %".to_owned();
    follower.judged(
        &bad,
        ProposalResult::Bad {
            words: words.clone(),
        },
    );
    let standing = follower.follow_status().trouble.clone().unwrap();
    assert!(standing.contains(&words), "{standing}");
    // The role has reported the revision, but the state does not contain it yet.
    let (trouble, again) = refused(told.look(&mut follower).await);
    assert_eq!(
        (trouble, again),
        (
            Trouble::Bad {
                words: words.clone()
            },
            true
        )
    );
    // Another leader knows it from the state.
    told.decided(
        &bad,
        ProposalResult::Bad {
            words: words.clone(),
        },
    );
    let mut fresh = repository.following(followed(System::Git, &repository.path()));
    let (trouble, _) = refused(told.look(&mut fresh).await);
    assert_eq!(trouble, Trouble::Bad { words });
    repository.write("haproxy.cfg", "good\n");
    repository.commit("good");
    assert_eq!(told.take(&mut fresh).await.revision.message, "good");
}

/// A repository whose commits are signed with one of two SSH keys, of which the follower accepts
/// one.
struct Signing {
    repository: Repository,
    good: String,
    other: String,
    signers: PathBuf,
}

impl Signing {
    fn new(name: &str) -> Signing {
        let repository = Repository::new(name);
        let key = |name: &str| {
            let file = repository.directory.at(name).to_string_lossy().into_owned();
            let made = ["-q", "-t", "ed25519", "-N", "", "-f", &file];
            run(&repository.path(), "ssh-keygen", &made);
            let public = std::fs::read_to_string(format!("{file}.pub")).unwrap();
            (file, public)
        };
        let ((good, public), (other, _)) = (key("good"), key("other"));
        let signers = repository.directory.at("signers");
        write(&signers, &format!("anna@example.com {public}"));
        repository.git(&["config", "gpg.format", "ssh"]);
        Signing {
            repository,
            good,
            other,
            signers,
        }
    }

    fn follower(&self) -> Follower {
        let mut settings = followed(System::Git, &self.repository.path());
        settings.signed_by = Some(self.signers.to_string_lossy().into_owned());
        self.repository.following(settings)
    }

    fn signed(&self, with: &str, message: &str) -> String {
        self.repository.git(&["config", "user.signingKey", with]);
        self.repository.commit_with(message, &["-S"])
    }
}

#[tokio::test]
async fn unsigned_commits_are_refused_below_signed_ones() {
    lab::skip_unless_installed!("git");
    lab::skip_unless_installed!("ssh-keygen");
    let signing = Signing::new("git-range");
    let (repository, good) = (&signing.repository, signing.good.as_str());
    let (mut follower, mut told) = (signing.follower(), ClusterView::default());
    repository.write("haproxy.cfg", "one\n");
    repository.commit("of before it was followed");
    let first = signing.signed(good, "signed");
    assert_eq!(told.take(&mut follower).await.revision.message, "signed");
    repository.write("haproxy.cfg", "smuggled\n");
    let commit = repository.commit("smuggled");
    signing.signed(good, "a signature on top");
    let smuggled = Trouble::Unsigned { commit };
    assert_eq!(refused(told.look(&mut follower).await).0, smuggled);
    repository.git(&["checkout", "--quiet", "-b", "side"]);
    repository.git(&["checkout", "--quiet", "-B", "main", &first]);
    signing.signed(good, "beside");
    repository.git(&["merge", "--quiet", "-S", "--no-ff", "-m", "merged", "side"]);
    assert_eq!(refused(told.look(&mut follower).await).0, smuggled);
    // Accepts several new revisions at once, because an accepted key signed each of them.
    repository.git(&["reset", "--quiet", "--hard", &first]);
    for message in ["two", "three", "four"] {
        signing.signed(good, message);
    }
    assert_eq!(told.take(&mut follower).await.revision.message, "four");
}

#[tokio::test]
async fn only_commits_that_a_known_key_signed_count() {
    lab::skip_unless_installed!("git");
    lab::skip_unless_installed!("ssh-keygen");
    let signing = Signing::new("git-ssh");
    let (repository, signers) = (&signing.repository, &signing.signers);
    let (good, other) = (signing.good.as_str(), signing.other.as_str());
    let (mut follower, mut told) = (signing.follower(), ClusterView::default());
    repository.write("haproxy.cfg", "one\n");
    let commit = repository.commit("unsigned");
    let unsigned = Trouble::Unsigned { commit };
    assert_eq!(refused(told.look(&mut follower).await).0, unsigned);
    signing.signed(other, "by somebody else");
    let (trouble, _) = refused(told.look(&mut follower).await);
    assert!(
        matches!(trouble, Trouble::WronglySigned { .. }),
        "{trouble:?}"
    );
    signing.signed(good, "signed");
    assert_eq!(told.take(&mut follower).await.revision.message, "signed");
    // Uses the keys of the accepted version, not those on the disk of this node.
    let mut accepted = (**told.accepted.as_ref().unwrap()).clone();
    accepted
        .files
        .push(file(&signers.to_string_lossy(), false, "# none\n"));
    told.accepted = Some(Arc::new(accepted));
    signing.signed(good, "signed again");
    let (trouble, _) = refused(told.look(&mut follower).await);
    assert!(
        matches!(trouble, Trouble::WronglySigned { .. }),
        "{trouble:?}"
    );
    std::fs::remove_file(signers).unwrap();
    told.accepted = None;
    let (trouble, _) = refused(told.look(&mut follower).await);
    assert!(matches!(trouble, Trouble::NoKeys { .. }), "{trouble:?}");
}

#[tokio::test]
async fn gpg_signature_of_a_listed_key_is_accepted() {
    lab::skip_unless_installed!("git");
    lab::skip_unless_installed!("gpg");
    let repository = Repository::new("git-gpg");
    let home = repository.directory.at("g");
    let home_text = home.to_string_lossy().into_owned();
    std::fs::create_dir(&home).unwrap();
    run(&home, "chmod", &["700", "."]);
    let gpg = |arguments: &[&str]| {
        let fixed = [
            "--homedir",
            &home_text,
            "--batch",
            "--quiet",
            "--passphrase",
            "",
        ];
        run(&home, "gpg", &[&fixed, arguments].concat())
    };
    gpg(&[
        "--quick-gen-key",
        "Anna <anna@example.com>",
        "ed25519",
        "sign",
        "never",
    ]);
    let armored = gpg(&["--armor", "--export"]);
    let wrapper = repository.directory.at("gpg");
    write(
        &wrapper,
        &format!("#!/bin/sh\nexec gpg --homedir {home_text} \"$@\"\n"),
    );
    run(&home, "chmod", &["755", &wrapper.to_string_lossy()]);
    repository.git(&["config", "gpg.program", &wrapper.to_string_lossy()]);
    repository.write("haproxy.cfg", "one\n");
    repository.commit_with("signed", &["-Sanna@example.com"]);
    run(
        &home,
        "gpgconf",
        &["--homedir", &home_text, "--kill", "all"],
    );
    let signers = repository.directory.at("signers");
    let mut settings = followed(System::Git, &repository.path());
    settings.signed_by = Some(signers.to_string_lossy().into_owned());
    write(&signers, "# nobody\n");
    let (mut follower, mut told) = (repository.following(settings), ClusterView::default());
    let (trouble, _) = refused(told.look(&mut follower).await);
    assert!(
        matches!(trouble, Trouble::WronglySigned { .. }),
        "{trouble:?}"
    );
    write(&signers, &(armored + "\n"));
    assert_eq!(told.take(&mut follower).await.revision.message, "signed");
}

#[tokio::test]
async fn named_files_must_exist_in_the_repository() {
    lab::skip_unless_installed!("git");
    let repository = Repository::new("git-files");
    repository.write("b/two.cfg", "two\n");
    repository.write("one.cfg", "one\n");
    repository.commit("files");
    let mut settings = followed(System::Git, &repository.path());
    settings.directory = "/srv/lb".to_owned();
    let (mut follower, mut told) = (
        repository.following(settings.clone()),
        ClusterView::default(),
    );
    let wanted = told.take(&mut follower).await;
    assert_eq!(
        names(&wanted.set),
        ["/srv/lb/one.cfg (main)", "/srv/lb/b/two.cfg"]
    );
    settings.files = vec!["b/two.cfg".to_owned(), "one.cfg".to_owned()];
    let mut told = ClusterView::default();
    let wanted = told.take(&mut repository.following(settings.clone())).await;
    let both = ["/srv/lb/b/two.cfg (main)", "/srv/lb/one.cfg (main)"];
    assert_eq!(names(&wanted.set), both);
    settings.files.push("three.cfg".to_owned());
    let mut follower = repository.following(settings);
    let (trouble, _) = refused(ClusterView::default().look(&mut follower).await);
    let name = "three.cfg".to_owned();
    assert_eq!(trouble, Trouble::NoFile { name });
}

#[tokio::test]
async fn missing_repository_is_reported_with_the_message_of_git() {
    lab::skip_unless_installed!("git");
    let directory = TemporaryDirectory::new("git-none");
    let mut settings = followed(System::Git, &directory.at("nowhere"));
    let mut follower = Follower::new(settings.clone(), &directory.at("state"));
    let (trouble, _) = refused(ClusterView::default().look(&mut follower).await);
    let Trouble::Unreachable { words } = trouble else {
        panic!("{trouble:?}");
    };
    assert!(words.contains("nowhere"), "{words}");
    // Refuses a transport that is a command, even if the check of the configuration missed it.
    let marker = directory.at("ran");
    settings.url = format!("ext::touch {}", marker.display());
    let mut follower = Follower::new(settings, &directory.at("state"));
    refused(ClusterView::default().look(&mut follower).await);
    assert!(!marker.exists());
}
