//! Tests the scripts that make a release, without a build: `scripts/check-release` has the checks of
//! finished files.

use crate::program::root;
use lab::ScratchDirectory;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes one of the checks of a release.
fn check(name: &str) {
    let output = Command::new(root().join("scripts/check-release"))
        .arg(name)
        // A repository without a finished package tests one that it makes.
        .env("DEB_DIRECTORY", "/nonexistent")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, complaint) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}{complaint}");
    assert!(said.lines().count() > 1, "{said}");
    assert!(said.lines().all(|line| line.starts_with("ok ")), "{said}");
}

#[test]
fn units_are_valid_and_not_more_exposed_than_their_limits() {
    lab::skip_unless_installed!("systemd-analyze");
    check("units");
}

#[test]
fn apt_accepts_the_repository_and_refuses_a_changed_byte() {
    for program in ["apt-get", "apt-ftparchive", "gpg"] {
        if !lab::may_run("the repository", lab::installed(program)) {
            return;
        }
    }
    check("repository");
}

#[test]
fn validators_accept_the_bills_of_materials() {
    let tools = root().join("target/test-tools/sbom/cyclonedx");
    let needs = if tools.is_dir() {
        Ok(())
    } else {
        Err(lab::Missing::Program("cyclonedx-python-lib"))
    };
    if lab::may_run("the bills of materials", needs) {
        check("sbom");
    }
}

/// Writes an image with a program of our own; returns its bytes.
fn image(scratch: &ScratchDirectory, name: &str) -> (PathBuf, Vec<u8>) {
    let program = scratch.write("program", "not a program").unwrap();
    let target = "x86_64-unknown-linux-musl";
    let other = "aarch64-unknown-linux-musl";
    let directory = scratch.path().join(name);
    let output = Command::new(root().join("scripts/make-image"))
        .args(["--program", &format!("{target}={}", program.display())])
        .args(["--program", &format!("{other}={}", program.display())])
        .env("DIST_DIRECTORY", &directory)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let version = env!("CARGO_PKG_VERSION");
    let path = directory.join(format!("evenkeel-haproxy-{version}.oci.tar"));
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

/// Returns the configuration of the image for an architecture, as skopeo reads it.
fn configuration(image: &Path, architecture: &str) -> serde_json::Value {
    let output = Command::new("skopeo")
        .args(["--override-arch", architecture, "inspect", "--config"])
        .arg(format!("oci-archive:{}", image.display()))
        .output();
    serde_json::from_slice(&output.unwrap().stdout).unwrap()
}

#[test]
fn image_is_the_same_twice_and_has_the_paths_of_haproxys() {
    lab::skip_unless_installed!("skopeo");
    let scratch = ScratchDirectory::new().unwrap();
    let (path, bytes) = image(&scratch, "one");
    let (_, again) = image(&scratch, "other");
    assert!(bytes == again, "the images differ");
    for architecture in ["arm64", "amd64"] {
        let config = configuration(&path, architecture);
        assert_eq!(config["architecture"], architecture);
    }
    let config = configuration(&path, "amd64");
    let config = &config["config"];
    assert_eq!(config["User"], "haproxy");
    assert_eq!(config["StopSignal"], "SIGUSR1");
    assert_eq!(config["WorkingDir"], "/var/lib/haproxy");
    assert_eq!(
        config["Entrypoint"],
        serde_json::json!(["docker-entrypoint.sh"])
    );
    let cmd = ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"];
    assert_eq!(config["Cmd"], serde_json::json!(cmd));
}
