//! Checks whether a test can run on this machine (root, namespaces, programs). A test that cannot
//! is skipped with a visible reason; if `CI` is `true`, it fails instead.

use std::env;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

/// Requirement of a test that this machine lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Missing {
    Root,
    /// Permission to create network namespaces, although the user is root: in a container, for
    /// example.
    Namespaces {
        refusal: String,
    },
    Program(&'static str),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Root => f.write_str("needs root"),
            Missing::Namespaces { refusal } => {
                write!(f, "needs to make network namespaces: {}", refusal.trim())
            }
            Missing::Program(program) => write!(f, "needs {program} to be installed"),
        }
    }
}

pub fn privileged() -> Result<(), Missing> {
    static TRIED: OnceLock<Result<(), Missing>> = OnceLock::new();
    TRIED
        .get_or_init(|| {
            if !rustix::process::geteuid().is_root() {
                return Err(Missing::Root);
            }
            installed("ip")?;
            installed("nft")?;
            let tried = crate::Lab::new("guard").and_then(|lab| lab.host("try").map(drop));
            tried.map_err(|error| Missing::Namespaces {
                refusal: error.to_string(),
            })
        })
        .clone()
}

/// Checks whether a program is installed: in `PATH`, or where Debian puts a daemon.
pub fn installed(program: &'static str) -> Result<(), Missing> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    if places
        .map(|dir| dir.join(program))
        .any(|p| Path::is_file(&p))
    {
        Ok(())
    } else {
        Err(Missing::Program(program))
    }
}

/// Returns whether a test may run, and reports the reason if not.
///
/// # Panics
/// Something is missing, and `CI` is `true`.
pub fn may_run(test: &str, needs: Result<(), Missing>) -> bool {
    let Err(missing) = needs else { return true };
    // Removes the name of a function which the macros define in their test, to find the name of the
    // test.
    let test = test.trim_end_matches("::skipped_here");
    assert!(
        env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{test} {missing}, and with CI=true nothing may be skipped"
    );
    // Writes to the stream itself, because the test harness hides `eprintln!` when a test passes.
    let _ = writeln!(std::io::stderr(), "\nskipped: {test} {missing}");
    false
}

/// Returns from a test that needs network namespaces if there are none, and reports why. With
/// `CI=true` the test fails instead.
#[macro_export]
macro_rules! skip_unless_root {
    () => {{
        fn skipped_here() {}
        if !$crate::may_run(
            std::any::type_name_of_val(&skipped_here),
            $crate::privileged(),
        ) {
            return;
        }
    }};
}

/// Returns from a test that needs a program that is not installed, and reports that. With `CI=true`
/// the test fails instead.
#[macro_export]
macro_rules! skip_unless_installed {
    ($program:literal) => {{
        fn skipped_here() {}
        if !$crate::may_run(
            std::any::type_name_of_val(&skipped_here),
            $crate::installed($program),
        ) {
            return;
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name() {
        assert_eq!(installed("sh"), Ok(()));
        let missing = Missing::Program("no-such-program");
        assert_eq!(installed("no-such-program"), Err(missing.clone()));
        assert_eq!(missing.to_string(), "needs no-such-program to be installed");
    }
}
