//! Packages of Debian: what they contain, and what they do in a Debian that boots for them. The
//! packages have the program that the tests build, so that nothing is built twice.

mod release;

use crate::program::{self, binary, root};
use lab::{ScratchDirectory, eventually};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Time of a trial in an emulated Debian, beside other tests.
const TRIAL: Duration = Duration::from_secs(7200);
/// Packages of Debian that a trial needs: peers that Evenkeel replaces, and what its parts use.
const INCLUDED: &str = "systemd,systemd-sysv,dbus,curl,iproute2,procps,apt-utils,haproxy,keepalived,\
                        qemu-system-x86,openssl,passwd,sasl2-bin,linux-image-cloud-amd64,initramfs-tools";
/// Names of releases, and the variable that selects one.
const DEBIAN_12: &str = "bookworm";
const DEBIAN_13: &str = "trixie";
const RELEASE_VARIABLE: &str = "DEBIAN_RELEASE";

/// Builds the packages into this directory.
fn build(directory: &Path) {
    let output = Command::new(root().join("scripts/make-deb"))
        .env("DEB_DIRECTORY", directory)
        .env("EVENKEEL_PROGRAM", binary())
        .env(
            "EVENKEEL_ARBITER_PROGRAM",
            program::build("evenkeel-arbiter"),
        )
        .env("DEB_COMPRESSION", "none")
        .env("DEB_BUILD_OPTIONS", "noautodbgsym")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

fn package(directory: &Path, name: &str) -> PathBuf {
    let start = format!("{name}_");
    let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap());
    files
        .map(|file| file.path())
        .find(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with(&start) && name.ends_with(".deb")
        })
        .unwrap_or_else(|| panic!("no package {name}"))
}

/// Runs `dpkg-deb OPTION PACKAGE WORDS…`, and returns its output.
fn dpkg_deb(option: &str, package: &Path, words: &[&str]) -> String {
    let mut command = Command::new("dpkg-deb");
    let output = command.arg(option).arg(package).args(words).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

/// Returns the paths of the files, with units below `lib` or `usr/lib` as below `lib`: newer
/// releases of debhelper have them in the latter.
fn files(package: &Path) -> BTreeSet<String> {
    let listing = dpkg_deb("--contents", package, &[]);
    let paths = listing
        .lines()
        .filter(|line| !line.starts_with('d'))
        .map(|line| line.split_whitespace().nth(5).unwrap().to_owned());
    paths
        .map(|path| path.replace("./usr/lib/systemd/", "./lib/systemd/"))
        .collect()
}

fn field(package: &Path, name: &str) -> String {
    dpkg_deb("--field", package, &[name]).trim().to_owned()
}

#[test]
fn packages_have_the_program_its_services_and_the_version_of_the_workspace() {
    lab::skip_unless_installed!("dh");
    lab::skip_unless_installed!("dpkg-buildpackage");
    let scratch = ScratchDirectory::new().unwrap();
    build(scratch.path());
    let [main, haproxy, keepalived, arbiter, doc] = [
        "evenkeel",
        "evenkeel-haproxy",
        "evenkeel-keepalived",
        "evenkeel-arbiter",
        "evenkeel-doc",
    ]
    .map(|name| package(scratch.path(), name));
    let units = |names: &[&str]| -> Vec<String> {
        let path = |name: &&str| format!("./lib/systemd/system/{name}.service");
        names.iter().map(path).collect()
    };
    let has = |package: &Path, wanted: Vec<String>| {
        let files = files(package);
        for path in wanted {
            assert!(files.contains(&path), "{path}: {files:?}");
        }
        files
    };
    let mut wanted = units(&[
        "evenkeel",
        "evenkeel-cluster",
        "evenkeel-guests",
        "evenkeel-qemu",
        "evenkeel-farm-agent",
    ]);
    let others = [
        "./usr/bin/evenkeel",
        "./etc/evenkeel/evenkeel.cfg",
        "./usr/lib/sysusers.d/evenkeel.conf",
        "./usr/share/man/man1/evenkeel.1.gz",
        "./usr/share/bash-completion/completions/evenkeel",
        "./usr/share/doc/evenkeel/third-party-licences.txt.gz",
    ];
    wanted.extend(others.map(str::to_owned));
    let files = has(&main, wanted);
    // What replaces another package is in the package that does so.
    assert!(
        !files.iter().any(|path| path.contains("haproxy")),
        "{files:?}"
    );
    let mut wanted = units(&["evenkeel-haproxy"]);
    wanted.push("./usr/sbin/haproxy".to_owned());
    wanted.push("./usr/lib/sysusers.d/evenkeel-haproxy.conf".to_owned());
    has(&haproxy, wanted);
    let mut wanted = units(&["evenkeel-keepalived"]);
    wanted.push("./usr/sbin/keepalived".to_owned());
    has(&keepalived, wanted);
    let mut wanted = units(&["evenkeel-arbiter"]);
    let others = [
        "./usr/bin/evenkeel",
        "./usr/share/man/man1/evenkeel.1.gz",
        "./usr/share/doc/evenkeel-arbiter/third-party-licences.txt.gz",
    ];
    wanted.extend(others.map(str::to_owned));
    has(&arbiter, wanted);
    // Both packages have the program of that name, so a machine has one of them.
    assert_eq!(field(&arbiter, "Conflicts"), "evenkeel");
    assert_eq!(field(&main, "Conflicts"), "evenkeel-arbiter");
    has(&doc, vec!["./usr/share/doc/evenkeel/index.html".to_owned()]);
    let version = env!("CARGO_PKG_VERSION");
    for package in [&main, &haproxy, &keepalived, &arbiter, &doc] {
        assert_eq!(field(package, "Version"), version);
    }
    assert_eq!(
        field(&haproxy, "Pre-Depends"),
        format!("evenkeel (>= {version})")
    );
    packages_for_rpm_have_the_same_files(scratch.path());
}

/// Converts the packages, and compares the lists of files.
fn packages_for_rpm_have_the_same_files(debs: &Path) {
    lab::skip_unless_installed!("rpmbuild");
    let rpms = debs.join("rpm");
    let run = |script: &str, words: &[&str]| {
        let output = Command::new(root().join("scripts").join(script))
            .args(words)
            .env("RPM_DEBS", debs)
            .env("RPM_PAYLOAD", "w1.gzdio")
            .env("DEB_DIRECTORY", debs)
            .env("RPM_DIRECTORY", &rpms)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {said}");
        String::from_utf8(output.stdout).unwrap()
    };
    run("make-rpm", &[]);
    let said = run("check-release", &["rpm"]);
    assert_eq!(said.matches("ok rpm ").count(), 5, "{said}");
}

/// Makes an archive of a release of Debian, once for all trials.
fn debian(release: &str) -> PathBuf {
    let archive = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("debian-{release}.tar"));
    if archive.exists() {
        return archive;
    }
    let made = archive.with_extension("new.tar");
    let status = Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase"])
        .arg(format!("--include={INCLUDED}"))
        .arg(release)
        .arg(&made)
        .status()
        .unwrap();
    assert!(status.success());
    fs::rename(made, &archive).unwrap();
    archive
}

/// Writes a root directory of a release of Debian with the packages and a trial.
fn write_root(directory: &Path, release: &str, packages: &Path, script: &str) {
    fs::create_dir(directory).unwrap();
    let mut extract = Command::new("tar");
    extract
        .arg("-xf")
        .arg(debian(release))
        .arg("-C")
        .arg(directory);
    assert!(extract.status().unwrap().success());
    let trial = directory.join("trial");
    fs::create_dir_all(trial.join("packages")).unwrap();
    for name in [
        "evenkeel",
        "evenkeel-haproxy",
        "evenkeel-keepalived",
        "evenkeel-arbiter",
    ] {
        let file = package(packages, name);
        fs::copy(
            &file,
            trial.join("packages").join(file.file_name().unwrap()),
        )
        .unwrap();
    }
    fs::write(trial.join("check.sh"), include_str!("check.sh")).unwrap();
    fs::write(trial.join("trial.sh"), script).unwrap();
    let units = directory.join("etc/systemd/system");
    let wants = units.join("multi-user.target.wants");
    fs::create_dir_all(&wants).unwrap();
    fs::write(units.join("trial.service"), TRIAL_UNIT).unwrap();
    std::os::unix::fs::symlink("../trial.service", wants.join("trial.service")).unwrap();
    // Nothing else writes to the console, and no timer takes the lock of apt.
    for unit in [
        "serial-getty@ttyS0.service",
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
    ] {
        std::os::unix::fs::symlink("/dev/null", units.join(unit)).unwrap();
    }
    let haproxy = directory.join("etc/haproxy/haproxy.cfg");
    let text = fs::read_to_string(&haproxy).unwrap() + HAPROXY_FRONTEND;
    fs::write(haproxy, text).unwrap();
    fs::write(directory.join("etc/keepalived/keepalived.conf"), KEEPALIVED).unwrap();
}

const TRIAL_UNIT: &str = "\
[Unit]
After=basic.target
[Service]
ExecStart=/bin/sh -c 'sh /trial/trial.sh >/dev/ttyS0 2>&1; systemctl poweroff'
";

const HAPROXY_FRONTEND: &str = "
frontend trial
    bind 127.0.0.1:8080
    http-request return status 200 content-type text/plain string served
";

const KEEPALIVED: &str = "\
vrrp_instance trial {
    state MASTER
    priority 150
    interface eth0
    virtual_router_id 7
    virtual_ipaddress {
        10.99.0.1/32
    }
}
";

/// Returns the file in `boot` of the root directory whose name begins like this.
fn boot_file(directory: &Path, start: &str) -> PathBuf {
    let files = fs::read_dir(directory.join("boot")).unwrap();
    let mut paths = files.map(|file| file.unwrap().path());
    let begins = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(start)
    };
    paths.find(begins).unwrap()
}

#[test]
#[ignore = "it boots a Debian: make test-long"]
fn packages_replace_their_peers_on_debian_12() {
    run_trial(DEBIAN_12, include_str!("trial.sh"));
}

#[test]
#[ignore = "it boots a Debian: make test-long"]
fn packages_replace_their_peers_on_debian_13() {
    run_trial(DEBIAN_13, include_str!("trial.sh"));
}

#[test]
#[ignore = "it boots a Debian: make test-long"]
fn every_part_runs_on_debian_12() {
    run_trial(DEBIAN_12, include_str!("platform.sh"));
}

#[test]
#[ignore = "it boots a Debian: make test-long"]
fn every_part_runs_on_debian_13() {
    run_trial(DEBIAN_13, include_str!("platform.sh"));
}

/// Boots a release of Debian that runs a script with the packages. DEBIAN_RELEASE selects one
/// release. Only one machine runs at a time, because an emulated one needs all processors.
fn run_trial(release: &str, script: &str) {
    static MACHINE: Mutex<()> = Mutex::new(());
    if std::env::var(RELEASE_VARIABLE).is_ok_and(|selected| selected != release) {
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    lab::skip_unless_root!();
    lab::skip_unless_installed!("dh");
    lab::skip_unless_installed!("mmdebstrap");
    lab::skip_unless_installed!("qemu-system-x86_64");
    let scratch = ScratchDirectory::new().unwrap();
    let packages = scratch.path().join("packages");
    fs::create_dir(&packages).unwrap();
    build(&packages);
    let directory = scratch.path().join("root");
    write_root(&directory, release, &packages, script);
    let disk = scratch.path().join("disk");
    let made = Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-d"])
        .args([&directory, &disk])
        .arg("4G")
        .stdout(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    let console = scratch.path().join("console");
    let mut machine = Command::new("qemu-system-x86_64")
        .args([
            "-machine",
            "q35,accel=tcg",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "1536",
        ])
        .args(["-display", "none", "-monitor", "none", "-no-reboot"])
        .args(["-nic", "user,model=virtio-net-pci,restrict=on"])
        .arg("-kernel")
        .arg(boot_file(&directory, "vmlinuz-"))
        .arg("-initrd")
        .arg(boot_file(&directory, "initrd.img-"))
        .args([
            "-append",
            "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0",
        ])
        .arg("-drive")
        .arg(format!(
            "file={},if=virtio,format=raw,cache=unsafe",
            disk.display()
        ))
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .spawn()
        .unwrap();
    let ended = eventually(TRIAL, || machine.try_wait().unwrap().is_some());
    if !ended {
        machine.kill().unwrap();
        machine.wait().unwrap();
    }
    let said = fs::read(&console).unwrap();
    let said = String::from_utf8_lossy(&said).replace('\r', "");
    println!("{said}");
    assert!(ended && said.lines().any(|line| line == "finished"));
    let failed: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("FAILED"))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
