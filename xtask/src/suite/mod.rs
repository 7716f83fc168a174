//! Implements `cargo xtask test`: runs every test of the workspace, several test binaries at a
//! time.
//!
//! Most tests wait: for timers of the product, for the boot of a guest, or for the data plane,
//! which exists once per process. `cargo test` runs one binary after another, with one test per
//! processor, so the processors are idle for most of that time. This runner builds what `cargo
//! test` builds, and runs two binaries side by side, each with more tests than processors.
//!
//! The output of two binaries is never mixed: that of each binary is printed when it ends, below
//! its line `Running`.

mod binary;
mod error;

use binary::TestBinary;
use error::SuiteError;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Number of binaries that run at the same time: the scenarios take as long as all others together.
const BINARIES_AT_ONCE: usize = 2;
/// The binaries that take longest, which start first: none of them runs alone at the end.
const LONGEST: [&str; 5] = [SCENARIOS, "driver", "it", "cluster", "role"];
/// Binary of the tests with real programs and several nodes.
const SCENARIOS: &str = "scenarios";
/// Variable with the number of simultaneous tests of a binary, set unless the environment has it.
const THREADS: &str = "RUST_TEST_THREADS";
/// Options that `cargo test` and `cargo build` share, so that nothing is built twice.
const WORKSPACE: &[&str] = &["--locked", "--workspace"];

/// Runs all tests; further arguments are the names of tests, as those of a test binary.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let filters: Vec<OsString> = arguments.collect();
    match run(&filters) {
        Ok(failed) if failed.is_empty() => ExitCode::SUCCESS,
        Ok(failed) => {
            let number = failed.len();
            eprintln!("error: {number} test binaries failed, to rerun one:");
            for rerun in failed {
                eprintln!("    cargo test {rerun}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all tests; returns the arguments of `cargo test` that repeat each failed binary.
fn run(filters: &[OsString]) -> Result<Vec<String>, SuiteError> {
    let mut binaries = binary::build(WORKSPACE)?;
    let place = |binary: &TestBinary| LONGEST.iter().position(|name| *name == binary.name);
    binaries.sort_by_key(|binary| place(binary).unwrap_or(LONGEST.len()));
    let threads = std::env::var_os(THREADS);
    let mut failed = run_all(&binaries, |binary| {
        let mut command = Command::new(&binary.executable);
        command.args(filters);
        if threads.is_none() {
            command.env(THREADS, tests_at_once(binary).to_string());
        }
        command
    })?;
    if filters.is_empty() && !documentation()? {
        failed.push("--workspace --doc".to_owned());
    }
    Ok(failed)
}

/// Returns the number of simultaneous tests of a binary: three on two processors, so that a
/// simulation does not overload the machine. Scenarios mostly wait for timers: four on two
/// processors.
fn tests_at_once(binary: &TestBinary) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    if binary.name == SCENARIOS {
        2 * processors
    } else {
        processors + processors.div_ceil(2)
    }
}

/// Runs the binaries, each by the command that `command` makes of it. Returns how to repeat
/// those that failed.
fn run_all(
    binaries: &[TestBinary],
    command: impl Fn(&TestBinary) -> Command + Sync,
) -> Result<Vec<String>, SuiteError> {
    let next = AtomicUsize::new(0);
    let screen = Mutex::new(());
    let work = || {
        let mut failed = Vec::new();
        while let Some(binary) = binaries.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !run_one(binary, command(binary), &screen)? {
                failed.push(binary.rerun());
            }
        }
        Ok(failed)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..BINARIES_AT_ONCE).map(|_| scope.spawn(work)).collect();
        let mut failed = Vec::new();
        for worker in workers {
            let result: Result<Vec<String>, SuiteError> = worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            failed.extend(result?);
        }
        Ok(failed)
    })
}

/// Returns whether all tests of a binary passed. The output goes to a file first, because a process
/// that the binary leaves behind would keep a pipe open.
fn run_one(
    binary: &TestBinary,
    mut command: Command,
    screen: &Mutex<()>,
) -> Result<bool, SuiteError> {
    println!("    Starting {binary}");
    let path = binary.output_file();
    let (output, errors) = create(&path).map_err(|source| SuiteError::Output {
        path: path.clone(),
        source,
    })?;
    let began = Instant::now();
    let status = command
        .current_dir(&binary.directory)
        .env("CARGO_MANIFEST_DIR", &binary.directory)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .status()
        .map_err(|source| SuiteError::Run {
            program: binary.executable.clone(),
            source,
        })?;
    let seconds = began.elapsed().as_secs();
    let _one = screen
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    print(binary, &path, seconds).map_err(|source| SuiteError::Output { path, source })?;
    if !status.success() {
        println!("error: test failed, to rerun pass `{}`", binary.rerun());
    }
    Ok(status.success())
}

fn create(path: &Path) -> std::io::Result<(File, File)> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let file = File::create(path)?;
    let second = file.try_clone()?;
    Ok((file, second))
}

/// Prints the output of a binary that ended.
fn print(binary: &TestBinary, output: &Path, seconds: u64) -> std::io::Result<()> {
    let mut file = File::open(output)?;
    let mut screen = std::io::stdout().lock();
    writeln!(screen, "     Running {binary}: {seconds} s")?;
    std::io::copy(&mut file, &mut screen)?;
    screen.flush()
}

/// Returns whether the examples of the documentation work.
fn documentation() -> Result<bool, SuiteError> {
    let mut command = Command::new(binary::cargo());
    command.arg("test").args(WORKSPACE).arg("--doc");
    let status = command.status().map_err(|source| SuiteError::Run {
        program: binary::cargo(),
        source,
    })?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(name: &str) -> TestBinary {
        let scratch = std::env::temp_dir();
        TestBinary {
            package: "package".to_owned(),
            name: name.to_owned(),
            kind: binary::Kind::Test,
            source: format!("tests/{name}.rs"),
            executable: scratch.join(format!("xtask-{}/deps/{name}", std::process::id())),
            directory: scratch,
        }
    }

    #[test]
    fn all_binaries_run_and_those_that_failed_are_named() {
        let binaries = ["one", "two", "three", "four"].map(binary);
        let failed = run_all(&binaries, |binary| {
            let mut command = Command::new("sh");
            let script = "echo $0; case $0 in t*) exit 1;; esac";
            command.args(["-c", script, &binary.name]);
            command
        });
        let mut failed = failed.unwrap();
        failed.sort();
        assert_eq!(failed, ["-p package --test three", "-p package --test two"]);
        for binary in &binaries {
            let output = fs::read_to_string(binary.output_file()).unwrap();
            assert_eq!(output.trim_end(), binary.name);
        }
        let directory = binaries[0].output_file();
        fs::remove_dir_all(directory.ancestors().nth(2).unwrap()).unwrap();
    }

    #[test]
    fn a_binary_that_cannot_start_is_an_error() {
        let binaries = [binary("none")];
        let result = run_all(&binaries, |_| Command::new("/nonexistent"));
        assert!(matches!(result, Err(SuiteError::Run { .. })), "{result:?}");
    }
}
