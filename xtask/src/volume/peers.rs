//! Starts the peers of the comparison: nbdkit, QEMU's quorum driver, and GlusterFS. Each runs in
//! its own namespaces and directories, and changes nothing on the host.

use super::error::VolumeBenchError;
use super::fio::{SIZE_MIB, Target};
use super::side::{Client, Servers, Side, ready, spawn};
use crate::comparison;
use lab::{Lab, LabHost, LabProcess, ScratchDirectory};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

const NBDKIT: &str = "nbdkit";
const QEMU_NBD: &str = "qemu-nbd";
const GLUSTER: &str = "glusterd";

fn installed(program: &'static str) -> Result<(), VolumeBenchError> {
    let found = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"]
        .iter()
        .any(|directory| Path::new(directory).join(program).is_file());
    found
        .then_some(())
        .ok_or(VolumeBenchError::NotInstalled(program))
}

/// Creates an empty file of the size of a volume.
fn image(scratch: &ScratchDirectory, name: &str) -> Result<PathBuf, VolumeBenchError> {
    let path = scratch.path().join(name);
    let made = File::create(&path).and_then(|file| file.set_len(SIZE_MIB << 20));
    match made {
        Ok(()) => Ok(path),
        Err(source) => Err(comparison::Error::File {
            doing: "creating",
            path,
            source,
        }
        .into()),
    }
}

/// Starts nbdkit with a file; `caches`: with the page cache, otherwise with `cache=none`.
pub fn nbdkit(caches: bool) -> Result<Side, VolumeBenchError> {
    installed(NBDKIT)?;
    let lab = Lab::new("bench")?;
    let host = lab.host("single")?;
    let scratch = ScratchDirectory::new()?;
    let image = image(&scratch, "volume")?;
    let socket = scratch.path().join("nbdkit.sock");
    let mut command = Command::new(NBDKIT);
    command.arg("--foreground").arg("--unix").arg(&socket);
    command.arg("file").arg(image);
    if !caches {
        command.arg("cache=none");
    }
    let process = spawn(&host, &scratch, command)?;
    ready(NBDKIT, &scratch, "its socket is there", || socket.exists())?;
    let uri = format!("nbd+unix:///?socket={}", socket.display());
    Ok(Side {
        client: Client::Fio(host.clone(), Target::Nbd(uri)),
        servers: Servers::Hosts(vec![host]),
        _programs: vec![process],
        _files: vec![scratch],
        _lab: Some(lab),
    })
}

/// Creates two machines on a switch.
pub fn machines() -> Result<(Lab, LabHost, LabHost), VolumeBenchError> {
    let lab = Lab::new("bench")?;
    let lan = lab.switch("lan")?;
    let (near, far) = (lab.host("near")?, lab.host("far")?);
    lan.attach(&near)?.address("10.63.0.1/24")?;
    lan.attach(&far)?.address(&format!("{FAR}/24"))?;
    Ok((lab, near, far))
}

/// Address of the second machine of [`machines`].
pub const FAR: &str = "10.63.0.2";

/// Starts QEMU's quorum driver: a write is acknowledged when a local file and a remote NBD export
/// have it.
pub fn quorum() -> Result<Side, VolumeBenchError> {
    installed(NBDKIT)?;
    installed(QEMU_NBD)?;
    let (lab, near, far) = machines()?;
    let scratch = ScratchDirectory::new()?;
    let (first, second) = (image(&scratch, "near")?, image(&scratch, "far")?);
    let mut remote = Command::new(NBDKIT);
    remote.args(["--foreground", "--port", "10809", "file"]);
    remote.arg(second);
    let remote = spawn(&far, &scratch, remote)?;
    let listens = || {
        let timeout = std::time::Duration::from_secs(1);
        far.tcp_connect(([10, 63, 0, 2], 10809).into(), timeout)
            .is_ok()
    };
    ready(NBDKIT, &scratch, "it listens", listens)?;
    let socket = scratch.path().join("quorum.sock");
    let options = format!(
        "driver=quorum,vote-threshold=2,\
         children.0.driver=raw,children.0.file.driver=file,children.0.file.filename={},\
         children.0.file.cache.direct=on,children.0.file.aio=native,\
         children.1.driver=raw,children.1.file.driver=nbd,children.1.file.server.type=inet,\
         children.1.file.server.host={FAR},children.1.file.server.port=10809",
        first.display()
    );
    let mut command = Command::new(QEMU_NBD);
    command.arg("--persistent").arg("--socket").arg(&socket);
    command.args(["--cache=none", "--image-opts", &options]);
    let process = spawn(&near, &scratch, command)?;
    ready(QEMU_NBD, &scratch, "its socket is there", || {
        socket.exists()
    })?;
    let uri = format!("nbd+unix:///?socket={}", socket.display());
    Ok(Side {
        client: Client::Fio(near.clone(), Target::Nbd(uri)),
        servers: Servers::Hosts(vec![near, far]),
        _programs: vec![process, remote],
        _files: vec![scratch],
        _lab: Some(lab),
    })
}

/// Script that sets up GlusterFS in its own mount namespace. `$1` is its directory.
const GLUSTER_SCRIPT: &str = r#"
set -e
for part in lib log run 1 2 3 volume; do mkdir -p "$1/$part"; done
mkdir -p /var/lib/glusterd /var/log/glusterfs
mount --bind "$1/lib" /var/lib/glusterd
mount --bind "$1/log" /var/log/glusterfs
mount --bind "$1/run" /run
mkdir -p /run/gluster
glusterd -N -L WARNING &
tries=0
until gluster --mode=script volume list; do
    tries=$((tries + 1)); test $tries -lt 100; sleep 0.1
done
gluster --mode=script volume create bench replica 3 arbiter 1 \
    10.63.0.1:"$1/1" 10.63.0.1:"$1/2" 10.63.0.1:"$1/3" force
gluster --mode=script volume start bench
glusterfs --volfile-server=10.63.0.1 --volfile-id=bench "$1/volume"
touch "$1/volume/ready" "$1/ready"
wait
"#;

/// Starts a volume of GlusterFS with three bricks on one host, one of them an arbiter, through
/// FUSE.
pub fn gluster() -> Result<Side, VolumeBenchError> {
    installed(GLUSTER)?;
    let (lab, near, _) = machines()?;
    let scratch = ScratchDirectory::new()?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", GLUSTER_SCRIPT, "gluster"]);
    command.arg(scratch.path());
    let process: LabProcess = spawn(&near, &scratch, command)?;
    let is_ready = || scratch.path().join("ready").exists() || process.exit().is_some();
    ready(GLUSTER, &scratch, "the volume is mounted", is_ready)?;
    if process.exit().is_some() {
        ready(GLUSTER, &scratch, "the volume is mounted", || false)?;
    }
    let file = scratch.path().join("volume/bench");
    Ok(Side {
        client: Client::Fio(near.clone(), Target::File(file, process.pid())),
        servers: Servers::Hosts(vec![near]),
        _programs: vec![process],
        _files: vec![scratch],
        _lab: Some(lab),
    })
}
