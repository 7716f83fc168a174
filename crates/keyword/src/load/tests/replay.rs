//! Tests that a recorded load can be repeated without the files and names that existed the first
//! time.

use super::{codes, told};
use crate::load::{Loaded, load, replay};
use crate::testing::load_text;
use configuration::{LoadOptions, Recording};
use language::{Environment, Facts};
use model::config::{Config, ServerAddress};
use proptest::prelude::*;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

struct ReplayDirectory(PathBuf);

impl ReplayDirectory {
    fn new(name: &str) -> ReplayDirectory {
        let path = std::env::temp_dir().join(format!("evenkeel-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        ReplayDirectory(path)
    }

    fn write(&self, name: &str, text: &str) -> &ReplayDirectory {
        std::fs::write(self.0.join(name), text).expect("a file");
        self
    }
}

impl Drop for ReplayDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn load_here(name: &str, text: String) -> Loaded {
    let mut environment = Environment::empty();
    environment.set("NAME", "web");
    load(
        vec![(name.to_owned(), text.into_bytes())],
        environment,
        Facts::new("2.6.12").with_features(["THREAD"]),
        LoadOptions {
            resolve_names: true,
            ignore_unresolved: true,
            diag: true,
            unverified_servers: false,
            ..LoadOptions::default()
        },
    )
}

fn there_and_back(recording: &Recording) -> Recording {
    let bytes = recording.encode();
    let again = Recording::decode(&bytes).expect("what was encoded");
    assert_eq!(again, *recording);
    again
}

/// Returns the debug output as sorted lines, because hash maps have no fixed order.
fn tree(config: &Option<Config>) -> Vec<String> {
    let text = format!("{config:#?}");
    // Leaves out the numbers of states, which are unique in the process.
    let of_tree = |line: &&str| !line.trim_start().starts_with("uid: ");
    let lines = text.lines().filter(of_tree);
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// Host name that is rejected without a query, because one of its labels is too long.
fn impossible_name() -> String {
    format!("{}.example", "x".repeat(64))
}

/// Returns a configuration whose load makes every kind of query to the environment.
fn curious(directory: &Path) -> String {
    let nowhere = impossible_name();
    let at = directory.display();
    format!(
        "global\n    user root\n    group root\n    ssl-dh-param-file {at}/dh.pem\n    log localhost local0\n\
         defaults\n    mode http\n    timeout client 5s\n    timeout server 5s\n    timeout connect 5s\n\
         \x20   errorfile 503 {at}/503.http\n\
         .if feature(THREAD)\n\
         frontend f\n    bind localhost:8080\n    bind 192.0.2.77:8081\n    bind /run/x.sock user root group root\n\
         \x20   acl known src -f {at}/nets.lst\n    acl again src -f {at}/nets.lst\n    acl host src localhost\n\
         \x20   http-request return content-type text/plain file {at}/page.txt if known\n\
         \x20   http-request return content-type text/plain lf-file {at}/page.txt if again\n\
         \x20   http-request deny if host\n\
         \x20   use_backend %[path,map({at}/paths.map,b)]\n    default_backend \"$NAME\"\n\
         .endif\n\
         backend web\n    stats auth me:secret\n    server s localhost:80 check addr localhost\n\
         \x20   server t {nowhere}:80 init-addr none\n"
    )
}

fn curious_files(directory: &ReplayDirectory) {
    directory
        .write("dh.pem", "-----BEGIN DH PARAMETERS-----\n")
        .write("503.http", "HTTP/1.0 503 Busy\r\n\r\nlater")
        .write("nets.lst", "192.0.2.0/24\nlocalhost\n")
        .write("page.txt", "hello %[src]")
        .write("paths.map", "/a web\n/b web\n");
}

#[test]
fn a_recording_holds_no_variable_that_no_file_names() {
    let mut environment = Environment::empty();
    for (name, value) in [
        ("SECRET", "s3cr3t"),
        ("STAGE", "test"),
        ("VIA", "through $INDIRECT"),
        ("INDIRECT", "found"),
        ("HAPROXY_LOCALPEER", "me"),
    ] {
        environment.set(name, value);
    }
    let text = "global\n setenv OWN 1\ndefaults\n mode http\n timeout connect 1s\n timeout client 1s\n\
                timeout server 1s\nfrontend f\n bind :1\n\
                http-request return status 200 hdr x \"$VIA\" hdr y \"%[env(STAGE)]\"\n";
    let loaded = load(
        vec![("a.cfg".to_owned(), text.as_bytes().to_vec())],
        environment,
        Facts::new("2.6.12"),
        LoadOptions::default(),
    );
    let names: Vec<&str> = loaded
        .recording
        .environment
        .iter()
        .map(|(n, _)| n)
        .collect();
    assert_eq!(names, ["HAPROXY_LOCALPEER", "INDIRECT", "STAGE", "VIA"]);
    let again = replay(there_and_back(&loaded.recording));
    assert_eq!(tree(&again.config), tree(&loaded.config));
    let config = again.config.expect("no error");
    let shown: Vec<&str> = config.environment.iter().map(|(name, _)| name).collect();
    assert_eq!(
        shown,
        ["HAPROXY_LOCALPEER", "INDIRECT", "OWN", "STAGE", "VIA"]
    );
}

#[test]
fn a_replay_needs_neither_files_nor_names_nor_accounts() {
    let directory = ReplayDirectory::new("replay-all");
    curious_files(&directory);
    let name = directory.0.join("it.cfg").display().to_string();
    let text = curious(&directory.0);
    directory.write("it.cfg", &text);
    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&name, mode).expect("its mode");
    let loaded = load_here(&name, text);
    assert!(loaded.config.is_some(), "{}", told(&loaded));
    assert!(codes(&loaded).contains(&"W0109"), "{}", told(&loaded));
    let files: Vec<PathBuf> = loaded.recording.files().map(Path::to_owned).collect();
    let all = [
        "503.http",
        "dh.pem",
        "it.cfg",
        "nets.lst",
        "page.txt",
        "paths.map",
    ];
    assert_eq!(files, all.map(|name| directory.0.join(name)));
    let recording = there_and_back(&loaded.recording);
    drop(directory);
    let again = replay(recording);
    assert_eq!(told(&again), told(&loaded));
    let (one, other) = (tree(&loaded.config), tree(&again.config));
    let different = one.iter().zip(&other).find(|(one, other)| one != other);
    assert_eq!((different, one.len()), (None, other.len()));
    assert_eq!(again.recording, loaded.recording);
}

#[test]
fn what_failed_fails_again_in_the_same_words_although_it_would_do_now() {
    let directory = ReplayDirectory::new("replay-none");
    let text = curious(&directory.0).replace("root", "r00t");
    let name = directory.0.join("it.cfg").display().to_string();
    let loaded = load_here(&name, text);
    assert!(loaded.config.is_none());
    curious_files(&directory);
    let again = replay(there_and_back(&loaded.recording));
    assert_eq!(told(&again), told(&loaded));
    for code in ["E0111", "E0211"] {
        assert!(codes(&again).contains(&code), "{code}: {}", told(&again));
    }
    // Files that were not found are watched, too.
    assert!(
        again
            .recording
            .files()
            .any(|path| path.ends_with("nets.lst"))
    );
}

#[test]
fn a_replay_that_asks_more_than_was_recorded_is_refused_and_asks_nobody() {
    let directory = ReplayDirectory::new("replay-more");
    curious_files(&directory);
    let mut recording = load_here("it.cfg", "listen a\n    bind 127.0.0.1:1\n".into()).recording;
    let text = curious(&directory.0).into_bytes();
    recording.files[0].1 = language::source::Text::new(text);
    let again = replay(recording);
    assert!(again.config.is_none());
    let told = told(&again);
    for what in ["'root'", "nets.lst", "'localhost'", "dh.pem"] {
        let line = told
            .lines()
            .find(|line| line.contains("E0112") && line.contains(what));
        assert!(line.is_some(), "{what}: {told}");
    }
}

#[test]
fn lines_that_name_the_same_file_share_its_bytes() {
    let directory = ReplayDirectory::new("replay-shared");
    curious_files(&directory);
    let path = directory.0.join("paths.map");
    let rules: String = (0..50)
        .map(|n| {
            let path = path.display();
            format!("    http-request set-header X-{n} %[path,map({path})]\n")
        })
        .collect();
    let text = format!("listen a\n    mode http\n    bind 127.0.0.1:1\n{rules}");
    let loaded = load_here("it.cfg", text);
    assert!(loaded.config.is_some(), "{}", told(&loaded));
    let size = loaded.recording.encode().len();
    assert!(
        size < loaded
            .sources
            .files()
            .map(|(_, file)| file.text.len())
            .sum::<usize>()
            + 500
    );
}

#[test]
fn addresses_are_those_of_the_recording() {
    let text = "listen a\n    bind 127.0.0.1:1\n    server s localhost:80\n";
    let loaded = load_here("it.cfg", text.into());
    let mut recording = loaded.recording;
    let mut answers = recording.take_answers();
    let other: IpAddr = [192, 0, 2, 9].into();
    answers.hosts.insert("localhost".into(), [other].into());
    recording.store_answers(answers);
    let again = replay(there_and_back(&recording));
    let config = again.config.expect("a tree");
    let expected = ServerAddress::Inet("192.0.2.9:80".parse().expect("an address"));
    assert_eq!(config.proxies[0].servers[0].address, expected);
}

#[test]
fn the_number_of_the_content_is_that_of_the_files_less_the_states_of_servers() {
    let dir = std::env::temp_dir().join(format!("evenkeel-content-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (list, states) = (dir.join("list"), dir.join("states"));
    std::fs::write(&list, "one\n").unwrap();
    std::fs::write(&states, "1\n").unwrap();
    let text = |comment: &str| {
        format!(
            "# {comment}\nglobal\n server-state-file {}\nfrontend f\n mode http\n bind 127.0.0.1:1\n acl a path -f {}\n \
             http-request deny if a\nbackend b\n load-server-state-from-file global\n server s 127.0.0.1:1\n",
            states.display(),
            list.display()
        )
    };
    let content = |comment: &str| {
        let loaded = load_text(&text(comment));
        let named = loaded.recording.named().map(|(path, _)| path.to_owned());
        assert_eq!(named.collect::<Vec<_>>(), [list.clone(), states.clone()]);
        loaded.recording.content(&loaded.watched.states)
    };
    let first = content("a");
    assert_eq!(content("a"), first);
    assert_ne!(content("b"), first, "the configuration");
    std::fs::write(&states, "2\n").unwrap();
    assert_eq!(content("a"), first, "what an earlier process has left");
    std::fs::write(&list, "two\n").unwrap();
    assert_ne!(content("a"), first, "a list");
    std::fs::remove_file(&list).unwrap();
    let missing = content("a");
    std::fs::remove_dir_all(&dir).unwrap();
    assert_ne!(missing, first);
}

proptest! {
    #[test]
    fn a_damaged_recording_is_refused_or_loads_to_an_end(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let directory = ReplayDirectory::new("damaged");
            curious_files(&directory);
            let loaded = load_here("a.cfg", curious(&directory.0));
            loaded.recording.encode().to_vec()
        });
        let mut bytes = BYTES.clone();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(recording) = Recording::decode(&bytes) {
            // Any diagnostic is allowed, but the load has to end.
            replay(recording);
        }
    }
}

/// Returns a configuration that earlier releases of Evenkeel accepted and this one refuses.
fn outdated(directory: &Path) -> String {
    let at = directory.display();
    format!(
        "defaults\n    mode http\n    timeout client 5s\n    timeout server 5s\n    timeout connect 5s\n\
         \x20   errorfile 503 {at}/chunked.http\n\
         frontend f\n    bind 127.0.0.1:8080\n    declare capture request len 0\n\
         \x20   acl line path_reg ^/a**$\n    acl list path_reg -f {at}/reg.lst\n\
         \x20   http-request replace-path ^/b**(.*) /c\\1 if line\n\
         \x20   http-request set-header X %[path,regsub(d**,e,i)] if list\n\
         \x20   http-request return status 503 errorfile {at}/chunked.http if list\n\
         \x20   http-request del-header x** -m reg\n    default_backend b\n\
         backend b\n    option httpchk\n    http-check expect rstring ok**\n    server s 127.0.0.1:9\n\
         defaults d\n    mode http\n    timeout client 5s\n    timeout server 5s\n    timeout connect 5s\n\
         \x20   http-request set-header Y %[srv_conn(s)]\n\
         listen l\n    bind 127.0.0.1:8081\n    server s 127.0.0.1:9\n"
    )
}

#[test]
fn version_that_an_earlier_program_accepted_is_served_with_warnings() {
    let directory = ReplayDirectory::new("outdated");
    directory.write("reg.lst", "^/x\n^/y**\n").write(
        "chunked.http",
        "HTTP/1.1 503 Gone\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    let load_as = |is_accepted: bool| {
        load(
            vec![("site.cfg".to_owned(), outdated(&directory.0).into_bytes())],
            Environment::empty(),
            Facts::new("2.6.12"),
            LoadOptions {
                resolve_names: true,
                ignore_unresolved: is_accepted,
                version: "version 3".to_owned(),
                ..LoadOptions::default()
            },
        )
    };
    let refused = load_as(false);
    assert!(refused.config.is_none());
    let errors = refused.diagnostics.errors();
    let accepted = load_as(true);
    let all = told(&accepted);
    let config = accepted.config.unwrap_or_else(|| panic!("{all}"));
    // Each mistake is a warning; a file with a wrong line was reported twice.
    assert!(accepted.diagnostics.warnings() + 1 >= errors, "{all}");
    // The replay builds the same configuration.
    let replayed = replay(there_and_back(&accepted.recording));
    assert_eq!(tree(&replayed.config), tree(&Some(config)));
}
