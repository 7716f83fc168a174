//! Serves an image over NBD with `qemu-nbd`, which reads the formats. The server is confined like
//! the QEMU of a guest: no capability, only the image and the files that it may name, and limited
//! memory.

use crate::cli::confine;
use command::build::workshop::Workshop;
use command::stopped::Stopped;
use guest::qemu::home::{GuestDirectory, Lock};
use guest::qemu::process::{ProcessRights, QemuProcess};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use volume::client::{Address, Server as Place};
use volume::transfer::TransferSource;

/// Memory limit of a server, in bytes: tables of an image can be large, and a hostile image may
/// claim any size.
const MEMORY_MAX: u64 = 4 << 30;
const START_MAX: Duration = Duration::from_secs(30);
const END_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Process `qemu-nbd` that serves one image, killed on drop.
pub struct Server {
    process: QemuProcess,
    home: GuestDirectory,
    export: String,
}

/// Image and the files that QEMU may open for it.
#[derive(Clone, Debug)]
pub struct Image {
    /// Node in QEMU's block graph.
    pub node: Value,
    pub files: Vec<PathBuf>,
    /// QEMU may write to the image. The written file is in the directory of the server.
    pub writes: bool,
}

pub fn file(path: &Path) -> Result<Value, String> {
    // Makes the path absolute, because the server has another working directory.
    let whole =
        std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let name = whole
        .to_str()
        .ok_or_else(|| format!("{}: the name is not UTF-8", path.display()))?;
    let is_device = fs::metadata(path).is_ok_and(|metadata| {
        use std::os::unix::fs::FileTypeExt;
        metadata.file_type().is_block_device()
    });
    let driver = if is_device { "host_device" } else { "file" };
    Ok(json!({"driver": driver, "filename": name}))
}

impl Server {
    /// Starts a server for an image under this export name, and waits for its socket.
    ///
    /// # Errors
    /// Fails with QEMU's message if the image cannot be read.
    pub fn start(shop: &Workshop, export: &str, image: &Image) -> Result<Server, String> {
        let home = GuestDirectory::new(shop.path(), export);
        let io = |error: std::io::Error| format!("qemu-nbd: {error}");
        home.make().map_err(io)?;
        let Lock::Free(lock) = home.lock().map_err(io)? else {
            return Err(format!("'{export}' is already served"));
        };
        let socket = socket(&home);
        let mut arguments: Vec<OsString> = Vec::new();
        if !image.writes {
            arguments.push("--read-only".into());
        }
        arguments.extend(["--export-name".into(), export.into()]);
        arguments.extend(["--socket".into(), socket.clone().into()]);
        arguments.push("--discard=unmap".into());
        // Keeps the server running after the first client, which may only probe it.
        arguments.push("--persistent".into());
        arguments.push(format!("json:{}", image.node).into());
        let files: Vec<&Path> = image.files.iter().map(PathBuf::as_path).collect();
        let rights = ProcessRights {
            files: confine(home.path(), &files).map_err(io)?,
            ..ProcessRights::default()
        };
        let program = command::build::run::find("qemu-nbd")
            .ok_or("qemu-nbd is not installed: apt-get install qemu-utils")?;
        let (program, arguments) = command::build::run::ends_with_us(program, arguments);
        let process =
            QemuProcess::start(&program, arguments, &home, &lock, &[], rights).map_err(io)?;
        let limit = Rlimit {
            current: Some(MEMORY_MAX),
            maximum: Some(MEMORY_MAX),
        };
        // Ignores an error: without the memory limit, the server still has no privileges.
        let _ = prlimit(Pid::from_raw(process.id()), Resource::As, limit);
        let server = Server {
            process,
            home,
            export: export.to_owned(),
        };
        server.wait(&socket)?;
        Ok(server)
    }

    fn wait(&self, socket: &Path) -> Result<(), String> {
        let until = Instant::now() + START_MAX;
        while UnixStream::connect(socket).is_err() {
            if self.process.has_ended() || Instant::now() > until {
                return Err(self.refusal());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Returns the error with which the server refuses the image, in QEMU's words.
    fn refusal(&self) -> String {
        let words = fs::read_to_string(self.home.words()).unwrap_or_default();
        let words = words.trim().trim_start_matches("qemu-nbd: ");
        if words.is_empty() {
            "qemu-nbd does not serve the image".to_owned()
        } else {
            format!("QEMU cannot read the image: {words}")
        }
    }

    /// Connects to the server. The server listens before it has opened the image, so a refused
    /// image closes the connection, and the server's output contains the reason.
    ///
    /// # Errors
    /// Fails with QEMU's message if the image cannot be read, or with the connection's error.
    pub fn connect(&self) -> Result<TransferSource, Stopped> {
        TransferSource::connect(self.address()).map_err(|error| {
            let until = Instant::now() + END_MAX;
            while !self.process.has_ended() && Instant::now() < until {
                std::thread::sleep(LOOK_EVERY);
            }
            if self.process.has_ended() {
                self.refusal().into()
            } else {
                error.into()
            }
        })
    }

    pub fn address(&self) -> Address {
        Address {
            server: Place::Unix(self.socket()),
            export: self.export.clone(),
        }
    }

    pub fn socket(&self) -> PathBuf {
        socket(&self.home)
    }
}

fn socket(home: &GuestDirectory) -> PathBuf {
    home.path().join("nbd.sock")
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use command::build::run::find;

    fn image(path: &Path) -> Image {
        Image {
            node: json!({"driver": "qcow2", "file": file(path).unwrap()}),
            files: vec![path.to_owned()],
            writes: false,
        }
    }

    #[test]
    fn the_reason_of_a_refused_image_is_reported() {
        lab::skip_unless_root!();
        lab::skip_unless_installed!("qemu-nbd");
        crate::cli::set_confine(|_, _| Ok(None));
        let shop = Workshop::new(None).unwrap_or_else(|error| panic!("{error}"));
        let scratch = lab::ScratchDirectory::new().unwrap();
        let path = scratch
            .write("bad", b"QFI\xfb\0\0\0\x63 and nothing")
            .unwrap();
        let started = Server::start(&shop, "bad", &image(&path));
        let refused = started.and_then(|server| {
            let connected = server.connect().map(drop);
            connected.map_err(|error| error.to_string())
        });
        let words = refused.err().unwrap_or_default();
        assert!(words.starts_with("QEMU cannot read the image: "), "{words}");
    }

    #[test]
    fn a_child_process_ends_with_its_parent() {
        lab::skip_unless_installed!("setpriv");
        let (program, arguments) =
            command::build::run::ends_with_us("/usr/bin/true".into(), Vec::new());
        assert_eq!(Some(program), find("setpriv"));
        assert_eq!(arguments, ["--pdeathsig", "KILL", "--", "/usr/bin/true"]);
    }
}
