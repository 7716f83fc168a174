//! Reads, changes and restores kernel settings below `/proc/sys`, in the network namespace of the
//! calling thread.

use super::KernelError;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;

const ROOT: &str = "/proc/sys";

const MOST_INTERFACES: usize = 16 * 1024;

/// Original value of a changed setting. It can be stored for the next role, which finds our value
/// in the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Saved {
    /// Path of the setting below `/proc/sys`.
    pub path: String,
    pub before: String,
    pub ours: String,
}

impl Saved {
    /// Restores the original value, unless another program has changed the setting since, or its
    /// interface is gone.
    ///
    /// # Errors
    /// Fails if the setting cannot be read or written. A missing one is no error.
    pub fn restore(&self) -> Result<(), KernelError> {
        match read(&self.path) {
            Ok(now) if now == self.ours => write(&self.path, &self.before),
            Ok(_) => Ok(()),
            Err(KernelError::Sysctl { error, .. })
                if error.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

pub fn of_interface(ipv6: bool, interface: &str, name: &str) -> String {
    let family = if ipv6 { "ipv6" } else { "ipv4" };
    format!("net/{family}/conf/{interface}/{name}")
}

/// Returns the interfaces with settings, including `all` and `default`; at most
/// [`MOST_INTERFACES`].
///
/// # Errors
/// The directory of the address family cannot be read, for example without IPv6.
pub fn interfaces(ipv6: bool) -> Result<Vec<String>, KernelError> {
    let path = if ipv6 {
        "net/ipv6/conf"
    } else {
        "net/ipv4/conf"
    };
    let entries = fs::read_dir(place(path)?).map_err(|error| failed(path, error))?;
    let names = entries.flatten().take(MOST_INTERFACES);
    Ok(names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect())
}

/// Reads a setting, without the line feed at its end.
///
/// # Errors
/// Fails with [`KernelError::BadName`] if the path could leave `/proc/sys`, and with
/// [`KernelError::Sysctl`] if the setting does not exist or cannot be read.
pub fn read(path: &str) -> Result<String, KernelError> {
    let text = fs::read_to_string(place(path)?).map_err(|error| failed(path, error))?;
    Ok(text.trim_end().to_owned())
}

/// Writes a setting.
///
/// # Errors
/// Fails with [`KernelError::BadName`] if the path could leave `/proc/sys`, and with
/// [`KernelError::Sysctl`] if the setting does not exist, cannot be written, or does not accept the
/// value.
pub fn write(path: &str, value: &str) -> Result<(), KernelError> {
    fs::write(place(path)?, value).map_err(|error| failed(path, error))
}

/// Writes a setting unless it has the value already; returns the original value for its
/// restoration.
///
/// # Errors
/// As [`read`] and [`write()`].
pub fn set(path: &str, value: &str) -> Result<Option<Saved>, KernelError> {
    let before = read(path)?;
    if before == value {
        return Ok(None);
    }
    write(path, value)?;
    Ok(Some(Saved {
        path: path.to_owned(),
        before,
        ours: value.to_owned(),
    }))
}

/// Returns a path that cannot leave `/proc/sys`, whatever the name of an interface is.
fn place(path: &str) -> Result<PathBuf, KernelError> {
    if path
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..")
    {
        return Err(KernelError::BadName(path.to_owned()));
    }
    Ok(PathBuf::from(ROOT).join(path))
}

fn failed(path: &str, error: std::io::Error) -> KernelError {
    KernelError::Sysctl {
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_and_one_that_is_not_there_is_an_error() {
        assert!(!read("kernel/ostype").unwrap().is_empty());
        let error = read("net/ipv4/conf/none-such/arp_ignore").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("net/ipv4/conf/none-such/arp_ignore: ")
        );
    }

    #[test]
    fn no_name_of_an_interface_leads_out_of_the_tree() {
        let path = of_interface(false, "../../../../etc", "passwd");
        assert!(matches!(read(&path), Err(KernelError::BadName(_))));
    }
}
