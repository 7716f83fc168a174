//! Tests real NBD clients, and compares every byte read and written.

use crate::served::{VolumeServer, run};
use lab::{Random, skip_unless_installed};
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const SIZE: u64 = 64 << 20;
const ENGINES: [&str; 3] = ["ring", "threads", "buffered"];

/// Creates a file with data, zeroes and holes, in pieces of odd lengths.
fn sample(path: &Path, size: u64) -> Vec<u8> {
    let mut random = Random::new(7);
    let mut bytes = vec![0; size as usize];
    let mut at = 0;
    while at < bytes.len() {
        let length = (random.below(600_000) as usize / 512 * 512 + 512).min(bytes.len() - at);
        if random.below(3) > 0 {
            random.fill(&mut bytes[at..at + length]);
        }
        at += length;
    }
    fs::write(path, &bytes).expect("a sample");
    bytes
}

fn same(path: &Path, wanted: &[u8]) {
    let bytes = fs::read(path).expect("a file");
    assert_eq!(bytes.len(), wanted.len());
    let differs = bytes
        .iter()
        .zip(wanted)
        .position(|(one, other)| one != other);
    assert_eq!(differs, None, "the first byte that differs");
}

#[test]
fn nbdinfo_sees_what_is_offered() {
    skip_unless_installed!("nbdinfo");
    let served = VolumeServer::start("ring", SIZE);
    let info = run("nbdinfo", &[&served.uri()]);
    for line in [
        "protocol: newstyle-fixed without TLS, using structured packets",
        "export-size: 67108864",
        "base:allocation",
        "can_fast_zero: true",
        "can_fua: true",
        "can_trim: true",
        "can_cache: true",
        "can_df: true",
        "block_size_minimum: 512",
        "block_size_maximum: 33554432",
    ] {
        assert!(info.contains(line), "{line}: {info}");
    }
    let list = run("nbdinfo", &["--list", &served.uri()]);
    assert!(list.contains("the volume mail"), "{list}");
    let map = run("nbdinfo", &["--map", &served.uri()]);
    assert!(map.contains("hole,zero"), "{map}");
}

#[test]
fn nbdcopy_writes_and_reads_every_byte_with_either_engine() {
    skip_unless_installed!("nbdcopy");
    for engine in ENGINES {
        let mut served = VolumeServer::start(engine, SIZE);
        let (source, back) = (
            served.scratch.path().join("source"),
            served.scratch.path().join("back"),
        );
        let bytes = sample(&source, SIZE);
        let name = source.to_str().expect("a name");
        run("nbdcopy", &["--flush", name, &served.uri()]);
        same(&served.disk(), &bytes);
        run("nbdcopy", &[&served.uri(), back.to_str().expect("a name")]);
        same(&back, &bytes);
        // Requests longer than any buffer, and only one at a time.
        let long = ["--request-size=8388608", "--requests=4", "--connections=3"];
        let (disk, uri) = (served.disk(), served.uri());
        fs::File::options()
            .write(true)
            .open(disk)
            .and_then(|file| file.set_len(0).and(file.set_len(SIZE)))
            .expect("an empty disk");
        run("nbdcopy", &[&long[..], &[name, &uri]].concat());
        same(&served.disk(), &bytes);
        fs::remove_file(&back).expect("removed");
        let name = back.to_str().expect("a name");
        run("nbdcopy", &[&long[..], &[&uri, name]].concat());
        same(&back, &bytes);
        served.stop();
    }
}

#[test]
fn qemu_img_converts_compares_and_maps() {
    skip_unless_installed!("qemu-img");
    let served = VolumeServer::start("ring", SIZE);
    let source = served.scratch.path().join("source");
    let bytes = sample(&source, SIZE);
    let (name, uri) = (source.to_str().expect("a name"), served.uri());
    let convert = ["convert", "-n", "-f", "raw", "-O", "raw", "-W", "-m", "8"];
    run("qemu-img", &[&convert[..], &[name, &uri]].concat());
    same(&served.disk(), &bytes);
    let compare = ["compare", "-f", "raw", "-F", "raw"];
    run("qemu-img", &[&compare[..], &[name, &uri]].concat());
    let map = run("qemu-img", &["map", "-f", "raw", "--output=json", &uri]);
    assert!(map.contains("\"zero\": true"), "{map}");
}

#[test]
fn qemu_io_writes_zeroes_trims_and_flushes() {
    skip_unless_installed!("qemu-io");
    for engine in ENGINES {
        let served = VolumeServer::start(engine, SIZE);
        let steps = [
            "write -P 0xaa 0 4M",
            "write -f -P 0xbb 1M 64k",
            "write -z 2M 512k",
            "write -z -u 3M 4096",
            "discard 3584k 256k",
            "write -P 0xcc 63M 1M",
            "write -P 0xdd 1536 512",
            "flush",
            "read -P 0xdd 1536 512",
            "read -P 0xaa 2048 1046528",
            "read -P 0xbb 1M 64k",
            "read -P 0 2M 512k",
            "read -P 0 3M 4096",
            "read -P 0xcc 63M 1M",
            "read -P 0 8M 40M",
            "aio_write -P 0x11 10M 8M",
            "aio_write -P 0x22 20M 8M",
            "aio_read 30M 8M",
            "aio_flush",
            "read -P 0x11 10M 8M",
            "read -P 0x22 20M 8M",
        ];
        let steps: Vec<String> = steps.iter().map(|step| format!("-c {step}")).collect();
        let mut args = vec!["-f", "raw"];
        args.extend(steps.iter().map(String::as_str));
        let uri = served.uri();
        args.push(&uri);
        let out = run("qemu-io", &args);
        let bad = ["failed", "error", "Pattern verification"];
        assert!(
            !bad.iter().any(|word| out.contains(word)),
            "{engine}: {out}"
        );
        let disk = fs::read(served.disk()).expect("the disk");
        assert_eq!((disk[1 << 20], disk[(63 << 20) + 5]), (0xbb, 0xcc));
    }
}

#[test]
fn fio_verifies_random_writes() {
    skip_unless_installed!("fio");
    if !run("fio", &["--enghelp"]).contains("nbd") {
        eprintln!("skipped: this fio has no nbd engine");
        return;
    }
    for engine in ENGINES {
        let served = VolumeServer::start(engine, SIZE);
        let uri = format!("--uri={}", served.uri());
        let args = [
            "--name=verify",
            "--ioengine=nbd",
            "--rw=randwrite",
            "--bsrange=4k-128k",
            "--size=48m",
            "--iodepth=16",
            "--fsync=32",
            "--verify=crc32c",
            "--verify_fatal=1",
            "--verify_state_save=0",
        ];
        let out = run("fio", &[&args[..], &[&uri]].concat());
        assert!(out.contains("err= 0"), "{out}");
    }
}

#[test]
fn qemu_with_reconnect_delay_sees_no_error_when_the_server_is_stopped_under_load() {
    skip_unless_installed!("qemu-io");
    let mut served = VolumeServer::start("ring", SIZE);
    let options = format!(
        "driver=nbd,server.type=unix,server.path={},export=mail,reconnect-delay=60",
        served.socket().display()
    );
    let mut client = Command::new("timeout")
        .args(["120", "qemu-io", "--image-opts", &options])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("qemu-io");
    let mut stdin = client.stdin.take().expect("its input");
    // Four at a time; the next ones start before the previous ones have ended.
    let steps = std::thread::spawn(move || {
        for round in 0..400 {
            let at = |one: u64| (round * 4 + one) % 900 * 65_536;
            let steps: String = (0..4)
                .map(|one| format!("aio_write -q -P 0x5a {} 64k\n", at(one)))
                .collect();
            if writeln!(stdin, "{steps}aio_flush").is_err() {
                return;
            }
        }
        let _ = writeln!(stdin, "read -P 0x5a 0 56M\nquit");
    });
    // qemu reconnects by itself, but its first connection has to succeed.
    let mut first = [0];
    let writes = || {
        let disk = fs::File::open(served.disk()).expect("the disk");
        disk.read_exact_at(&mut first, 0).expect("its first byte");
        first == [0x5a]
    };
    assert!(lab::eventually(Duration::from_secs(60), writes));
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(150));
        served.stop_and_start();
    }
    steps.join().expect("all steps");
    let output = client.wait_with_output().expect("its end");
    let text = String::from_utf8_lossy(&output.stdout);
    let bad = ["failed", "error", "verification"];
    let is_good = output.status.success() && !bad.iter().any(|word| text.contains(word));
    assert!(is_good && text.contains("read 58720256/58720256"), "{text}");
}
