//! Tests of private keys: no file that a process writes or holds open contains their bytes, the
//! role wipes their text and signs with them as an unprivileged user in an empty root directory,
//! and changes of their files are detected.

use crate::harness::{Bench, PATIENCE, evenkeel, run};
use crate::supervised::Supervised;
use crate::tls_life::TlsProcessFixture;
use lab::eventually;
use lab::pki::{Issued, KeyKind};
use lab::tls::{TlsClient, TlsOffer, Versions};
use nix::sys::signal::Signal;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Returns a line of the PEM text of the key, which the tests search for.
fn needle(issued: &Issued) -> Vec<u8> {
    let line = issued.key_pem.lines().nth(2).unwrap();
    line.as_bytes().to_vec()
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(bytes, needle).is_some()
}

/// Returns the regular and unnamed files that a process holds open, with their contents.
fn open_files(pid: i32) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        // Descriptors without a file name may be pipes, whose reading would block.
        let target = std::fs::read_link(&path).unwrap_or_default();
        let regular = std::fs::metadata(&path).is_ok_and(|data| data.is_file());
        if !target.starts_with("/") || !regular {
            continue;
        }
        if let Ok(bytes) = std::fs::read(&path) {
            found.push((target, bytes));
        }
    }
    found
}

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path(), found),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

/// Returns how often a text occurs in the writable memory of a process; None without access.
fn in_memory(pid: i32, needle: &[u8]) -> Option<usize> {
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let mut found = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next()?, words.next()?);
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-')?;
        let from = u64::from_str_radix(from, 16).ok()?;
        let to = u64::from_str_radix(to, 16).ok()?;
        let mut bytes = vec![0; usize::try_from(to - from).ok()?];
        // Skips pages that cannot be read, such as those of the kernel.
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            found += memchr::memmem::find_iter(&bytes, needle).count();
        }
    }
    Some(found)
}

fn assert_no_key(bed: &TlsProcessFixture, supervised: &Supervised, keys: &[Vec<u8>]) {
    let role = supervised.role().unwrap();
    let runtime = bed.scratch.path().join("runtime");
    for needle in keys {
        for (path, bytes) in open_files(role) {
            assert!(!holds(&bytes, needle), "the role's {}", path.display());
        }
        let mut written = Vec::new();
        files_below(&runtime, &mut written);
        for path in written {
            let bytes = std::fs::read(&path).unwrap_or_default();
            assert!(!holds(&bytes, needle), "{}", path.display());
        }
        // Some memory is wiped only after the response about the change.
        let wiped = || in_memory(role, needle).is_none_or(|count| count == 0);
        assert!(
            eventually(PATIENCE, wiped),
            "{:?} times in the role's memory",
            in_memory(role, needle)
        );
    }
}

#[test]
fn no_file_or_memory_contains_a_private_key() {
    let bed = TlsProcessFixture::new();
    let mut keys = vec![needle(&bed.issue("site.pem", KeyKind::Ecdsa))];
    bed.write("", &bed.usual(), "");
    let supervised = bed.run();
    assert_no_key(&bed, &supervised, &keys);
    // Adds a second key in the certificate's file, and one in a file of its own.
    let second = bed.issue("second.pem", KeyKind::EcdsaP384);
    bed.scratch
        .write("beside.pem", second.full_chain())
        .unwrap();
    bed.scratch
        .write("beside.pem.key", &second.key_pem)
        .unwrap();
    bed.issue("rsa.pem", KeyKind::Rsa2048);
    keys.push(needle(&second));
    let more = format!("{} crt {}", bed.usual(), bed.word("beside.pem"));
    bed.write("", &more, "");
    let outcome = supervised.reload();
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    bed.serves();
    assert_no_key(&bed, &supervised, &keys);
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
    let mut left = Vec::new();
    files_below(&bed.scratch.path().join("runtime"), &mut left);
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn keys_of_both_kinds_sign_as_nobody_in_an_empty_root() {
    if !lab::may_run("keys sign in an empty root", lab::privileged()) {
        return;
    }
    for key in [KeyKind::Ecdsa, KeyKind::Rsa2048, KeyKind::EcdsaP384] {
        let bed = TlsProcessFixture::new();
        bed.issue("site.pem", key);
        let empty = bed.scratch.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        // Only root may read the key.
        let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(bed.scratch.path().join("site.pem"), owner).unwrap();
        let global = format!(
            "    user nobody\n    group nogroup\n    chroot {}\n",
            empty.display()
        );
        bed.write(&global, &bed.usual(), "");
        let supervised = bed.run();
        let role = supervised.role().unwrap();
        for versions in [Versions::Only12, Versions::Only13] {
            let client = bed.client(true, versions);
            for _ in 0..3 {
                let mut connection = client.connect(bed.address()).unwrap();
                assert_eq!(
                    connection.get("/").unwrap().status,
                    200,
                    "{key:?} {versions:?}"
                );
            }
        }
        // A system call that seccomp does not permit would end the process.
        assert_eq!(supervised.role(), Some(role), "the role died");
        // Reloads with another key, which must work in the empty root directory, too.
        bed.issue("site.pem", KeyKind::Ecdsa);
        let outcome = supervised.reload();
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        assert_eq!(bed.connect().get("/").unwrap().status, 200);
        assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
    }
}

#[test]
fn replaced_certificate_is_loaded_and_an_incomplete_one_is_not() {
    let bed = TlsProcessFixture::new();
    bed.write("    watch files delay 200ms\n", &bed.usual(), "");
    let supervised = bed.run();
    let shown = || {
        let connection = bed.connect();
        connection.negotiated().certificates[0].to_vec()
    };
    let first = shown();
    let second = bed.issue("new.pem", KeyKind::Rsa2048);
    let (new, site) = (
        bed.scratch.path().join("new.pem"),
        bed.scratch.path().join("site.pem"),
    );
    std::fs::rename(&new, &site).unwrap();
    assert!(
        eventually(PATIENCE, || shown() == second.der),
        "not detected"
    );
    assert_ne!(first, second.der);
    // Half a certificate is refused. The served one stays until the file is complete.
    let third = bed.issue("third.pem", KeyKind::Ecdsa);
    let whole = third.bundle();
    std::fs::write(&site, &whole[..whole.len() / 2]).unwrap();
    let refused = supervised.reload();
    assert_eq!(refused.code(), Some(1), "{}", refused.stderr);
    assert_eq!(shown(), second.der);
    std::fs::write(&site, &whole).unwrap();
    assert!(
        eventually(PATIENCE, || shown() == third.der),
        "not detected"
    );
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn a_new_file_in_a_directory_and_a_link_that_is_turned_are_noticed() {
    let bed = TlsProcessFixture::new();
    let sites = bed.scratch.path().join("sites");
    let archive = bed.scratch.path().join("archive");
    std::fs::create_dir(&sites).unwrap();
    std::fs::create_dir(&archive).unwrap();
    let issue = |name: &str, path: &Path| {
        let leaf = lab::pki::Leaf {
            names: &[name],
            ..lab::pki::Leaf::default()
        };
        let issued = bed.authority.issue(&leaf).unwrap();
        std::fs::write(path, issued.bundle()).unwrap();
        issued.der
    };
    // Renewal programs replace a symbolic link.
    let first = issue("site.test", &archive.join("1.pem"));
    let link = bed.scratch.path().join("live.pem");
    std::os::unix::fs::symlink("archive/1.pem", &link).unwrap();
    issue("one.test", &sites.join("one.pem"));
    let bind = format!("ssl crt {} crt {}", bed.word("live.pem"), bed.word("sites"));
    bed.write("    watch files delay 200ms\n", &bind, "");
    let supervised = bed.run();
    let shown = |name: &'static str| {
        let offer = TlsOffer {
            sni: Some(name),
            ..TlsOffer::default()
        };
        let client = TlsClient::new_local(&offer).unwrap();
        let connection = client.connect(bed.address()).unwrap();
        connection.negotiated().certificates[0].clone()
    };
    assert_eq!(shown("two.test"), first);
    let second = issue("two.test", &sites.join("two.pem"));
    assert!(
        eventually(PATIENCE, || shown("two.test") == second),
        "the new file"
    );
    let third = issue("site.test", &archive.join("2.pem"));
    let new = bed.scratch.path().join("live.new");
    std::os::unix::fs::symlink("archive/2.pem", &new).unwrap();
    std::fs::rename(&new, &link).unwrap();
    assert!(
        eventually(PATIENCE, || shown("site.test") == third),
        "the link"
    );
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn check_lists_the_keys_that_the_loader_reads() {
    let bed = TlsProcessFixture::new();
    let issued = bed.issue("site.pem", KeyKind::Ecdsa);
    bed.scratch
        .write("beside.pem", issued.full_chain())
        .unwrap();
    bed.scratch
        .write("beside.pem.key", &issued.key_pem)
        .unwrap();
    let more = format!(
        "{} crt {} ca-file {} verify optional",
        bed.usual(),
        bed.word("beside.pem"),
        bed.word("ca.pem")
    );
    bed.write("", &more, "");
    let bench = Bench::new();
    let file = bed.word("a.cfg");
    let words = ["check", "--privileges", "--format", "json", &file];
    let outcome = run(evenkeel(), bench.scratch.path(), words);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let told: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let reads = |process: usize| told["processes"][process]["reads"].to_string();
    for file in ["site.pem", "beside.pem", "beside.pem.key", "ca.pem"] {
        let word = bed.word(file);
        assert!(
            reads(1).contains(&format!("\"{word}\"")),
            "{word}: {}",
            reads(1)
        );
        assert!(!reads(2).contains(&word), "the proxy: {}", reads(2));
    }
}
