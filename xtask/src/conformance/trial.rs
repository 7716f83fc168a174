//! Runs one test with varnishtest in its own namespaces.

use super::error::ConformanceError;
use super::options::Options;
use super::source::Source;
use crate::bench::options::workspace;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    Passed,
    /// The test failed, or did not run; with its output.
    Failed(String),
    /// The test passed in some trials only.
    Flaky(String),
}

/// The exit code of a test that skips itself.
const SKIPPED: i32 = 77;
/// Maximum length of a shown reason in characters.
const REASON_BYTES: usize = 160;
/// Time in seconds that a test gets beyond the driver's own timeout.
const GRACE_S: u32 = 10;

#[derive(Debug)]
pub struct Bench {
    source: Source,
    program: PathBuf,
    logs: PathBuf,
    scratch: PathBuf,
    timeout_s: u32,
}

impl Bench {
    /// Links the program under test under the name `haproxy`, and creates the directory of the
    /// logs.
    pub fn new(
        options: &Options,
        release: &str,
        source: Source,
        scratch: &Path,
    ) -> Result<Bench, ConformanceError> {
        let none = |_| ConformanceError::NoProgram(options.program.clone());
        let program = fs::canonicalize(&options.program).map_err(none)?;
        let link = scratch.join("haproxy");
        let logs = workspace().join("target/conformance").join(release);
        let file = |path: &Path| {
            let path = path.to_owned();
            move |source| ConformanceError::File { path, source }
        };
        std::os::unix::fs::symlink(program, &link).map_err(file(&link))?;
        fs::create_dir_all(&logs).map_err(file(&logs))?;
        Ok(Bench {
            source,
            program: link,
            logs,
            scratch: scratch.to_owned(),
            timeout_s: options.timeout_s,
        })
    }

    /// Runs a test this number of times, on the processor of a job.
    pub fn try_often(
        &self,
        name: &str,
        job: usize,
        repetitions: usize,
    ) -> Result<Outcome, ConformanceError> {
        let mut failures = Vec::new();
        for _ in 0..repetitions {
            failures.extend(self.try_once(name, job)?);
        }
        let count = failures.len();
        Ok(match failures.pop() {
            None => Outcome::Passed,
            Some(why) if count == repetitions => Outcome::Failed(why),
            Some(why) => Outcome::Flaky(format!("{count} of {repetitions} failed: {why}")),
        })
    }

    /// Returns the reason why a test failed; None if it passed.
    fn try_once(&self, name: &str, job: usize) -> Result<Option<String>, ConformanceError> {
        let log = self.logs.join(name.replace('/', "_")).with_extension("log");
        let temporary = self.scratch.join(format!("job-{job}"));
        let file = |path: &Path| {
            let path = path.to_owned();
            move |source| ConformanceError::File { path, source }
        };
        fs::create_dir_all(&temporary).map_err(file(&temporary))?;
        let output = fs::File::create(&log).map_err(file(&log))?;
        let errors = output.try_clone().map_err(file(&log))?;
        let status = Command::new("timeout")
            .args(["-k", "2", &(self.timeout_s + GRACE_S).to_string()])
            .args(["unshare", "-n", "-p", "-f", "--mount-proc", "--kill-child"])
            .args(["taskset", "-c", &processor(job).to_string()])
            .args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
            .args(["varnishtest", "-b", "2097152", "-k", "-t"])
            .arg(self.timeout_s.to_string())
            .arg(name)
            .current_dir(&self.source.folder)
            .env("TMPDIR", &temporary)
            .env("HAPROXY_PROGRAM", &self.program)
            .env("HAPROXY_ARGS", "-dM")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .status()
            .map_err(|source| ConformanceError::Start {
                program: "timeout",
                source,
            })?;
        let said = fs::read(&log).map_err(file(&log))?;
        let said = String::from_utf8_lossy(&said);
        Ok(reason(status.code(), &said))
    }
}

/// Returns the processor of a job.
fn processor(job: usize) -> usize {
    job % std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Returns the reason why a test failed, by its exit code and the driver's output. A test has
/// passed only if the driver counts it as passed.
fn reason(code: Option<i32>, said: &str) -> Option<String> {
    let passed = said
        .lines()
        .any(|line| line.contains(" TEST ") && line.contains(" passed"));
    match code {
        Some(0) if passed => None,
        Some(0 | SKIPPED) => Some("it skips itself".into()),
        _ => {
            let line = said.lines().find(|line| line.starts_with("---- "));
            let line = line.unwrap_or("it took too long, or the driver failed");
            Some(
                line.chars()
                    .take(REASON_BYTES)
                    .collect::<String>()
                    .replace('\t', " "),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_driver_counts_as_passed_has_passed() {
        let passed = "**** x\n#    top  TEST a/b.vtc passed (0.1)\n";
        assert_eq!(reason(Some(0), passed), None);
        let skips = Some("it skips itself".to_owned());
        assert_eq!(reason(Some(77), "# top TEST a skipped\n"), skips);
        assert_eq!(reason(Some(0), "# top TEST a skipped\n"), skips);
        let failed = "*** x\n---- c1\tEXPECT failed\n---- s1 more\n";
        assert_eq!(
            reason(Some(2), failed).as_deref(),
            Some("---- c1 EXPECT failed")
        );
        assert!(reason(None, "").is_some());
        assert!(reason(Some(124), passed).is_some());
    }
}
