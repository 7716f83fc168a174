//! Starts Evenkeel's volumes: with one copy, and with two copies on two nodes of a cluster.

use super::error::VolumeBenchError;
use super::fio::{SIZE_MIB, Target};
use super::side::{Client, READY_TIMEOUT, Servers, Side, ready, spawn};
use crate::cluster::ensemble::{Ensemble, Member, Side as Agreement};
use crate::cluster::ours;
use crate::comparison;
use lab::{Lab, ScratchDirectory, eventually};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn uri(runtime: &Path) -> Target {
    let socket = runtime.join("volume-bench.sock");
    Target::Nbd(format!("nbd+unix:///bench?socket={}", socket.display()))
}

/// Starts a volume with one copy.
pub fn single(program: &Path) -> Result<Side, VolumeBenchError> {
    let lab = Lab::new("bench")?;
    let host = lab.host("single")?;
    let scratch = ScratchDirectory::new()?;
    let runtime = scratch.path().join("run");
    let text = format!(
        "volume bench\n\tsize {SIZE_MIB}m\n\tbacking file {}\n",
        scratch.path().display()
    );
    let site = scratch.write("site.cfg", text)?;
    let command = || {
        let mut command = Command::new(program);
        command.env("EVENKEEL_RUNTIME_DIRECTORY", &runtime);
        command
    };
    let mut run = command();
    run.args(["run", "-f"]).arg(&site);
    let process = spawn(&host, &scratch, run)?;
    let create = || {
        let mut create = command();
        create.args(["volume", "create", "bench"]);
        host.run(create).is_ok()
    };
    ready("evenkeel", &scratch, "the volume is created", create)?;
    let socket = || runtime.join("volume-bench.sock").exists();
    ready("evenkeel", &scratch, "the volume is served", socket)?;
    Ok(Side {
        client: Client::Fio(host, uri(&runtime)),
        servers: Servers::Role(process),
        _programs: Vec::new(),
        _files: vec![scratch],
        _lab: Some(lab),
    })
}

/// Starts a volume with two copies, whose client is at the owner.
pub fn pair(program: &Path) -> Result<Side, VolumeBenchError> {
    // Both nodes use the same path, and each mounts its own directory there.
    let (shared, files) = (ScratchDirectory::new()?, ScratchDirectory::new()?);
    let script = format!(
        "#!/bin/sh\nexec unshare -m sh -c '\nown=${{EVENKEEL_RUNTIME_DIRECTORY%/run}}/volumes\n\
         mkdir -p \"$own\" && mount --bind \"$own\" {} && exec {} \"$@\"' x \"$@\"\n",
        shared.path().display(),
        program.display()
    );
    let program = files.write("evenkeel", script)?;
    let executable = fs::Permissions::from_mode(0o700);
    fs::set_permissions(&program, executable).map_err(|source| comparison::Error::File {
        doing: "making executable",
        path: program.clone(),
        source,
    })?;
    let ensemble = Ensemble::start(&Agreement::Evenkeel {
        program: program.clone(),
    })?;
    let text = format!(
        "node alpha\n\taddress 10.62.0.1\nnode beta\n\taddress 10.62.0.2\n\n\
         volume-defaults\n\tlink 10.62.0.1 10.62.0.2 plain\n\n\
         volume bench\n\tsize {SIZE_MIB}m\n\ton alpha beta\n\tbacking file {}\n",
        shared.path().display()
    );
    let nodes = || ensemble.members.iter().filter(|member| member.node);
    if let Some(first) = nodes().next() {
        ours::apply_text(&program, first, &text, "bench")?;
    }
    for node in nodes() {
        let create = || ours::ask(&program, node, &["volume", "create", "bench"]).is_ok();
        if !eventually(READY_TIMEOUT, create) {
            return Err(ensemble.not_ready("the copies are created").into());
        }
    }
    let owns = |node: &&Member| {
        let shown = ours::ask(&program, node, &["volume", "show", "bench"]);
        let shown = shown.unwrap_or_default();
        let has = |fact: &str| shown.lines().any(|line| line == fact);
        has("owner here: 1") && has("mirrored: 1")
    };
    let mut client = None;
    let served = eventually(READY_TIMEOUT, || {
        let owner = nodes().find(owns);
        client = owner.map(|node| {
            let runtime = ours::runtime(node.scratch.path());
            Client::Fio(node.host.clone(), uri(&runtime))
        });
        client.is_some()
    });
    match client.filter(|_| served) {
        Some(client) => Ok(Side {
            client,
            servers: Servers::Roles(Box::new(ensemble)),
            _programs: Vec::new(),
            _files: vec![shared, files],
            _lab: None,
        }),
        None => Err(ensemble.not_ready("both copies are in sync").into()),
    }
}
