//! Tests copies of whole disks: between files, Evenkeel's server and other NBD servers.

use crate::raw::option;
use crate::served::{VolumeServer, run};
use lab::{Random, ScratchDirectory, installed, skip_unless_installed};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use volume::client::{Address, Client, ClientError, Ender, NbdReply, NbdRequest};
use volume::transfer::{self, Partial, Progress, TransferError, TransferSource, TransferTarget};

const SIZE: u64 = 64 << 20;

/// Creates a sparse file with data, stored zeroes and holes at odd positions. Returns its bytes.
fn sample(path: &Path, size: u64) -> Vec<u8> {
    let mut random = Random::new(11);
    let mut bytes = vec![0; size as usize];
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    let mut at = 0;
    while at < size {
        let length = (random.below(900_000) + 1).min(size - at);
        let range = at as usize..(at + length) as usize;
        let kind = random.below(3);
        if kind > 0 {
            if kind == 1 {
                bytes[range.clone()].fill_with(|| random.below(255) as u8 + 1);
            }
            std::os::unix::fs::FileExt::write_all_at(&file, &bytes[range], at).unwrap();
        }
        at += length;
    }
    bytes
}

fn same(path: &Path, wanted: &[u8]) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(bytes.len(), wanted.len());
    let differs = bytes
        .iter()
        .zip(wanted)
        .position(|(one, other)| one != other);
    assert_eq!(differs, None, "{}", path.display());
}

fn connect(uri: &str) -> Client {
    Client::connect(Address::parse(uri).unwrap()).unwrap()
}

fn import(source: &str, uri: &str) -> Result<Progress, TransferError> {
    let progress = Arc::new(Progress::default());
    let source = TransferSource::open(source)?;
    transfer::run(source, TransferTarget::server(connect(uri)), &progress)?;
    Ok(Arc::into_inner(progress).unwrap())
}

fn export(uri: &str, path: &Path) -> Result<(), TransferError> {
    let partial = Arc::new(Partial::create(path)?);
    let done = transfer::run(
        TransferSource::open(uri)?,
        TransferTarget::file(Arc::clone(&partial)),
        &Arc::default(),
    );
    if done.is_err() {
        partial.discard();
    }
    done
}

/// NBD server of another project on a socket of a scratch directory, killed when dropped.
struct ForeignNbdServer {
    child: Child,
    socket: PathBuf,
}

impl ForeignNbdServer {
    fn start(
        program: &str,
        scratch: &ScratchDirectory,
        before: &[&str],
        after: &[&str],
    ) -> ForeignNbdServer {
        let socket = scratch.path().join(format!("{program}.sock"));
        let flag = if program == "nbdkit" { "-U" } else { "-k" };
        let child = Command::new(program)
            .args(before)
            .arg(flag)
            .arg(&socket)
            .args(after)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let up = || UnixStream::connect(&socket).is_ok();
        assert!(lab::eventually(Duration::from_secs(20), up), "{program}");
        ForeignNbdServer { child, socket }
    }

    fn nbdkit(scratch: &ScratchDirectory, words: &[&str]) -> ForeignNbdServer {
        ForeignNbdServer::start("nbdkit", scratch, &["-f"], words)
    }

    fn uri(&self) -> String {
        format!("nbd+unix:///?socket={}", self.socket.display())
    }
}

impl Drop for ForeignNbdServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

#[test]
fn a_sparse_file_is_imported_and_exported_and_stays_sparse() {
    for (engine, size) in [("ring", SIZE), ("threads", SIZE - 123_457)] {
        let served = VolumeServer::start(engine, SIZE);
        let (source, back) = (
            served.scratch.path().join("source"),
            served.scratch.path().join("back"),
        );
        // Old data is overwritten, also after the end of the source and in its holes.
        run(
            "nbdcopy",
            &["--", "[", "nbdkit", "pattern", "64M", "]", &served.uri()],
        );
        let mut bytes = sample(&source, size);
        let progress = import(source.to_str().unwrap(), &served.uri()).unwrap();
        assert_eq!(progress.done.into_inner(), size);
        assert!(progress.data.into_inner() < size / 2);
        bytes.resize(SIZE as usize, 0);
        same(&served.disk(), &bytes);
        export(&served.uri(), &back).unwrap();
        same(&back, &bytes);
        let stored = |path: &Path| fs::metadata(path).unwrap().blocks() * 512;
        assert!(stored(&back) < SIZE / 2, "{}", stored(&back));
        assert!(stored(&served.disk()) < SIZE / 2);
        if installed("qemu-img").is_ok() {
            let name = back.to_str().unwrap();
            run(
                "qemu-img",
                &["compare", "-f", "raw", "-F", "raw", name, &served.uri()],
            );
        }
        assert!(!served.scratch.path().join("back.partial").exists());
    }
}

#[test]
fn a_stream_has_all_bytes_and_a_redirected_file_has_holes() {
    let served = VolumeServer::start("ring", SIZE);
    let source = served.scratch.path().join("source");
    let bytes = sample(&source, SIZE);
    import(source.to_str().unwrap(), &served.uri()).unwrap();
    let to_stream = |file: OwnedFd| {
        let target = TransferTarget::stream(file.into()).unwrap();
        transfer::run(
            TransferSource::open(&served.uri()).unwrap(),
            target,
            &Arc::default(),
        )
    };
    let (mut reader, writer) = std::io::pipe().unwrap();
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    to_stream(writer.into()).unwrap();
    assert!(reading.join().unwrap() == bytes);
    let path = served.scratch.path().join("redirected");
    to_stream(File::create(&path).unwrap().into()).unwrap();
    same(&path, &bytes);
    assert!(fs::metadata(&path).unwrap().blocks() * 512 < SIZE / 2);
    // A nonempty file is written in full.
    fs::write(&path, vec![7; SIZE as usize]).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    to_stream(file.into()).unwrap();
    same(&path, &bytes);
    // Reader that disconnects.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let error = to_stream(writer.into()).unwrap_err();
    assert!(matches!(error, TransferError::Output(_)), "{error}");
}

#[test]
fn servers_of_others_are_sources() {
    skip_unless_installed!("nbdkit");
    skip_unless_installed!("qemu-nbd");
    let served = VolumeServer::start("ring", SIZE);
    let scratch = ScratchDirectory::new().unwrap();
    let expected = scratch.path().join("expected");
    let name = expected.to_str().unwrap();
    for words in [
        // Plugins of nbdkit: extents of every length; no block status; no structured replies; large
        // sectors; extents between sectors; slow; empty.
        &["sparse-random", "64M", "seed=3"][..],
        &["--filter=noextents", "sparse-random", "64M", "seed=4"],
        &["--no-sr", "sparse-random", "64M", "seed=5"],
        &[
            "--filter=blocksize-policy",
            "sparse-random",
            "64M",
            "seed=6",
            "blocksize-minimum=64K",
            "blocksize-preferred=64K",
        ],
        &[
            "data",
            r#"@1001 "hello" @32769 1 2 3 @0x12fffff "x""#,
            "size=67108864",
        ],
        &["--filter=delay", "memory", "64M", "rdelay=1ms"],
        &["null", "0"],
    ] {
        let other = ForeignNbdServer::nbdkit(&scratch, words);
        let _ = fs::remove_file(&expected);
        run("nbdcopy", &[&other.uri(), name]);
        import(&other.uri(), &served.uri()).unwrap();
        let mut bytes = fs::read(&expected).unwrap();
        bytes.resize(SIZE as usize, 0);
        same(&served.disk(), &bytes);
    }
    let (raw, image) = (scratch.path().join("raw"), scratch.path().join("image"));
    let (raw, image) = (raw.to_str().unwrap(), image.to_str().unwrap());
    let bytes = sample(raw.as_ref(), SIZE);
    run(
        "qemu-img",
        &["convert", "-f", "raw", "-O", "qcow2", raw, image],
    );
    let other =
        ForeignNbdServer::start("qemu-nbd", &scratch, &["-r", "-t", "-f", "qcow2"], &[image]);
    import(&other.uri(), &served.uri()).unwrap();
    same(&served.disk(), &bytes);
    let head = TransferSource::open(image).unwrap().head().unwrap();
    let found = transfer::recognise(&head).map(|found| found.to_string());
    assert_eq!(found.as_deref(), Some("a qcow2 image"));
    let head = TransferSource::open(&other.uri()).unwrap().head().unwrap();
    assert_eq!(transfer::recognise(&head), None);
}

#[test]
fn a_copy_continues_after_a_restart_of_the_server() {
    let mut served = VolumeServer::start("ring", SIZE);
    let source = served.scratch.path().join("source");
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8 + 1).collect();
    fs::write(&source, &bytes).unwrap();
    // Import from a slow source.
    skip_unless_installed!("nbdkit");
    let scratch = ScratchDirectory::new().unwrap();
    let name = source.to_str().unwrap().to_owned();
    let slow = ["--filter=rate", "file", &name, "rate=400M"];
    let other = ForeignNbdServer::nbdkit(&scratch, &slow);
    let (from, to) = (other.uri(), served.uri());
    let importing = std::thread::spawn(move || import(&from, &to).map(drop));
    std::thread::sleep(Duration::from_millis(200));
    served.kill_and_start();
    std::thread::sleep(Duration::from_millis(200));
    served.stop_and_start();
    importing.join().unwrap().unwrap();
    same(&served.disk(), &bytes);
    // Export to a slow reader.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let uri = served.uri();
    let exporting = std::thread::spawn(move || {
        let target = TransferTarget::stream(OwnedFd::from(writer).into()).unwrap();
        transfer::run(TransferSource::open(&uri).unwrap(), target, &Arc::default())
    });
    let mut all = vec![0; 4 << 20];
    reader.read_exact(&mut all).unwrap();
    served.kill_and_start();
    reader.read_to_end(&mut all).unwrap();
    exporting.join().unwrap().unwrap();
    assert!(all == bytes);
}

#[test]
fn errors_of_servers_name_the_place_and_leave_no_file() {
    skip_unless_installed!("nbdkit");
    let scratch = ScratchDirectory::new().unwrap();
    let back = scratch.path().join("back");
    let words = [
        "--filter=error",
        "memory",
        "8M",
        "error=EIO",
        "error-pread-rate=100%",
    ];
    let other = ForeignNbdServer::nbdkit(&scratch, &words);
    // nbdkit's memory that was never written would be skipped, so this range has data and is read.
    let mut client = connect(&other.uri());
    client
        .call(NbdRequest::Write(1 << 20, vec![1; 4096]))
        .unwrap();
    let error = export(&other.uri(), &back).unwrap_err().to_string();
    assert!(
        error.starts_with("the server failed to read at byte 10"),
        "{error}"
    );
    assert!(error.contains("input/output error"), "{error}");
    assert_eq!(
        fs::read_dir(scratch.path()).unwrap().count(),
        1,
        "the socket"
    );
    drop(other);
    let words = [
        "--filter=error",
        "memory",
        "8M",
        "error=ENOSPC",
        "error-pwrite-rate=100%",
    ];
    let other = ForeignNbdServer::nbdkit(&scratch, &words);
    let source = scratch.write("source", vec![7; 1 << 20]).unwrap();
    let error = import(source.to_str().unwrap(), &other.uri()).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("failed to write at byte 0"), "{error}");
}

/// Server of a 1 MiB export with simple replies, for one client at a time. `serve` handles the
/// connection.
fn scripted(
    scratch: &ScratchDirectory,
    serve: impl Fn(usize, UnixStream) + Send + 'static,
) -> String {
    // The eighth connection is to another export.
    scripted_of(
        scratch,
        |number| 1 << if number == 7 { 19 } else { 20 },
        serve,
    )
}

fn scripted_of(
    scratch: &ScratchDirectory,
    size: impl Fn(usize) -> u64 + Send + 'static,
    serve: impl Fn(usize, UnixStream) + Send + 'static,
) -> String {
    let path = scratch.path().join("scripted");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            stream.write_all(b"NBDMAGICIHAVEOPT\0\x03").unwrap();
            let mut asked = vec![0; 4 + option(8, &[]).len()];
            stream.read_exact(&mut asked).unwrap();
            let reply = |option: u32, kind: u32, data: &[u8]| {
                let head = [option, kind, data.len() as u32].map(u32::to_be_bytes);
                [
                    &0x0003_e889_0455_65a9_u64.to_be_bytes()[..],
                    &head.concat(),
                    data,
                ]
                .concat()
            };
            stream.write_all(&reply(8, (1 << 31) | 1, b"")).unwrap();
            let mut asked = vec![0; option(7, &[0; 8]).len()];
            stream.read_exact(&mut asked).unwrap();
            let export = [&[0, 0][..], &size(number).to_be_bytes(), &[0, 1]].concat();
            stream.write_all(&reply(7, 3, &export)).unwrap();
            stream.write_all(&reply(7, 1, b"")).unwrap();
            serve(number, stream);
        }
    });
    format!("nbd+unix:///?socket={}", path.display())
}

fn simple(cookie: u64) -> Vec<u8> {
    [
        &0x6744_6698_u32.to_be_bytes()[..],
        &[0; 4],
        &cookie.to_be_bytes(),
    ]
    .concat()
}

#[test]
fn a_request_without_a_reply_is_sent_again_on_the_next_connection() {
    let scratch = ScratchDirectory::new().unwrap();
    let uri = scripted(&scratch, |number, mut stream| {
        let mut head = [0; 28];
        stream.read_exact(&mut head).unwrap();
        let cookie = u64::from_be_bytes(head[8..16].try_into().unwrap());
        match number {
            // Disconnects in the middle of a reply.
            0 => stream
                .write_all(&[simple(cookie), vec![9; 100]].concat())
                .unwrap(),
            1 => {}
            _ => stream
                .write_all(&[simple(cookie), vec![5; 4096]].concat())
                .unwrap(),
        }
    });
    let mut client = connect(&uri);
    let done = client.call(NbdRequest::Read(0, 4096)).unwrap();
    assert_eq!(done, NbdReply::Data(0, vec![5; 4096]));
}

#[test]
fn a_client_that_is_ended_does_not_wait_for_a_server_that_never_replies() {
    let scratch = ScratchDirectory::new().unwrap();
    let (asked, requests) = std::sync::mpsc::channel();
    let uri = scripted(&scratch, move |_, mut stream| {
        stream.read_exact(&mut [0; 28]).unwrap();
        asked.send(stream).unwrap();
    });
    let address = Address::parse(&uri).unwrap();
    let ender = Arc::new(Ender::default());
    let mut client = Client::connect_until(address.clone(), ender.clone()).unwrap();
    let waits = std::thread::spawn(move || client.call(NbdRequest::Read(0, 4096)));
    let _connection = requests.recv().unwrap();
    ender.end();
    let error = waits.join().unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Ended(_)), "{error}");
    let error = Client::connect_until(address, ender).unwrap_err();
    assert!(matches!(error, ClientError::Ended(_)), "{error}");
}

#[test]
fn a_server_that_breaks_the_protocol_or_comes_back_smaller_is_left_at_once() {
    let begun = Instant::now();
    let scratch = ScratchDirectory::new().unwrap();
    // Reply to a request that was never sent.
    let uri = scripted(&scratch, |_, mut stream| {
        stream.read_exact(&mut [0; 28]).unwrap();
        stream.write_all(&simple(99)).unwrap();
    });
    let error = connect(&uri).call(NbdRequest::Read(0, 512)).unwrap_err();
    assert!(matches!(error, ClientError::Protocol(..)), "{error}");
    let scratch = ScratchDirectory::new().unwrap();
    let uri = scripted(&scratch, |_, _| {});
    let error = connect(&uri).call(NbdRequest::Read(0, 512)).unwrap_err();
    let words = error.to_string();
    assert!(matches!(error, ClientError::Changed { .. }), "{words}");
    assert!(
        words.contains("had 1048576 bytes, and has 524288"),
        "{words}"
    );
    assert!(begun.elapsed() < Duration::from_secs(20));
}

/// Data chunk for an offset (NBD_REPLY_TYPE_OFFSET_DATA).
fn chunk(cookie: u64, is_last: bool, offset: u64, data: &[u8]) -> Vec<u8> {
    let content = [&offset.to_be_bytes()[..], data].concat();
    [
        &0x668e_33ef_u32.to_be_bytes()[..],
        &[0, u8::from(is_last), 0, 1],
        &cookie.to_be_bytes(),
        &(content.len() as u32).to_be_bytes(),
        &content,
    ]
    .concat()
}

#[test]
fn a_reply_in_parts_has_each_byte_once() {
    // Sends the halves of a read in this order.
    let read = |parts: &'static [(u64, usize)]| {
        let scratch = ScratchDirectory::new().unwrap();
        let uri = scripted(&scratch, move |_, mut stream| {
            let mut head = [0; 28];
            stream.read_exact(&mut head).unwrap();
            let cookie = u64::from_be_bytes(head[8..16].try_into().unwrap());
            for (place, (offset, length)) in parts.iter().enumerate() {
                let is_last = place + 1 == parts.len();
                let bytes = chunk(cookie, is_last, *offset, &vec![7; *length]);
                if stream.write_all(&bytes).is_err() {
                    break;
                }
            }
        });
        connect(&uri).call(NbdRequest::Read(8192, 4096))
    };
    let whole = NbdReply::Data(8192, vec![7; 4096]);
    assert_eq!(read(&[(8192, 2048), (10240, 2048)]).unwrap(), whole);
    assert_eq!(
        read(&[(11264, 1024), (8192, 2048), (10240, 1024)]).unwrap(),
        whole
    );
    for overlapping in [
        &[(8192, 2048), (8192, 2048)][..],
        &[(8192, 2048), (10239, 2048)],
        &[(10240, 2048), (8192, 2049)],
        &[(8192, 4096), (9000, 1)],
        &[(8192, 4097)],
        &[(8191, 4096)],
        &[(u64::MAX, 4096)],
    ] {
        let error = read(overlapping).unwrap_err();
        assert!(
            matches!(error, ClientError::Protocol(..)),
            "{overlapping:?}: {error}"
        );
    }
    let error = read(&[(8192, 2048), (10240, 1024)]).unwrap_err();
    let words = error.to_string();
    assert!(words.contains("the reply was incomplete"), "{words}");
}

#[test]
fn a_silent_server_is_abandoned_with_its_name() {
    let scratch = ScratchDirectory::new().unwrap();
    let uri = scripted(&scratch, |_, stream| std::mem::forget(stream));
    let address = Address::parse(&uri).unwrap();
    let limit = Duration::from_millis(100);
    let mut client = Client::connect_within(address, limit).unwrap();
    let error = client.call(NbdRequest::Read(0, 4096)).unwrap_err();
    let words = error.to_string();
    assert!(matches!(error, ClientError::Silent { .. }), "{words}");
    let expected = format!("{uri}: the server has not replied for 0 s");
    assert_eq!(words, expected);
}

#[test]
fn a_server_that_closes_each_connection_is_abandoned() {
    let scratch = ScratchDirectory::new().unwrap();
    let uri = scripted_of(&scratch, |_| 1 << 20, |_, stream| drop(stream));
    let error = connect(&uri).call(NbdRequest::Read(0, 4096)).unwrap_err();
    let words = error.to_string();
    assert!(matches!(error, ClientError::Closes { .. }), "{words}");
    assert!(words.contains("probably damaged"), "{words}");
}

#[test]
fn non_disks_and_used_files_are_refused() {
    let scratch = ScratchDirectory::new().unwrap();
    let refuse = |word: &str| TransferSource::open(word).unwrap_err().to_string();
    let path = scratch.path().to_str().unwrap();
    assert!(refuse(path).contains("is a directory: a source is a raw image"));
    let fifo = scratch.path().join("fifo");
    run("mkfifo", &[fifo.to_str().unwrap()]);
    assert!(refuse(fifo.to_str().unwrap()).contains("is a FIFO"));
    assert!(refuse("/dev/null").contains("is a character device"));
    assert!(refuse(&format!("{path}/nothing")).contains("No such file"));
    assert!(refuse("nbd+unix:///mail").contains("needs a path"));
    assert!(refuse(&format!("nbd+unix:///x?socket={path}/none")).contains("cannot connect to"));
    let served = VolumeServer::start("ring", 1 << 20);
    let disk = served.disk();
    assert!(refuse(disk.to_str().unwrap()).contains("in use: by a volume"));
    let wrong = served.uri().replace("/mail?", "/web?");
    assert!(
        refuse(&wrong).contains("has no export 'web'"),
        "{}",
        refuse(&wrong)
    );
    // A target that exists, or that another process is writing.
    let file = scratch.write("file", "x").unwrap();
    let error = Partial::create(&file).unwrap_err();
    assert!(matches!(error, TransferError::Exists(_)), "{error}");
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink(scratch.path().join("nowhere"), &link).unwrap();
    assert!(matches!(
        Partial::create(&link),
        Err(TransferError::Exists(_))
    ));
    let one = Partial::create(&scratch.path().join("new")).unwrap();
    let other = Partial::create(&scratch.path().join("new")).unwrap_err();
    assert!(
        other.to_string().contains("another process writes to it"),
        "{other}"
    );
    // The leftover of a killed process is no obstacle.
    drop(one);
    assert!(scratch.path().join("new.partial").exists());
    export(&served.uri(), &scratch.path().join("new")).unwrap();
    assert_eq!(
        fs::metadata(scratch.path().join("new")).unwrap().len(),
        1 << 20
    );
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_noticed() {
    let scratch = ScratchDirectory::new().unwrap();
    let path = scratch.write("source", vec![1; 32 << 20]).unwrap();
    let source = TransferSource::open(path.to_str().unwrap()).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let copying = std::thread::spawn(move || {
        let target = TransferTarget::stream(OwnedFd::from(writer).into()).unwrap();
        transfer::run(source, target, &Arc::default())
    });
    reader.read_exact(&mut [0; 4096]).unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(16 << 20)
        .unwrap();
    std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
    let error = copying.join().unwrap().unwrap_err().to_string();
    assert!(error.contains("it changed while it was read"), "{error}");
}
