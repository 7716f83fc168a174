//! Checks and collects what a build of a Debian system needs: the release, the mirrors (those of
//! this host's apt by default), the lines of `sources.list` and SSH keys.

use super::run::{Runner, program};
use std::fs;
use std::path::Path;

const SECRET_MAX: u64 = 64 << 10;

/// Refuses a text that is not the name of a release.
///
/// # Errors
/// Returns why the text is not valid.
pub fn suite(text: &str) -> Result<(), String> {
    if is_name(text) {
        Ok(())
    } else {
        Err(format!("'{text}' is not a release name, such as trixie"))
    }
}

/// Returns whether a text is a valid name: letters, digits, `-` and `.`.
pub fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(fits)
}

/// Refuses a text that is not the URL of a mirror.
///
/// # Errors
/// Returns why the text is not valid.
pub fn mirror(text: &str) -> Result<(), String> {
    if is_mirror(text) {
        Ok(())
    } else {
        Err(format!(
            "'{text}' is not a mirror: use http://… or https://…"
        ))
    }
}

fn is_mirror(text: &str) -> bool {
    let scheme = ["http://", "https://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    scheme
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"'\"[]#\\".contains(&byte))
}

/// Reads a file with keys or a password.
///
/// # Errors
/// Returns an error if it cannot be read, or is too long.
pub fn secret(path: &Path) -> Result<String, String> {
    let at = |error: std::io::Error| format!("{}: {error}", path.display());
    if fs::metadata(path).map_err(at)?.len() > SECRET_MAX {
        Err(format!(
            "{}: longer than {SECRET_MAX} bytes",
            path.display()
        ))
    } else {
        fs::read_to_string(path).map_err(at)
    }
}

/// Returns the lines with public keys. Refuses any other text: a private key in the image would be
/// a leak.
///
/// # Errors
/// Returns why the text is not valid.
pub fn public_keys(text: &str) -> Result<String, String> {
    let is_key = |line: &&str| {
        ["ssh-", "ecdsa-", "sk-"]
            .iter()
            .any(|kind| line.contains(kind))
    };
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<&str> = lines.collect();
    if !lines.is_empty() && lines.iter().all(is_key) && !text.contains("PRIVATE KEY") {
        Ok(lines.join("\n") + "\n")
    } else {
        Err("`--ssh-key` needs public keys, one per line, as in id_ed25519.pub".to_owned())
    }
}

pub fn parts(suite: &str) -> &'static str {
    match suite {
        "stretch" | "buster" | "bullseye" => "main contrib non-free",
        _ => "main contrib non-free non-free-firmware",
    }
}

/// Returns the content of `sources.list`. A release under development has no updates or security
/// lines.
pub fn sources(suite: &str, mirror: &str, security: &str) -> String {
    let parts = parts(suite);
    let mut text = format!("deb {mirror} {suite} {parts}\n");
    if !["sid", "unstable"].contains(&suite) {
        text += &format!(
            "deb {mirror} {suite}-updates {parts}\ndeb {security} {suite}-security {parts}\n"
        );
    }
    text
}

pub struct Mirrors {
    pub mirror: String,
    pub security: String,
}

impl Mirrors {
    /// Returns the mirror that was named, or else the mirror of this host's apt, with the mirror of
    /// security updates.
    ///
    /// # Errors
    /// Fails if no mirror was named, and apt on this host has none.
    pub fn of(named: Option<&str>, runner: &Runner) -> Result<Mirrors, String> {
        let mirror = named.map(str::to_owned);
        let mirror = mirror.or_else(|| host_mirror(runner, "Debian")).ok_or(
            "apt on this host has no Debian mirror: name one with `--mirror URL`".to_owned(),
        )?;
        // Uses a sibling directory of the mirror for security updates, if apt on this host has no
        // mirror for them.
        let security = host_mirror(runner, "Debian-Security");
        let security =
            security.unwrap_or_else(|| format!("{}-security", mirror.trim_end_matches('/')));
        Ok(Mirrors { mirror, security })
    }
}

/// Returns the mirror of this host's apt for packages with this label.
fn host_mirror(runner: &Runner, label: &str) -> Option<String> {
    let mut targets = program("apt-get");
    targets.args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Identifier: Packages",
    ]);
    let label = format!("Label: {label}");
    targets.args(["Origin: Debian", &label]);
    let text = runner.run(&mut targets).ok()?;
    let mut lines = text.lines().map(|line| line.trim().trim_end_matches('/'));
    lines.find(|line| is_mirror(line)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_updates_and_security_for_a_release() {
        let text = sources("trixie", "http://m/debian", "http://s");
        let lines: Vec<&str> = text
            .lines()
            .map(|line| line.split(" main").next().unwrap_or_default())
            .collect();
        let expected = [
            "deb http://m/debian trixie",
            "deb http://m/debian trixie-updates",
            "deb http://s trixie-security",
        ];
        assert_eq!(lines, expected);
        assert_eq!(sources("sid", "http://m", "http://s").lines().count(), 1);
        assert!(!sources("bullseye", "http://m", "http://s").contains("firmware"));
    }

    #[test]
    fn keys_are_public_and_mirrors_are_urls() {
        let keys = public_keys("# mine\nssh-ed25519 AAAA me\n\n").unwrap();
        assert_eq!(keys, "ssh-ed25519 AAAA me\n");
        assert!(public_keys("-----BEGIN OPENSSH PRIVATE KEY-----\nssh-\n").is_err());
        assert!(public_keys("").is_err());
        assert!(
            is_mirror("http://m/debian") && !is_mirror("file:///etc") && !is_mirror("http://m [x]")
        );
        assert!(suite("trixie").is_ok() && suite("--help").is_err() && suite("a b").is_err());
    }
}
