//! Tests of `evenkeel config` with a scripted control role: the requests that the role receives,
//! the output of the commands, and their exit codes.

use crate::harness::{CommandOutput, evenkeel, finish, start_with};
use cluster::command::{Judging, Proposal, VersionId, VersionOrigin};
use cluster::file_set::{FileSet, SetFile};
use cluster::member::MemberId;
use cluster::request::{Apply, ControlReply, Request, SOCKET, framed};
use cluster::state::{RolloutStage, VersionRecord};
use lab::ScratchDirectory;
use part::codec;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Cluster {
    versions: Vec<(VersionRecord, FileSet)>,
    applied: Vec<Apply>,
    /// Result of the next proposed version; None: the proposal is refused.
    next: Option<RolloutStage>,
    asked: Vec<String>,
}

impl Cluster {
    fn add(&mut self, stage: RolloutStage, author: &str, message: &str, time_s: i64, set: FileSet) {
        let id = VersionId(self.versions.len() as u64 + 1);
        let accepted = self
            .versions
            .iter()
            .rev()
            .find(|v| v.0.stage == RolloutStage::Accepted);
        let record = VersionRecord {
            id,
            from: MemberId(1),
            proposal: Arc::new(Proposal {
                parent: accepted.map(|(record, _)| record.id),
                author: author.to_owned(),
                message: message.to_owned(),
                time_s,
                origin: VersionOrigin::Applied,
                files: Vec::new(),
                listings: Vec::new(),
                judging: Judging {
                    judge_ms: 0,
                    confirm_within_ms: None,
                },
            }),
            stage,
            reports: BTreeMap::new(),
            found: BTreeMap::new(),
            words: String::new(),
            proposed_at: 0,
            decided_at: None,
            decided_time_s: None,
        };
        let version = FileSet { version: id, ..set };
        self.versions.push((record, version));
    }

    fn answer(&mut self, request: Request) -> Vec<ControlReply> {
        let refused = |words: &str| ControlReply::Refused {
            words: words.to_owned(),
        };
        let done = |words: &str, version| ControlReply::Done {
            words: words.to_owned(),
            version,
        };
        match request {
            Request::Log { .. } => {
                let all: Vec<_> = self
                    .versions
                    .iter()
                    .rev()
                    .map(|(record, _)| record)
                    .collect();
                vec![ControlReply::Json(serde_json::to_string(&all).unwrap())]
            }
            Request::Show { version } => {
                let wanted = |(record, _): &&(VersionRecord, FileSet)| match version {
                    Some(version) => record.id == version,
                    None => record.stage == RolloutStage::Accepted,
                };
                let found = self.versions.iter().rev().find(wanted);
                vec![found.map_or_else(
                    || refused("none"),
                    |(_, set)| ControlReply::Set(Box::new(set.clone())),
                )]
            }
            Request::Apply(apply) => {
                self.applied.push((*apply).clone());
                let Some(stage) = self.next.clone() else {
                    return vec![refused("nothing was changed: no majority answers")];
                };
                self.add(
                    stage.clone(),
                    &apply.author,
                    &apply.message,
                    apply.time_s,
                    apply.set,
                );
                let id = VersionId(self.versions.len() as u64);
                let said = ControlReply::Progress {
                    words: "beta could serve it".to_owned(),
                };
                let last = match stage {
                    RolloutStage::Accepted => done(&format!("version {id} is accepted"), Some(id)),
                    _ => refused("version was taken back: errors"),
                };
                vec![said, last]
            }
            Request::Status => vec![ControlReply::Json(status())],
            other => {
                self.asked.push(format!("{other:?}"));
                vec![done("done", None)]
            }
        }
    }
}

/// Returns a cluster status as JSON, with the members alpha (this machine) and beta.
fn status() -> String {
    let member = |id: u64, name: &str| {
        serde_json::json!({
            "id": id, "name": name, "kind": "node", "addresses": [], "reach": "itself", "votes": true,
        })
    };
    let members = [member(1, "alpha"), member(2, "beta")];
    serde_json::json!({ "cluster": "north", "me": 1, "members": members }).to_string()
}

struct ControlRoleFixture {
    scratch: ScratchDirectory,
    cluster: Arc<Mutex<Cluster>>,
}

impl ControlRoleFixture {
    fn new() -> ControlRoleFixture {
        let scratch = ScratchDirectory::new().unwrap();
        let runtime = scratch.path().join("runtime");
        std::fs::create_dir(&runtime).unwrap();
        std::fs::create_dir(scratch.path().join("state")).unwrap();
        let listener = UnixListener::bind(runtime.join(SOCKET)).unwrap();
        let cluster = Arc::new(Mutex::new(Cluster {
            next: Some(RolloutStage::Accepted),
            ..Cluster::default()
        }));
        let serving = Arc::clone(&cluster);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut length = [0; 4];
                stream.read_exact(&mut length).unwrap();
                let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
                stream.read_exact(&mut bytes).unwrap();
                let request = codec::decode(&bytes).unwrap();
                let replies = serving.lock().unwrap().answer(request);
                for reply in replies {
                    stream.write_all(&framed(&reply).unwrap()).unwrap();
                }
            }
        });
        ControlRoleFixture { scratch, cluster }
    }

    fn config(&self, words: &[&str]) -> CommandOutput {
        self.config_with(words, &[])
    }

    fn config_with(&self, words: &[&str], variables: &[(&str, &str)]) -> CommandOutput {
        let words = [&["config"][..], words].concat();
        finish(start_with(
            evenkeel(),
            self.scratch.path(),
            words,
            variables,
        ))
    }

    fn apply(&self, more: &[&str]) -> CommandOutput {
        let words = [
            "apply", "a.cfg", "-m", "why", "--author", "anna", "--state", "state",
        ];
        self.config(&[&words[..], more].concat())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.scratch.write(name, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn last(&self) -> Apply {
        self.cluster.lock().unwrap().applied.last().unwrap().clone()
    }
}

fn text(maxconn: u32) -> String {
    format!(
        "global\n    maxconn {maxconn}\nlisten a\n    bind 127.0.0.1:1\n    mode http\n    timeout client 1s\n    \
         timeout connect 1s\n    timeout server 1s\n    stats enable\n    stats auth u:SECRET{maxconn}\n"
    )
}

/// Builds a version of the same files, as another author would propose it.
fn others(path: &str, maxconn: u32) -> FileSet {
    FileSet {
        files: vec![SetFile {
            path: path.to_owned(),
            main: true,
            secret: false,
            mode: 0o644,
            bytes: text(maxconn).into_bytes(),
        }],
        ..FileSet::default()
    }
}

#[test]
fn second_concurrent_change_sees_the_first_before_retrying() {
    let role = ControlRoleFixture::new();
    let path = role.write("a.cfg", &text(10));
    let outcome = role.apply(&[]);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(
        outcome
            .stdout
            .contains("beta could serve it\nversion 1 is accepted\n")
    );
    let apply = role.last();
    assert_eq!(
        (apply.parent, &*apply.author, &*apply.message),
        (None, "anna", "why")
    );
    assert_eq!(apply.set.files[0].path, path);
    assert_eq!(apply.judging.judge_ms, 10_000);
    // Applying the same files again changes nothing.
    let outcome = role.apply(&[]);
    assert!(outcome.stdout.contains("no change"), "{}", outcome.stdout);
    role.write("a.cfg", &text(20));
    let outcome = role.apply(&["--now"]);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(
        outcome
            .stdout
            .contains("-    maxconn 10\n+    maxconn 20\n"),
        "{}",
        outcome.stdout
    );
    assert!(!outcome.stdout.contains("SECRET"), "{}", outcome.stdout);
    assert_eq!(role.last().parent, Some(VersionId(1)));
    assert_eq!(role.last().judging.judge_ms, 0);
    let other = others(&path, 99);
    role.cluster
        .lock()
        .unwrap()
        .add(RolloutStage::Accepted, "berta", "more", 5, other);
    role.write("a.cfg", &text(30));
    let asked = role.cluster.lock().unwrap().applied.len();
    let outcome = role.apply(&[]);
    assert_eq!(outcome.code(), Some(1));
    for words in [
        "these files are based on version 2; version 3 of berta is accepted: more",
        "-    maxconn 20\n+    maxconn 99\n",
        "--onto 3",
    ] {
        assert!(outcome.stdout.contains(words), "{}", outcome.stdout);
    }
    assert_eq!(
        role.cluster.lock().unwrap().applied.len(),
        asked,
        "nobody was asked"
    );
    let outcome = role.apply(&["--onto", "3"]);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert_eq!(role.last().parent, Some(VersionId(3)));
}

#[test]
fn json_output_is_one_document_with_the_result() {
    let role = ControlRoleFixture::new();
    role.write("a.cfg", &text(10));
    let document = |outcome: &CommandOutput| -> serde_json::Value {
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        serde_json::from_str(&outcome.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", outcome.stdout))
    };
    let outcome = role.apply(&["--json"]);
    let result = document(&outcome);
    assert_eq!(result["version"], 1);
    assert_eq!(result["changed"], true);
    assert_eq!(result["stage"], "accepted");
    assert_eq!(result["done"], "version 1 is accepted");
    assert!(
        outcome.stderr.contains("beta could serve it"),
        "{}",
        outcome.stderr
    );
    let result = document(&role.apply(&["--json"]));
    assert_eq!(
        (&result["version"], &result["changed"]),
        (&1.into(), &false.into())
    );
    for words in [
        &["confirm", "--json"][..],
        &["cancel", "-m", "no", "--author", "anna", "--json"],
        &["follow", "--json"],
        &["rollback", "1", "-m", "back", "--now", "--json"],
    ] {
        assert_eq!(document(&role.config(words))["done"], "done", "{words:?}");
    }
    let blamed = document(&role.config(&["blame", "--json"]));
    assert_eq!(blamed["lines"][1]["text"], "    maxconn 10");
    assert_eq!(blamed["lines"][1]["version"], 1);
    // A refusal is an error without a document.
    role.write("a.cfg", &text(20));
    role.cluster.lock().unwrap().next = Some(RolloutStage::TakenBack);
    let outcome = role.apply(&["--json"]);
    assert_eq!((outcome.code(), &*outcome.stdout), (Some(3), ""));
    assert!(
        outcome.stderr.contains("taken back: errors"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn files_are_loaded_as_the_member_and_unknown_nodes_reported() {
    let role = ControlRoleFixture::new();
    let lines = "    on alpha bind 127.0.0.1:1\n    on beta bind 127.0.0.1:2\n    on gamma bind 127.0.0.1:3\n";
    role.write("a.cfg", &text(10).replace("    bind 127.0.0.1:1\n", lines));
    let outcome = role.apply(&[]);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("no node is called 'gamma'"),
        "{}",
        outcome.stderr
    );
    assert_eq!(
        outcome.stderr.matches("warning[").count(),
        2,
        "{}",
        outcome.stderr
    );
}

#[test]
fn exit_code_reports_the_outcome_of_a_change() {
    let role = ControlRoleFixture::new();
    role.write("a.cfg", &text(10));
    let next = |stage| role.cluster.lock().unwrap().next = stage;
    next(Some(RolloutStage::TakenBack));
    let outcome = role.apply(&[]);
    assert_eq!(outcome.code(), Some(3), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("taken back: errors"),
        "{}",
        outcome.stderr
    );
    next(None);
    assert_eq!(
        role.apply(&["--author", "berta"]).code(),
        Some(2),
        "one author"
    );
    assert_eq!(
        role.config(&["apply", "a.cfg", "-m", "x", "--state", "state"])
            .code(),
        Some(1)
    );
    role.write("a.cfg", "listen a\n    bnid 127.0.0.1:1\n");
    let asked = role.cluster.lock().unwrap().applied.len();
    let outcome = role.apply(&[]);
    assert_eq!(outcome.code(), Some(1));
    assert!(
        outcome.stderr.contains("did you mean 'bind'?"),
        "{}",
        outcome.stderr
    );
    assert_eq!(role.cluster.lock().unwrap().applied.len(), asked);
    std::fs::remove_file(role.scratch.path().join("runtime").join(SOCKET)).unwrap();
    let outcome = role.config(&["log"]);
    assert_eq!(outcome.code(), Some(1));
    assert!(
        outcome.stderr.contains("evenkeel run"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn edited_text_is_checked_before_the_proposal() {
    let role = ControlRoleFixture::new();
    let path = role.write("a.cfg", &text(10));
    role.cluster.lock().unwrap().add(
        RolloutStage::Accepted,
        "anna",
        "first",
        5,
        others(&path, 10),
    );
    let editor = |name: &str, script: &str| {
        let path = role.write(name, &format!("#!/bin/sh\n{script}\n"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
        path
    };
    let edit = |editor: &str| {
        role.config_with(
            &["edit", "-m", "edited"],
            &[("VISUAL", ""), ("EDITOR", editor)],
        )
    };
    let outcome = edit("true");
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("the text is the same"));
    let good = editor(
        "good",
        "stat -c %a \"$2\" $(dirname \"$2\") > modes; sed -i s/10$/40/ \"$2\"",
    );
    let outcome = edit(&format!("{good} --wait"));
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let applied = role.last();
    assert_eq!(applied.parent, Some(VersionId(1)));
    assert!(String::from_utf8_lossy(&applied.set.files[0].bytes).contains("maxconn 40"));
    let modes = std::fs::read_to_string(role.scratch.path().join("modes")).unwrap();
    assert_eq!(modes, "600\n700\n");
    let count = role.cluster.lock().unwrap().applied.len();
    let bad = editor("bad", "sed -i s/maxconn/maxcon/ \"$1\"");
    let outcome = edit(&bad);
    assert_eq!(outcome.code(), Some(1));
    assert!(
        outcome.stderr.contains("did you mean 'maxconn'?"),
        "{}",
        outcome.stderr
    );
    assert_eq!(role.cluster.lock().unwrap().applied.len(), count);
    // The edited text is kept.
    let kept = outcome
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("the text was saved in "));
    let kept = std::fs::read_to_string(kept.unwrap()).unwrap();
    assert!(kept.contains("maxcon 40"), "{kept}");
    assert_eq!(edit("false").code(), Some(1));
    let outcome = edit("/nonexistent/editor");
    assert!(
        outcome.stderr.contains("/nonexistent/editor"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn the_history_is_shown_compared_and_traced_without_secrets() {
    let role = ControlRoleFixture::new();
    let path = role.write("a.cfg", &text(10));
    {
        let mut cluster = role.cluster.lock().unwrap();
        for (maxconn, author) in [(10, "anna"), (20, "berta"), (30, "carla")] {
            let message = format!("to {maxconn}");
            cluster.add(
                RolloutStage::Accepted,
                author,
                &message,
                5,
                others(&path, maxconn),
            );
        }
    }
    let said = |words: &[&str]| {
        let outcome = role.config(words);
        assert_eq!(outcome.code(), Some(0), "{words:?}: {}", outcome.stderr);
        assert!(!outcome.stdout.contains("SECRET"), "{}", outcome.stdout);
        outcome.stdout
    };
    assert!(said(&["show"]).contains("    stats auth ***\n"));
    assert!(said(&["show", "--version", "1", &path]).contains("maxconn 10"));
    assert!(said(&["show", "--json"]).contains("\"version\":3"));
    assert!(said(&["diff"]).contains("-    maxconn 20\n+    maxconn 30\n"));
    let all = said(&["diff", "1"]);
    assert!(all.contains("-    maxconn 10\n+    maxconn 30\n"), "{all}");
    assert!(all.contains("a secret changed"), "{all}");
    assert!(said(&["diff", "3", "3"]).contains("versions 3 and 3 are identical"));
    let log = said(&["log", "-n", "2"]);
    assert!(log.contains("berta") && log.contains("    to 20"), "{log}");
    let blamed = said(&["blame"]);
    let lines: Vec<&str> = blamed.lines().collect();
    assert!(
        lines[0].starts_with("1  anna ") && lines[0].ends_with("global"),
        "{blamed}"
    );
    assert!(
        lines[1].starts_with("3  carla ") && lines[1].ends_with("maxconn 30"),
        "{blamed}"
    );
    assert!(lines[9].ends_with("stats auth ***"), "{blamed}");
    let outcome = role.config(&["show", "/nowhere"]);
    assert_eq!(outcome.code(), Some(1));
    assert!(
        outcome.stderr.contains("version 3 has no file '/nowhere'"),
        "{}",
        outcome.stderr
    );
    for words in [
        &["confirm", "3"][..],
        &["cancel", "-m", "no", "--author", "anna"],
        &["take-back", "-m", "the former name", "--author", "anna"],
        &["follow"],
        &["rollback", "1", "-m", "back", "--now"],
    ] {
        said(words);
    }
    let asked = role.cluster.lock().unwrap().asked.join("\n");
    for words in [
        "Confirm { version: Some(VersionId(3))",
        "cancelled by anna: no",
        "cancelled by anna: the former name",
        "Follow",
        "Rollback { version: VersionId(1)",
    ] {
        assert!(asked.contains(words), "{asked}");
    }
    assert_eq!(role.config(&["rollback", "9", "-m", "x"]).code(), Some(1));
}
