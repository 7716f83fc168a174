//! Tests queries of a load to the system and to recordings, and that no other code queries the
//! system.

use super::*;

#[test]
fn a_recording_is_the_only_one_that_is_asked() {
    let mut outside = Outside::recorded(Answers::default());
    let path = Path::new("/dev/null");
    assert!(outside.read(path, 1).is_err());
    assert!(outside.read(path, 2).is_err());
    assert!(!outside.readable_by_all(path));
    assert!(!outside.is_directory(Path::new("/")));
    assert!(outside.addresses("127.0.0.1").is_empty());
    let account = outside.account(AccountKind::User, "root");
    assert_eq!(account, Account::Unknown(None));
    assert_eq!(outside.own_addresses(), None);
    let told: Vec<String> = outside
        .unanswered()
        .iter()
        .map(SystemQuery::to_string)
        .collect();
    assert_eq!(
        told,
        [
            "the content of the file '/dev/null'",
            "the permissions of the file '/dev/null'",
            "whether '/' is a directory",
            "the addresses of '127.0.0.1'",
            "the user 'root'",
            "the addresses of this host",
        ]
    );
}

#[test]
fn a_file_is_read_once_and_its_size_counts_for_each_reader() {
    let path = std::env::temp_dir().join(format!("evenkeel-outside-{}", std::process::id()));
    std::fs::write(&path, "0123456789").unwrap();
    let mut outside = Outside::default();
    let too_large = |max| Err(Unreadable::TooLarge(max));
    assert_eq!(outside.read(&path, 9), too_large(9));
    assert_eq!(outside.read(&path, 8), too_large(8));
    let read = outside.read(&path, 10).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(outside.read(&path, 5), too_large(5));
    let again = outside.read(&path, 11).unwrap();
    assert!(Arc::ptr_eq(&read, &again));
    let mut recorded = Outside::recorded(outside.into_answers());
    assert_eq!(recorded.read(&path, 9), too_large(9));
    assert_eq!(**recorded.read(&path, 10).unwrap(), *b"0123456789");
    assert!(recorded.unanswered().is_empty());
}

#[test]
fn errors_are_those_of_the_system() {
    let mut outside = Outside::default();
    let error = outside.read(Path::new("/nonexistent/x"), 1).unwrap_err();
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
    let error = outside.read(Path::new("/"), 1 << 20).unwrap_err();
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::IsADirectory);
    // Reads a device that never ends, and whose reported size is zero: the limit applies to the
    // bytes that were read.
    assert_eq!(
        outside.read(Path::new("/dev/zero"), 5000),
        Err(Unreadable::TooLarge(5000))
    );
}

/// Strings of code that queries the system, which only [`live`] may contain among the files for
/// loading, for keywords and for rules.
const ASKING: &[&str] = &[
    "std::fs::",
    "fs::",
    "File::open",
    "ToSocketAddrs",
    "to_socket_addrs",
    "::from_name",
    "getifaddrs",
    ".is_dir()",
    ".is_file()",
    ".exists()",
    ".metadata()",
    "env::current_dir",
    "env::var",
];

/// Exempt files: [`live`] itself, the reader of the files of the command line, and the code that
/// queries the process while traffic flows.
const MAY_ASK: &[&str] = &[
    "configuration/src/outside/live.rs",
    "configuration/src/files.rs",
    "rules/fetch/process.rs",
];

#[test]
fn nothing_of_loading_asks_the_system_elsewhere() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let of_proxy = [
        "keyword/src/load",
        "keyword/src/family",
        "model/src/rules",
        "model/src/config",
        "model/src/sample",
        "model/src/setting",
    ];
    let of_proxy = of_proxy.map(|name| own.join("../..").join(name));
    let mut directories: Vec<PathBuf> = [own].into_iter().chain(of_proxy).collect();
    let mut looked_at = 0;
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("tests") {
                    directories.push(path);
                }
                continue;
            }
            let exempt =
                path.ends_with("tests.rs") || MAY_ASK.iter().any(|name| path.ends_with(name));
            if exempt || path.extension().is_none_or(|e| e != "rs") {
                continue;
            }
            looked_at += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for line in code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
            {
                let asks = ASKING.iter().find(|word| line.contains(**word));
                assert_eq!(asks, None, "{}: {line}", path.display());
            }
        }
    }
    assert!(looked_at > 100, "only {looked_at} files");
}

#[test]
fn a_pipe_is_read_to_its_end_and_one_that_nobody_writes_into_is_not_waited_for() {
    let path = std::env::temp_dir().join(format!("evenkeel-pipe-{}", std::process::id()));
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            use std::io::Write;
            let mut pipe = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            for part in ["one\n", "two\n"] {
                pipe.write_all(part.as_bytes()).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    });
    let text = super::live::read(&path, 100).unwrap();
    writer.join().unwrap();
    let silent = super::live::read(&path, 100);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(&text[..], b"one\ntwo\n");
    let Err(error) = silent else {
        panic!("there was nobody");
    };
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::TimedOut);
}

#[test]
fn a_directory_is_no_program() {
    let outside = Outside::default();
    let runs = |path| outside.can_execute(Path::new(path), None);
    assert_eq!(runs("/nowhere/at/all"), Runs::Missing);
    assert_eq!(runs("/"), Runs::Directory);
}
