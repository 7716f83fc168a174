//! Tests a branch of a git or Mercurial repository as the configuration: valid commits are served,
//! invalid ones and rewritten histories are refused and reported.

use crate::cluster::site::{Machine, SOON, Site, configuration, vip};
use lab::{ScratchDirectory, eventually};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FILE: &str = "haproxy.cfg";

/// Returns the directory of the repository's files on the nodes.
fn place(site: &Site) -> PathBuf {
    site.alpha.scratch().join("haproxy")
}

/// Moves the proxy's part into the repository, which is followed from now on.
#[track_caller]
fn begin(site: &Site, follow: &str) {
    let place = place(site);
    std::fs::create_dir(&place).unwrap();
    let file = place.join(FILE);
    std::fs::write(&file, proxy("begun")).unwrap();
    let follow = format!("{follow} as {} every 1h", place.display());
    let file = file.display().to_string();
    site.alpha
        .apply_with(&frame(&follow), &[&file], &["--now"])
        .well();
    assert!(site.ask(vip(), "/version").is_ok(), "{}", site.tell());
}

/// Returns the part of the configuration that stays with the cluster: all but the proxy.
fn frame(follow: &str) -> String {
    let whole = configuration("none");
    let frame = whole.split("\ndefaults").next().unwrap_or_default();
    format!("{frame}\nconfig\n\t{follow}\n\tjudge 1s\n")
}

/// Returns the content of the file in the repository, with a word at `/version`.
fn proxy(word: &str) -> String {
    let whole = configuration(word);
    let (_, proxy) = whole.split_once("\ndefaults").unwrap();
    format!("defaults{proxy}")
}

/// A repository of git or Mercurial in a temporary directory.
struct Repository {
    scratch: ScratchDirectory,
    program: &'static str,
}

impl Repository {
    fn new(program: &'static str) -> Repository {
        let scratch = ScratchDirectory::new().unwrap();
        Repository { scratch, program }
    }

    fn path(&self) -> &Path {
        self.scratch.path()
    }

    fn run(&self, words: &[&str]) {
        let status = Command::new(self.program)
            .current_dir(self.path())
            .args(words)
            .env("HGUSER", "anna <anna@example.org>")
            .env("HGPLAIN", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{words:?}");
    }

    fn write(&self, text: &str) {
        self.scratch.write(FILE, text).unwrap();
    }
}

/// Makes the nodes poll now, and waits until both return a word.
#[track_caller]
fn follows(site: &Site, word: &str) {
    let mut said = None;
    let served = eventually(SOON, || {
        said = Some(site.alpha.command(&["config", "follow"]).text());
        site.serves_everywhere(word)
    });
    let status = site.alpha.command(&["config", "status"]).text();
    assert!(served, "{said:?}\n{status}\n{}", site.tell());
}

/// Waits until a refusal is reported with these words, and checks that a word stays.
#[track_caller]
fn refuses(site: &Site, told: &[&str], stays: &str) {
    let is_told = |machine: &Machine| {
        machine.command(&["config", "follow"]);
        let text = machine.command(&["config", "status"]).text()
            + &machine.command(&["config", "log"]).text();
        told.iter().all(|word| text.contains(word))
    };
    let shown = || site.alpha.command(&["config", "status"]).text() + &site.tell();
    assert!(eventually(SOON, || is_told(&site.alpha)), "{}", shown());
    let stays = || site.serves_everywhere(stays);
    assert!(eventually(SOON, stays), "{}", shown());
}

fn git(words: &[&str], repository: &Repository) {
    let author = ["-c", "user.name=anna", "-c", "user.email=anna@example.org"];
    let mut all = author.to_vec();
    all.extend(["-c", "commit.gpgsign=false"]);
    all.extend(words);
    repository.run(&all);
}

#[test]
fn a_branch_of_git_is_followed_and_never_backwards() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("git");
    let repository = Repository::new("git");
    git(&["init", "-q", "-b", "live"], &repository);
    repository.write(&proxy("git-one"));
    git(&["add", FILE], &repository);
    git(&["commit", "-q", "-m", "one"], &repository);
    let site = Site::new("follow-git");
    site.leader();
    let path = repository.path().display();
    let load = site.load();
    begin(&site, &format!("follow git {path} branch live"));
    follows(&site, "git-one");
    repository.write(&proxy("git-two"));
    git(&["commit", "-q", "-a", "-m", "two more"], &repository);
    follows(&site, "git-two");
    let log = site.beta.command(&["config", "log"]).well().out;
    assert!(log.contains("two more") && log.contains("anna"), "{log}");
    repository.write(&proxy("bad").replace("bind :80", "bnid :80"));
    git(&["commit", "-q", "-a", "-m", "a mistake"], &repository);
    refuses(&site, &["bnid"], "git-two");
    repository.write(&proxy("git-three"));
    git(&["commit", "-q", "-a", "-m", "mended"], &repository);
    follows(&site, "git-three");
    // Somebody rewrites what was followed.
    git(&["reset", "-q", "--hard", "HEAD~3"], &repository);
    repository.write(&proxy("git-other"));
    git(&["commit", "-q", "-a", "-m", "another past"], &repository);
    refuses(&site, &["rewritten"], "git-three");
    load.stop().without_a_failure();
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_branch_of_mercurial_is_followed_and_never_backwards() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("hg");
    let repository = Repository::new("hg");
    repository.run(&["init"]);
    repository.write(&proxy("hg-one"));
    repository.run(&["add", FILE]);
    repository.run(&["commit", "-m", "one"]);
    let site = Site::new("follow-hg");
    site.leader();
    let path = repository.path().display();
    begin(&site, &format!("follow hg {path}"));
    follows(&site, "hg-one");
    repository.write(&proxy("hg-two"));
    repository.run(&["commit", "-m", "two more"]);
    follows(&site, "hg-two");
    repository.write(&proxy("bad").replace("bind :80", "bnid :80"));
    repository.run(&["commit", "-m", "a mistake"]);
    refuses(&site, &["bnid"], "hg-two");
    repository.write(&proxy("hg-three"));
    repository.run(&["commit", "-m", "mended"]);
    follows(&site, "hg-three");
    // The last commit is created again from an older parent.
    let strip = [
        "--config",
        "extensions.strip=",
        "strip",
        "--no-backup",
        "-r",
        "2",
    ];
    repository.run(&strip);
    repository.write(&proxy("hg-other"));
    repository.run(&["commit", "-m", "another past"]);
    refuses(&site, &["rewritten"], "hg-three");
}

/// Creates an SSH key in a directory; returns the path of its file, and the public key.
fn key(at: &Path, name: &str) -> (String, String) {
    let file = at.join(name).display().to_string();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", &file])
        .status();
    assert!(made.unwrap().success());
    let public = std::fs::read_to_string(format!("{file}.pub")).unwrap();
    (file, public)
}

/// Commits all files, signed with a key.
fn signed(repository: &Repository, key: &str, message: &str) {
    let key = format!("user.signingKey={key}");
    let how = ["-c", "gpg.format=ssh", "-c", &key];
    git(
        &[&how[..], &["commit", "-q", "-a", "-S", "-m", message]].concat(),
        repository,
    );
}

#[test]
fn only_what_known_keys_signed_is_followed_whatever_is_signed_on_top() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("git");
    lab::skip_unless_installed!("ssh-keygen");
    let keys = ScratchDirectory::new().unwrap();
    let (anna, public) = key(keys.path(), "anna");
    let (other, _) = key(keys.path(), "other");
    let signers = keys.path().join("signers");
    std::fs::write(&signers, format!("anna@example.org {public}")).unwrap();
    let repository = Repository::new("git");
    git(&["init", "-q", "-b", "live"], &repository);
    repository.write(&proxy("signed-one"));
    git(&["add", FILE], &repository);
    signed(&repository, &anna, "one");
    let site = Site::new("follow-signed");
    site.leader();
    let (path, signers) = (repository.path().display(), signers.display());
    begin(
        &site,
        &format!("follow git {path} branch live signed-by {signers}"),
    );
    follows(&site, "signed-one");
    repository.write(&proxy("unsigned"));
    git(
        &["commit", "-q", "-a", "-m", "nobody signed this"],
        &repository,
    );
    refuses(&site, &["is not signed"], "signed-one");
    // A signed commit does not make the unsigned commit below it acceptable.
    repository.write(&proxy("on-top"));
    signed(&repository, &anna, "signed on top of it");
    refuses(&site, &["is not signed"], "signed-one");
    git(&["reset", "-q", "--hard", "HEAD~2"], &repository);
    repository.write(&proxy("foreign"));
    signed(&repository, &other, "by another key");
    refuses(&site, &["no signature of an accepted key"], "signed-one");
    git(&["reset", "-q", "--hard", "HEAD~1"], &repository);
    for word in ["signed-two", "signed-three"] {
        repository.write(&proxy(word));
        signed(&repository, &anna, word);
    }
    follows(&site, "signed-three");
}
