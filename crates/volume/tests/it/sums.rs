//! Tests checksums on disk: a volume is served while its file is corrupted directly.

use crate::raw::{READ, Raw};
use lab::ScratchDirectory;
use protocol::nbd;
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use volume::device::{self, Backing};
use volume::disk::Preference;
use volume::export::ExportListener;
use volume::layout::{Superblock, SyncState, VolumeId};
use volume::single::{ChangeSource, Single, VolumeChanges};
use volume::sums::{Sums, Tally, area};

const BLOCK: u64 = 4096;
/// Slightly more than two pages of checksums, and not a multiple of a page.
const SIZE: u64 = 1030 * BLOCK;
const RATE: u64 = 1 << 40;
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Volume in its own directory.
struct Copy {
    scratch: ScratchDirectory,
}

/// The volume while a thread serves it.
struct ServingThread<'c> {
    copy: &'c Copy,
    thread: Option<JoinHandle<()>>,
    stop: Arc<OwnedFd>,
    wake: Arc<OwnedFd>,
    /// Pending order: 1 starts a check of all data; a larger value is the new size.
    wanted: Arc<AtomicU64>,
    tally: Arc<Tally>,
}

impl Copy {
    fn new() -> Copy {
        let scratch = ScratchDirectory::new().expect("a directory");
        let head = Superblock {
            volume: Some(VolumeId([5; 16])),
            size_bytes: SIZE,
            data_offset: 0,
            promised: 0,
            incarnation: 1,
            state: SyncState::Joined(1),
            unflushed: None,
            hot: Vec::new(),
            identity: None,
            overwrite: None,
        };
        let copy = Copy { scratch };
        let created = device::create(&copy.backing(), "mail", head, false, &mut |_| {});
        drop(created.expect("a copy"));
        copy
    }

    fn backing(&self) -> Backing {
        Backing::File(self.scratch.path().to_path_buf())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Corrupts a block of the data file directly.
    fn damage(&self, block: u64) {
        let mut options = std::fs::OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .open(self.path("mail.volume"))
            .expect("the file");
        let mut byte = [0];
        file.read_exact_at(&mut byte, block * BLOCK + 77)
            .expect("read");
        file.write_all_at(&[byte[0] ^ 16], block * BLOCK + 77)
            .expect("written");
        file.sync_all().expect("on the disk");
    }

    fn serve(&self, has_sums: bool, prefers: Preference) -> ServingThread<'_> {
        let event = || eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC);
        let (stop, wake) = (event().expect("an event"), event().expect("an event"));
        let (stop, wake) = (Arc::new(stop), Arc::new(wake));
        let _ = std::fs::remove_file(self.path("socket"));
        let listener = UnixListener::bind(self.path("socket")).expect("a socket");
        let opened = device::open(&self.backing(), "mail", None).expect("the copy");
        let tally = Arc::new(Tally::new("mail"));
        let wanted = Arc::new(AtomicU64::new(0));
        let (own, told) = (Arc::clone(&stop), Arc::clone(&tally));
        let (woken, asked) = (Arc::clone(&wake), Arc::clone(&wanted));
        let backing = self.backing();
        let thread = std::thread::spawn(move || {
            let (device, mut layout, loaded) = opened;
            let sums = if has_sums {
                Some((area::open(&device, &loaded.head).expect("sums"), RATE, told))
            } else {
                area::drop_sums(&device, &loaded.head).expect("no sums");
                None
            };
            let export = nbd::Export {
                name: "mail".to_owned(),
                description: String::new(),
                size: loaded.head.size_bytes,
                read_only: false,
                multi_conn: false,
                block_min: 4096,
                block_preferred: 4096,
            };
            let listeners = vec![ExportListener::Unix(listener)];
            let single = Single::checked(&device.data, export, listeners, prefers, sums);
            let mut act = || {
                let _ = rustix::io::read(&*woken, &mut [0; 8]);
                match asked.swap(0, Ordering::AcqRel) {
                    0 => VolumeChanges::default(),
                    1 => VolumeChanges {
                        check: Some(true),
                        ..VolumeChanges::default()
                    },
                    size => {
                        device::grow(&device, &mut layout, &backing, "mail", size).expect("grown");
                        VolumeChanges {
                            size: Some(size),
                            ..VolumeChanges::default()
                        }
                    }
                }
            };
            let waker = ChangeSource {
                wakes: woken.as_fd(),
                woken: &mut act,
            };
            let single = single.expect("a volume");
            single.run_woken(own.as_fd(), Some(waker)).expect("served");
        });
        ServingThread {
            copy: self,
            thread: Some(thread),
            stop,
            wake,
            wanted,
            tally,
        }
    }
}

impl ServingThread<'_> {
    fn client(&self) -> Raw {
        let socket = UnixStream::connect(self.copy.path("socket"));
        Raw::new(socket.expect("a connection"), false)
    }

    fn want(&self, what: u64) {
        self.wanted.store(what, Ordering::Release);
        rustix::io::write(&*self.wake, &1_u64.to_ne_bytes()).expect("woken");
    }

    /// Waits until the checksum status matches.
    fn wait(&self, is_so: impl Fn(&Sums) -> bool) -> Sums {
        let came = lab::eventually(WAIT_MAX, || is_so(&self.tally.sums()));
        assert!(came, "{:?}", self.tally.sums());
        self.tally.sums()
    }

    fn wait_built(&self, size: u64) {
        self.wait(|sums| sums.total_bytes == size && sums.built_bytes == size);
    }
}

impl Drop for ServingThread<'_> {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))));
    }
}

/// Error number of a read; 0 on success.
fn error_of(client: &mut Raw, block: u64) -> u32 {
    let cookie = client.request(0, READ, block * BLOCK, BLOCK as u32);
    let (replied, error) = client.simple();
    assert_eq!(replied, cookie);
    if error == 0 {
        let mut bytes = [0; BLOCK as usize];
        std::io::Read::read_exact(&mut client.stream, &mut bytes).expect("its data");
    }
    error
}

const EIO: u32 = 5;
const ENGINES: [Preference; 2] = [Preference::Best, Preference::Threads];

#[test]
fn a_block_that_was_damaged_cannot_be_read_until_it_is_overwritten() {
    for prefers in ENGINES {
        let copy = Copy::new();
        let served = copy.serve(true, prefers);
        let mut client = served.client();
        client.write(0, 0, &vec![7; 64 * BLOCK as usize]);
        client.write(0, 503 * BLOCK, &vec![8; 2 * BLOCK as usize]);
        client.flush();
        assert_eq!(client.read(503 * BLOCK, 4096), vec![8; 4096]);
        // Detected also while the checksums' page is in the log.
        copy.damage(504);
        assert_eq!(error_of(&mut client, 504), EIO);
        assert_eq!(error_of(&mut client, 503), 0);
        drop((client, served));

        copy.damage(3);
        let served = copy.serve(true, prefers);
        let mut client = served.client();
        for block in [3, 504] {
            assert_eq!(error_of(&mut client, block), EIO, "{block}");
        }
        assert_eq!(error_of(&mut client, 2), 0);
        let sums = served.tally.sums();
        assert_eq!(sums.damaged.keys().copied().collect::<Vec<_>>(), [3, 504]);
        client.write(0, 3 * BLOCK, &[9; 4096]);
        assert_eq!(client.read(3 * BLOCK, 4096), vec![9; 4096]);
        let sums = served.tally.sums();
        assert_eq!(sums.damaged.keys().copied().collect::<Vec<_>>(), [504]);
        assert!(sums.events.iter().any(|event| event.to == "intact"));
    }
}

#[test]
fn sums_of_a_volume_with_data_are_built_and_are_forgotten_when_they_are_given_up() {
    let copy = Copy::new();
    let without = copy.serve(false, Preference::Best);
    without.client().write(0, 700 * BLOCK, &[1; 4096]);
    drop(without);
    let served = copy.serve(true, Preference::Best);
    served.wait_built(SIZE);
    drop(served);
    copy.damage(700);
    let served = copy.serve(true, Preference::Best);
    assert_eq!(error_of(&mut served.client(), 700), EIO);
    drop(served);

    let without = copy.serve(false, Preference::Best);
    let mut client = without.client();
    assert_eq!(error_of(&mut client, 700), 0);
    client.write(0, 701 * BLOCK, &[2; 4096]);
    drop((client, without));
    let served = copy.serve(true, Preference::Best);
    let mut client = served.client();
    for block in [700, 701] {
        assert_eq!(error_of(&mut client, block), 0, "{block}");
    }
    served.wait_built(SIZE);
}

#[test]
fn a_grown_volume_has_checksums_everywhere() {
    let copy = Copy::new();
    let served = copy.serve(true, Preference::Best);
    served.wait_built(SIZE);
    served.want(2 * SIZE);
    served.wait_built(2 * SIZE);
    let mut client = served.client();
    client.write(0, 2 * SIZE - BLOCK, &[3; 4096]);
    drop((client, served));
    for block in [1, 1500, 2059] {
        copy.damage(block);
    }
    let served = copy.serve(true, Preference::Best);
    served.want(1);
    let has_ended = |sums: &Sums| {
        sums.verified
            .as_ref()
            .is_some_and(|one| one.ended.is_some())
    };
    let verified = served.wait(has_ended).verified.expect("a check");
    let verify = &verified.verify;
    assert_eq!((verify.done, verify.damaged), (2 * SIZE / BLOCK, 3));
    assert_eq!(verify.ended, Some(Ok(())));
}

#[test]
fn long_ranges_of_zeroes_have_their_sums() {
    const ZEROES: u16 = 6;
    let copy = Copy::new();
    let served = copy.serve(true, Preference::Best);
    let mut client = served.client();
    client.write(0, 600 * BLOCK, &[4; 4096]);
    let cookie = client.request(0, ZEROES, 0, SIZE as u32);
    assert_eq!(client.simple(), (cookie, 0));
    assert_eq!(client.read(600 * BLOCK, 4096), vec![0; 4096]);
    drop((client, served));
    copy.damage(600);
    let served = copy.serve(true, Preference::Best);
    assert_eq!(error_of(&mut served.client(), 600), EIO);
}
