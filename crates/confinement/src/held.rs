//! Describes the privileges that a process still has after it was confined, and the protections
//! that the kernel does not provide.

use super::capabilities;
use rustix::thread::CapabilitySet;
use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileConfinement {
    Confined {
        version: u32,
    },
    /// The kernel has Landlock, but it was not enabled at boot.
    NotEnabled,
    NotBuilt,
    Unconfined,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filtered {
    Yes,
    /// The kernel, or its emulation, cannot filter system calls.
    NotBuilt,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RemainingPrivileges {
    pub wanted: CapabilitySet,
    pub capabilities: CapabilitySet,
    /// No program that the process starts can gain privileges.
    pub no_new_privileges: bool,
    pub files: FileConfinement,
    pub system_calls: Filtered,
}

impl RemainingPrivileges {
    /// Returns messages about protections that are missing; empty if there are none.
    pub fn shortcomings(&self) -> Vec<String> {
        let mut all = Vec::new();
        let missing = self.wanted - self.capabilities;
        if !missing.is_empty() {
            all.push(format!(
                "the file needs {} at run time, which this process never had",
                capabilities::names(missing).join(", ")
            ));
        }
        if !self.no_new_privileges {
            all.push("this kernel has no no-new-privs".to_owned());
        }
        match self.files {
            FileConfinement::NotEnabled => all.push(
                "Landlock is not enabled on this kernel (boot with `lsm=landlock,…`): only owners and modes protect \
                 files"
                    .to_owned(),
            ),
            FileConfinement::NotBuilt => all.push(
                "this kernel has no Landlock: only owners and modes protect files"
                    .to_owned(),
            ),
            FileConfinement::Confined { .. } | FileConfinement::Unconfined => {}
        }
        if self.system_calls == Filtered::NotBuilt {
            all.push("this kernel cannot filter system calls".to_owned());
        }
        all
    }
}

impl fmt::Display for RemainingPrivileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = capabilities::names(self.capabilities);
        if names.is_empty() {
            f.write_str("no capability")?
        } else {
            f.write_str(&names.join(", "))?
        }
        if self.no_new_privileges {
            f.write_str(", no-new-privs")?;
        }
        if let FileConfinement::Confined { version } = self.files {
            write!(f, ", Landlock {version}")?;
        }
        if self.system_calls == Filtered::Yes {
            f.write_str(", seccomp")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> RemainingPrivileges {
        RemainingPrivileges {
            wanted: CapabilitySet::empty(),
            capabilities: CapabilitySet::empty(),
            no_new_privileges: true,
            files: FileConfinement::Confined { version: 7 },
            system_calls: Filtered::Yes,
        }
    }

    #[test]
    fn confinement_is_summarised_in_one_line() {
        assert_eq!(
            complete().to_string(),
            "no capability, no-new-privs, Landlock 7, seccomp"
        );
        assert!(complete().shortcomings().is_empty());
    }

    #[test]
    fn each_missing_kernel_feature_is_named() {
        let poor = RemainingPrivileges {
            wanted: CapabilitySet::NET_RAW,
            no_new_privileges: false,
            files: FileConfinement::NotBuilt,
            system_calls: Filtered::NotBuilt,
            ..complete()
        };
        assert_eq!(poor.to_string(), "no capability");
        let told = poor.shortcomings();
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[0].contains("CAP_NET_RAW") && told[2].contains("Landlock"));
    }
}
