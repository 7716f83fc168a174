//! Finds the running instances of the program, and chooses the one that a command line means by its
//! files or its process ID.

use crate::files;
use clap::ArgMatches;
use std::path::PathBuf;
use supervisor::directory::{self, Instance};

/// Makes paths absolute, so that other processes can use them.
pub fn absolute(paths: &[PathBuf]) -> Vec<PathBuf> {
    let one = |path: &PathBuf| {
        let real = std::fs::canonicalize(path);
        real.or_else(|_| std::path::absolute(path))
            .unwrap_or_else(|_| path.clone())
    };
    paths.iter().map(one).collect()
}

/// Returns the instance that a command line selects by its files or its process id, or the only
/// one.
///
/// # Errors
/// There is none, or several.
pub fn selected(matches: &ArgMatches) -> Result<Instance, String> {
    let pid = matches.get_one::<u32>("pid").copied();
    let instances = directory::instances().map_err(|error| error.to_string())?;
    choose(instances, &absolute(&files(matches)), pid)
}

/// Returns the instance with a process id, or the one that serves the files. If no instance serves
/// them, returns the only running one.
///
/// # Errors
/// No instance fits, or several do.
pub fn find_instance(paths: &[PathBuf], pid: Option<u32>) -> Result<Instance, String> {
    let instances = directory::instances().map_err(|error| error.to_string())?;
    let serves = |one: &Instance| !paths.is_empty() && one.paths == paths;
    let paths = if pid.is_none() && instances.iter().any(serves) {
        paths
    } else {
        &[]
    };
    choose(instances, paths, pid)
}

fn choose(all: Vec<Instance>, paths: &[PathBuf], pid: Option<u32>) -> Result<Instance, String> {
    let fits = |one: &Instance| {
        pid.is_none_or(|pid| one.pid == pid) && (paths.is_empty() || one.paths == paths)
    };
    let mut fitting: Vec<Instance> = all.iter().filter(|one| fits(one)).cloned().collect();
    match (fitting.len(), all.is_empty()) {
        (1, _) => Ok(fitting.remove(0)),
        (0, true) => Err(format!(
            "no running `evenkeel run`, `haproxy -W` or `keepalived` of this user is listed in {}{}",
            directory::path().display(),
            left_alone(&directory::roles("proxy").unwrap_or_default()),
        )),
        (0, false) => {
            let asked = match pid {
                Some(pid) => format!("no instance has the process id {pid}"),
                None => "no instance serves these files".to_owned(),
            };
            Err(format!("{asked}; running instances:{}", list(&all)))
        }
        _ => Err(format!(
            "several instances are running; choose one with `--pid N`:{}",
            list(&fitting)
        )),
    }
}

/// Returns a hint about proxies that continue to serve without a supervisor.
fn left_alone(roles: &[Instance]) -> String {
    if roles.is_empty() {
        String::new()
    } else {
        format!(
            "; these proxies continue to serve, although their supervisors are dead; the same command, started \
             again, adopts them:{}",
            roles.iter().map(line_of_role).collect::<String>()
        )
    }
}

fn list(instances: &[Instance]) -> String {
    let line = |one: &Instance| format!("\n  {}", described(one));
    instances.iter().map(line).collect()
}

/// Describes an instance by its process id, program and files.
pub fn described(one: &Instance) -> String {
    format!("{} {}", one.pid, command(one))
}

fn line_of_role(one: &Instance) -> String {
    let supervisor = format!("{}, its supervisor was process {}", command(one), one.pid);
    match one.role() {
        Some(pid) => format!("\n  process {pid} of {supervisor}"),
        None => format!("\n  a process of {supervisor}"),
    }
}

fn command(one: &Instance) -> String {
    let paths = one.paths.iter().map(|path| path.display().to_string());
    let words: Vec<String> = [one.program.clone()].into_iter().chain(paths).collect();
    // Makes control characters visible, since names of files may contain them.
    language::render::visible(&words.join(" ")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(pid: u32, path: &str) -> Instance {
        Instance {
            pid,
            program: "evenkeel".into(),
            network: 1,
            paths: vec![path.into()],
            claims: Default::default(),
            socket: "/nowhere".into(),
            is_elsewhere: false,
        }
    }

    #[test]
    fn selected_instance_is_found_or_all_are_listed() {
        let all = || vec![instance(10, "/a"), instance(20, "/b")];
        let pid = |chosen: Result<Instance, String>| chosen.map(|one| one.pid);
        assert_eq!(pid(choose(all(), &[], Some(20))), Ok(20));
        assert_eq!(pid(choose(all(), &["/a".into()], None)), Ok(10));
        assert_eq!(pid(choose(vec![instance(10, "/a")], &[], None)), Ok(10));
        let words = choose(all(), &[], None).unwrap_err();
        assert!(words.contains("10 evenkeel /a") && words.contains("20 evenkeel /b"));
        assert!(choose(all(), &["/c".into()], None).is_err());
        assert!(choose(Vec::new(), &[], None).is_err());
    }
}
