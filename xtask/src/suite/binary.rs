//! Builds the test binaries, and lists them as cargo reports them.

use super::error::SuiteError;
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Kind of target from which a test binary was built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The unit tests of a library.
    Library,
    /// The unit tests of a program.
    Program,
    Test,
}

/// A test binary, and where it runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestBinary {
    pub package: String,
    pub name: String,
    pub kind: Kind,
    /// The root of its source, below the directory of its package.
    pub source: String,
    pub executable: PathBuf,
    /// The directory of its package, in which cargo runs tests.
    pub directory: PathBuf,
}

impl TestBinary {
    /// Returns the arguments of `cargo test` that run only this binary.
    pub fn rerun(&self) -> String {
        let target = match self.kind {
            Kind::Library => "--lib".to_owned(),
            Kind::Program => format!("--bin {}", self.name),
            Kind::Test => format!("--test {}", self.name),
        };
        format!("-p {} {target}", self.package)
    }

    /// Returns the file for its output, next to the directory that it was built into.
    pub fn output_file(&self) -> PathBuf {
        let file = self.executable.file_name().unwrap_or_default();
        let built = self.executable.ancestors().nth(2).unwrap_or(Path::new("."));
        built.join("test-output").join(file)
    }
}

impl fmt::Display for TestBinary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.kind == Kind::Test {
            ""
        } else {
            "unittests "
        };
        write!(f, "{unit}{} ({})", self.source, self.package)
    }
}

/// Returns the path of the cargo that runs this task.
pub fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// Builds all test binaries, with further arguments of `cargo test`, and returns them in
/// cargo's order.
///
/// # Errors
/// cargo cannot be started, or does not build the tests and prints the reason.
pub fn build(arguments: &[&str]) -> Result<Vec<TestBinary>, SuiteError> {
    let mut command = Command::new(cargo());
    command.arg("test").args(arguments);
    command.args(["--no-run", "--message-format", "json-render-diagnostics"]);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let output = output.map_err(|source| SuiteError::Run {
        program: cargo(),
        source,
    })?;
    if !output.status.success() {
        return Err(SuiteError::Build(output.status));
    }
    read(&String::from_utf8_lossy(&output.stdout))
}

/// Returns the test binaries among cargo's messages, of which each is a line of JSON.
fn read(messages: &str) -> Result<Vec<TestBinary>, SuiteError> {
    let mut binaries = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).map_err(SuiteError::Message)?;
        binaries.extend(binary(&message));
    }
    Ok(binaries)
}

fn binary(message: &Value) -> Option<TestBinary> {
    if message["profile"]["test"] != true {
        return None;
    }
    let target = &message["target"];
    let kind = match target["kind"][0].as_str()? {
        "test" => Kind::Test,
        "bin" => Kind::Program,
        _ => Kind::Library,
    };
    let directory = Path::new(message["manifest_path"].as_str()?).parent()?;
    let source = Path::new(target["src_path"].as_str()?);
    let source = source.strip_prefix(directory).unwrap_or(source);
    Some(TestBinary {
        package: package(message["package_id"].as_str()?).to_owned(),
        name: target["name"].as_str()?.to_owned(),
        kind,
        source: source.display().to_string(),
        executable: PathBuf::from(message["executable"].as_str()?),
        directory: directory.to_owned(),
    })
}

/// Returns the name in a package ID such as `path+file:///tree/crates/tls#evenkeel-tls@0.1.0`;
/// cargo omits the name if it is that of the directory.
fn package(id: &str) -> &str {
    let (path, version) = id.rsplit_once('#').unwrap_or((id, ""));
    match version.split_once('@') {
        Some((name, _)) => name,
        None => path.rsplit('/').next().unwrap_or(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_binaries_are_found_among_the_messages_of_cargo() {
        let line = |id: &str, kind: &str, source: &str, test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"path+file:///tree/{id}","manifest_path":"/tree/tls/Cargo.toml","target":{{"kind":["{kind}"],"name":"it","src_path":"/tree/tls/{source}"}},"profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let messages = [
            line("tls#evenkeel-tls@0.1.0", "lib", "src/lib.rs", false, "null"),
            line(
                "tls#evenkeel-tls@0.1.0",
                "lib",
                "src/lib.rs",
                true,
                r#""/deps/tls-1""#,
            ),
            line("tls#0.1.0", "bin", "src/main.rs", true, r#""/deps/tls-2""#),
            line(
                "tls#0.1.0",
                "test",
                "tests/it/main.rs",
                true,
                r#""/target/debug/deps/it-3""#,
            ),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ];
        let binaries = read(&messages.join("\n")).unwrap();
        let reruns: Vec<String> = binaries.iter().map(TestBinary::rerun).collect();
        let expected = [
            "-p evenkeel-tls --lib",
            "-p tls --bin it",
            "-p tls --test it",
        ];
        assert_eq!(reruns, expected);
        let shown: Vec<String> = binaries.iter().map(TestBinary::to_string).collect();
        let expected = [
            "unittests src/lib.rs (evenkeel-tls)",
            "unittests src/main.rs (tls)",
            "tests/it/main.rs (tls)",
        ];
        assert_eq!(shown, expected);
        assert_eq!(binaries[2].directory, Path::new("/tree/tls"));
        let output = binaries[2].output_file();
        assert_eq!(output, Path::new("/target/debug/test-output/it-3"));
    }

    #[test]
    fn output_that_is_no_message_is_an_error() {
        assert!(matches!(read("Compiling"), Err(SuiteError::Message(_))));
    }
}
