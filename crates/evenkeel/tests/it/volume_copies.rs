//! Tests of `evenkeel volume export` and `import`: copies of whole volumes, refusals, interruption,
//! and pipes.

use crate::harness::{PATIENCE, evenkeel};
use crate::volumes::{Connected, VolumeFixture};
use lab::{eventually, skip_unless_installed};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::process::{Command, Stdio};

const SIZE: usize = 64 << 20;

/// Creates the volume `mail`, and a file `source` with data and holes.
fn bed() -> (VolumeFixture, Vec<u8>) {
    let bed = VolumeFixture::new();
    bed.write(&[bed.section("mail", "64m")]);
    bed.create("mail");
    let mut bytes = vec![0; SIZE];
    bytes[1 << 20..5 << 20].fill(0x5a);
    bytes[40 << 20..41 << 20].fill(0xa5);
    let path = bed.scratch.write("source", &bytes).unwrap();
    let holes = Command::new("fallocate").arg("-d").arg(&path).status();
    assert!(holes.unwrap().success());
    (bed, bytes)
}

#[test]
fn a_volume_is_imported_exported_and_overwritten_only_with_yes() {
    let (bed, bytes) = bed();
    let supervised = bed.serve();
    bed.comes_to("mail", "serving");
    let imported = bed.run(&["volume", "import", "mail", "source"]);
    assert_eq!(imported.code(), Some(0), "{imported:?}");
    let words = "imported source into volume mail: 64.0 MiB with 5.0 MiB of data in ";
    assert!(imported.stderr.starts_with(words), "{imported:?}");
    assert_eq!(imported.stdout, "");
    let again = bed.run(&["volume", "import", "mail", "source"]);
    assert_eq!(again.code(), Some(1));
    let words = "volume 'mail' holds data (5.0 MiB of 64.0 MiB are allocated): `--yes` overwrites all of it";
    assert!(again.stderr.contains(words), "{again:?}");
    bed.good(&["volume", "import", "mail", "source", "--yes"]);
    let exported = bed.run(&["volume", "export", "mail", "back"]);
    assert_eq!(exported.code(), Some(0), "{exported:?}");
    assert!(fs::read(bed.scratch.path().join("back")).unwrap() == bytes);
    let again = bed.run(&["volume", "export", "mail", "back"]);
    assert!(
        again.stderr.contains("back exists: choose a new file"),
        "{again:?}"
    );
    // Exports to standard output: into a file and through a pipe.
    let path = bed.scratch.path().join("output");
    let mut command = Command::new(evenkeel());
    command.current_dir(bed.scratch.path());
    command
        .args(["volume", "export", "mail"])
        .stderr(Stdio::piped());
    command.env(
        "EVENKEEL_RUNTIME_DIRECTORY",
        bed.scratch.path().join("runtime"),
    );
    let output = command
        .stdout(File::create(&path).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(fs::read(&path).unwrap() == bytes);
    let output = command.stdout(Stdio::piped()).output().unwrap();
    assert!(output.status.success() && output.stdout == bytes);
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

fn no_driver_is_named(bed: &VolumeFixture) {
    if !std::path::Path::new("/sys/module/nbd").exists() {
        let attached = bed.run(&["volume", "attach", "mail"]);
        assert!(
            attached.stderr.contains("has no nbd driver"),
            "{attached:?}"
        );
        assert!(attached.stderr.contains("`modprobe nbd`"), "{attached:?}");
    }
}

#[test]
fn destructive_copies_are_refused_with_a_reason() {
    skip_unless_installed!("qemu-io");
    let (bed, _) = bed();
    bed.scratch
        .write(
            "image",
            [b"QFI\xfb\0\0\0\x03".as_slice(), &[0; 4096]].concat(),
        )
        .unwrap();
    bed.scratch.write("large", vec![1; SIZE + 512]).unwrap();
    let import = |words: &[&str]| {
        let outcome = bed.run(&[&["volume", "import", "mail"], words].concat());
        assert_eq!(outcome.code(), Some(1), "{outcome:?}");
        assert!(
            outcome.stderr.contains("Nothing was written"),
            "{outcome:?}"
        );
        outcome.stderr
    };
    assert!(import(&["source"]).contains("no running"));
    let supervised = bed.serve();
    bed.comes_to("mail", "serving");
    let told = import(&["image"]);
    assert!(
        told.contains("image is a qcow2 image, not a raw disk: `evenkeel guest import image NAME`"),
        "{told}"
    );
    let told = import(&["large"]);
    assert!(
        told.contains("write `size 65540k` into its section and reload"),
        "{told}"
    );
    assert!(import(&["."]).contains(". is a directory"));
    bed.scratch.write("empty", "").unwrap();
    let told = import(&["empty", "--yes"]);
    assert!(told.contains("empty is empty (0 bytes)"), "{told}");
    assert!(import(&["volumes/mail.volume"]).contains("in use: by a volume"));
    let client = Connected::new(&bed.socket("mail"));
    let in_use = || bed.good(&["volume", "list"]).contains("serving  64m   1");
    assert!(
        eventually(PATIENCE, in_use),
        "{}",
        bed.good(&["volume", "list"])
    );
    assert!(import(&["source"]).contains("volume 'mail' has clients (1): stop them first"));
    let exported = bed.run(&["volume", "export", "mail", "back"]);
    assert_eq!(exported.code(), Some(0));
    assert!(
        exported
            .stderr
            .contains("warning: volume mail has clients (1): the export is not crash-consistent"),
        "{exported:?}"
    );
    assert!(client.still_works());
    bed.good(&["volume", "import", "mail", "image", "--raw", "--yes"]);
    no_driver_is_named(&bed);
    let missing = bed.run(&["volume", "export", "web", "other"]);
    assert!(
        missing.stderr.contains("has no volume 'web'"),
        "{missing:?}"
    );
    assert!(!bed.scratch.path().join("other.partial").exists());
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn an_interrupted_export_leaves_no_file_and_exits_as_shells_expect() {
    skip_unless_installed!("nbdkit");
    let (bed, _) = bed();
    let supervised = bed.serve();
    bed.comes_to("mail", "serving");
    let source = bed.scratch.path().join("slow.sock");
    let mut slow = Command::new("nbdkit")
        .args(["-f", "--filter=rate", "-U"])
        .arg(&source)
        .args(["pattern", "64M", "rate=4M"])
        .spawn()
        .unwrap();
    assert!(eventually(PATIENCE, || source.exists()));
    let mut import = Command::new(evenkeel());
    import.current_dir(bed.scratch.path());
    import.env(
        "EVENKEEL_RUNTIME_DIRECTORY",
        bed.scratch.path().join("runtime"),
    );
    import.args(["volume", "import", "mail"]);
    import.arg(format!("nbd+unix:///?socket={}", source.display()));
    let import = import.stderr(Stdio::piped()).spawn().unwrap();
    // The export waits for signals before it writes anything.
    let writes = || {
        !bed.good(&["volume", "show", "mail"])
            .contains("Bytes written: 0\n")
    };
    assert!(eventually(PATIENCE, writes));
    kill(Pid::from_raw(import.id() as i32), Signal::SIGINT).unwrap();
    let output = import.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{told}");
    let words = "interrupted (SIGINT). Volume mail is refused as incomplete until you import again";
    assert!(told.contains(words), "{told}");
    slow.kill().unwrap();
    slow.wait().unwrap();
    // The pipe is not read, so the export blocks: its queue holds less than the volume.
    bed.scratch.write("much", vec![0x5a; SIZE / 2]).unwrap();
    bed.good(&["volume", "import", "mail", "much", "--yes"]);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut export = Command::new(evenkeel());
    export.current_dir(bed.scratch.path());
    export.env(
        "EVENKEEL_RUNTIME_DIRECTORY",
        bed.scratch.path().join("runtime"),
    );
    let export = export.args(["volume", "export", "mail"]);
    let export = export
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let used = || bed.good(&["volume", "list"]).contains("serving  64m   1");
    assert!(eventually(PATIENCE, used));
    kill(Pid::from_raw(export.id() as i32), Signal::SIGTERM).unwrap();
    let output = export.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143));
    drop(reader);
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn image_of_the_working_directory_is_imported() {
    lab::skip_unless_root!();
    skip_unless_installed!("qemu-img");
    let bed = VolumeFixture::new();
    let port = lab::free_port().unwrap();
    let proxy = format!(
        "defaults\n    mode http\n    timeout client 5s\nfrontend www\n    bind 127.0.0.1:{port}\n    http-request return status 204\n"
    );
    bed.write(std::slice::from_ref(&proxy));
    let mut image = Command::new("qemu-img");
    image.args(["create", "-q", "-f", "qcow2", "image", "16M"]);
    assert!(
        image
            .current_dir(bed.scratch.path())
            .status()
            .unwrap()
            .success()
    );
    let supervised = bed.serve();
    let import = || bed.run(&["guest", "import", "image", "mail"]);
    let mut told = import();
    let is_served = || {
        told = import();
        !told.stderr.contains("no running")
    };
    assert!(eventually(PATIENCE, is_served));
    assert_eq!(told.code(), Some(1), "{told:?}");
    let section = "volume mail\n    size 16m\n    backing file ";
    assert!(told.stderr.contains(section), "{told:?}");
    assert!(
        told.stderr.contains("volume mail does not exist yet"),
        "{told:?}"
    );
    bed.write(&[proxy, bed.section("mail", "64m")]);
    bed.good(&["reload"]);
    bed.create("mail");
    bed.comes_to("mail", "serving");
    let told = import();
    assert_eq!(told.code(), Some(0), "{told:?}");
    assert!(
        told.stderr
            .contains("imported image (qcow2) into volume mail"),
        "{told:?}"
    );
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}
