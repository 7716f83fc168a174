//! Tests programs that run too long, print too much or are missing.

use super::super::program::{Asking, ProgramOutput, ask};
use super::*;

async fn asked(
    directory: &TemporaryDirectory,
    program: &'static str,
    arguments: &[&str],
    limit_ms: u64,
    said_max: usize,
) -> Result<ProgramOutput, Trouble> {
    ask(Asking {
        program,
        arguments: arguments.iter().map(Into::into).collect(),
        environment: Vec::new(),
        directory: &directory.0,
        limit: Duration::from_millis(limit_ms),
        said_max,
        input: b"input".to_vec(),
        grows: false,
    })
    .await
}

#[tokio::test]
async fn program_gets_its_own_environment_and_output_is_read() {
    let directory = TemporaryDirectory::new("env");
    let said = asked(&directory, "env", &[], 60_000, 4096).await.unwrap();
    let text = String::from_utf8_lossy(&said.out).into_owned();
    let mut names: Vec<&str> = text.lines().filter_map(|l| l.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "HOME",
            "LC_ALL",
            "PATH",
            "SSH_ASKPASS",
            "SSH_ASKPASS_REQUIRE",
            "TMPDIR"
        ]
    );
    let said = asked(&directory, "cat", &[], 60_000, 4096).await.unwrap();
    assert_eq!(said.out, b"input");
}

#[tokio::test]
async fn slow_program_is_killed_with_its_children() {
    let directory = TemporaryDirectory::new("slow");
    let pid = directory.at("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
    let slow = asked(&directory, "sh", &["-c", &script], 3_000, 4096).await;
    assert!(matches!(slow, Err(Trouble::Slow { .. })), "{slow:?}");
    let pid = std::fs::read_to_string(pid).unwrap();
    let process = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
    let alive = || {
        let stat = std::fs::read_to_string(&process).unwrap_or_default();
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| !rest.trim().is_empty() && !rest.starts_with(" Z"))
    };
    for _ in 0..600 {
        if !alive() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("what it started lives on");
}

#[tokio::test]
async fn program_with_too_much_output_is_stopped() {
    let directory = TemporaryDirectory::new("loud");
    let loud = asked(&directory, "cat", &["/dev/zero"], 60_000, 1 << 20).await;
    let Err(Trouble::SaysTooMuch { bytes_max, .. }) = loud else {
        panic!("{loud:?}");
    };
    assert_eq!(bytes_max, 1 << 20);
}

#[tokio::test]
async fn missing_program_is_named_and_failing_one_quoted() {
    let directory = TemporaryDirectory::new("missing");
    let missing = asked(&directory, "evenkeel-no-such-program", &[], 60_000, 1).await;
    let Err(Trouble::Unreachable { words }) = missing else {
        panic!("{missing:?}");
    };
    assert!(
        words.contains("'evenkeel-no-such-program' is not installed"),
        "{words}"
    );
    let script = "printf 'fatal: \\033[31mone\\n\\ntwo\\n' >&2; exit 3";
    let failed = asked(&directory, "sh", &["-c", script], 60_000, 1)
        .await
        .unwrap();
    assert_eq!(failed.code, Some(3));
    assert_eq!(failed.complaint, "fatal: \\x1b[31mone; two");
}
