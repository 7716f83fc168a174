//! Connects the commands to the control role of this machine, and describes why that fails.

use cluster::request::{self, Client};
use cluster::role::directory::StateDirectory;
use std::path::{Path, PathBuf};
use supervisor::directory::{self, Instance, Membership};

/// Exit code if the outcome of a request is unknown.
pub const UNKNOWN: u8 = 4;

fn socket() -> PathBuf {
    directory::path().join(request::SOCKET)
}

/// Connects to the control role of this machine.
///
/// # Errors
/// Returns why no connection is possible: as a user other than root, whether the role runs as root;
/// otherwise whether the machine is a member, or its supervisor runs without a control role.
pub fn connect() -> Result<Client, request::AskError> {
    Client::connect(&socket()).map_err(|error| {
        let of_root = directory::of_root().join(request::SOCKET);
        match forbidden(error, directory::is_usual_of_a_user(), &of_root) {
            request::AskError::NotRunning(at) => {
                let instances = directory::instances().unwrap_or_default();
                not_running(at, &instances, cluster::role::directory::USUAL.as_ref())
            }
            error => error,
        }
    })
}

/// Returns the error for a missing control role: a member's supervisor runs without it, the member
/// is stopped, or this machine is no member.
fn not_running(at: PathBuf, instances: &[Instance], state: &Path) -> request::AskError {
    let is_member = |one: &&Instance| one.claims.membership != Membership::None;
    if let Some(member) = instances.iter().find(is_member) {
        request::AskError::Ending(at, member.pid)
    } else if StateDirectory::is_of_a_member(state) {
        request::AskError::Stopped(at, state.to_owned())
    } else {
        request::AskError::NotRunning(at)
    }
}

/// Replaces the error of a user other than root if a control role of root may exist.
fn forbidden(error: request::AskError, is_user: bool, of_root: &Path) -> request::AskError {
    let runs = || match of_root.symlink_metadata() {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    };
    match error {
        request::AskError::NotRunning(_) if is_user && runs() => {
            request::AskError::Forbidden(of_root.to_owned())
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use supervisor::directory::Claims;

    #[test]
    fn user_is_told_that_the_role_of_root_needs_root() {
        let scratch = std::env::temp_dir();
        let nobody = scratch.join("evenkeel-no-such-directory/control.sock");
        let error = || request::AskError::NotRunning("/run/user/1/evenkeel/control.sock".into());
        let told = |is_user, of_root: &Path| forbidden(error(), is_user, of_root).to_string();
        assert!(told(true, &scratch).contains("only root"));
        assert!(told(false, &scratch).contains("no cluster member is running here"));
        assert!(told(true, &nobody).contains("no cluster member is running here"));
    }

    #[test]
    fn missing_control_role_is_described_as_observed() {
        let at = || PathBuf::from("/run/evenkeel/control.sock");
        let nothing = std::env::temp_dir().join("evenkeel-no-such-directory");
        let mut instance = Instance {
            pid: 7,
            program: "evenkeel".to_owned(),
            network: 0,
            paths: Vec::new(),
            claims: Claims::default(),
            socket: "7.sock".into(),
            is_elsewhere: false,
        };
        let words = |instance: &Instance, state: &Path| {
            not_running(at(), std::slice::from_ref(instance), state).to_string()
        };
        assert!(words(&instance, &nothing).contains("no cluster member is running here"));
        // A membership file makes this machine a member, even if its content is invalid.
        let own = std::env::temp_dir().join(format!("evenkeel-member-{}", std::process::id()));
        std::fs::create_dir(&own).unwrap();
        std::fs::write(own.join(cluster::role::directory::MEMBER), "").unwrap();
        assert!(words(&instance, &own).contains("this machine is a member"));
        std::fs::remove_dir_all(&own).unwrap();
        instance.claims.membership = Membership::Node;
        assert!(words(&instance, &nothing).contains("its supervisor does (process 7)"));
    }
}
