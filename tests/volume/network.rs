//! Tests a volume with two copies whose client is on another machine, over TCP with TLS.

use crate::cluster::site::SOON;
use crate::volume::site::{Client, NODES, VolumeSite, other};
use lab::eventually;
use lab::pki::{Authority, Leaf};
use rustix::process::{Signal, kill_process};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Returns the address of a node in the network of the clients.
fn address(node: &str) -> &'static str {
    match node {
        "alpha" => "10.60.0.1",
        _ => "10.60.0.2",
    }
}

/// Number of blocks that the client writes one after the other.
const WRITES: usize = 3000;
/// Number of acknowledged writes before the role is killed.
const BEFORE: usize = 100;

fn pattern(block: usize) -> u8 {
    (block % 250) as u8 + 1
}

/// Creates the certificates of the volume, of the CA of its clients, and of a client; returns lines
/// for the configuration.
fn certify(directory: &Path) -> String {
    let authority = Authority::new("clients").unwrap();
    let names = NODES.map(address);
    let own = Leaf {
        names: &names,
        ..Leaf::default()
    };
    let client = Leaf {
        names: &["client"],
        client: true,
        ..Leaf::default()
    };
    let (own, client) = (authority.issue(&own), authority.issue(&client));
    let (own, client) = (own.unwrap(), client.unwrap());
    for (name, text) in [
        ("mail.pem", own.bundle()),
        ("ca-cert.pem", authority.certificate_pem().to_owned()),
        ("client-cert.pem", client.full_chain()),
        ("client-key.pem", client.key_pem),
    ] {
        fs::write(directory.join(name), text).unwrap();
    }
    let file = |name| directory.join(name).display().to_string();
    let (own, clients) = (file("mail.pem"), file("ca-cert.pem"));
    format!("\tbind :10809 ssl crt {own} ca-file {clients} verify required\n")
}

/// Returns a command of qemu-io with TLS for the volume at a node.
fn qemu_io(directory: &Path, node: &str) -> Command {
    let mut command = Command::new("stdbuf");
    let credentials = format!(
        "tls-creds-x509,id=tls0,dir={},endpoint=client",
        directory.display()
    );
    let host = address(node);
    let image = format!("driver=nbd,host={host},port=10809,export=mail,tls-creds=tls0");
    command.args(["-oL", "timeout", "120", "qemu-io", "--object", &credentials]);
    command.args(["--image-opts", &image]);
    command
}

/// Returns the blocks whose writes were acknowledged.
fn acknowledged(output: &Path) -> Vec<usize> {
    let text = fs::read_to_string(output).unwrap_or_default();
    let block = |line: &str| {
        let (_, offset) = line.split_once("wrote 4096/4096 bytes at offset ")?;
        Some(offset.trim().parse::<usize>().ok()? / 4096)
    };
    text.lines().filter_map(block).collect()
}

#[test]
fn what_was_acknowledged_over_the_network_is_there_after_the_role_of_the_owner_is_killed() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-io");
    let volumes = VolumeSite::new("volume-network");
    let directory = volumes.scratch().to_owned();
    let bind = certify(&directory);
    let text = volumes.configuration(&bind);
    volumes.site.alpha.apply(&text, &["--now"]).well();
    for node in NODES {
        let listens = || {
            let fact = volumes.fact(node, "tcp");
            fact.is_some_and(|fact| fact == "0.0.0.0:10809 with TLS")
        };
        assert!(eventually(SOON, listens), "{}", volumes.tell());
    }
    let owner = volumes.in_sync();
    let (steps, output) = (directory.join("steps"), directory.join("output"));
    let write = |block| format!("write -f -P {} {} 4k\n", pattern(block), block * 4096);
    fs::write(
        &steps,
        (0..WRITES).map(write).collect::<String>() + "quit\n",
    )
    .unwrap();
    let mut command = qemu_io(&directory, owner);
    let all = fs::File::create(&output).unwrap();
    command.stdin(fs::File::open(&steps).unwrap());
    command.stderr(all.try_clone().unwrap()).stdout(all);
    let mut client = volumes.site.client.enter(|| command.spawn().unwrap());
    let gets_on = || acknowledged(&output).len() >= BEFORE;
    let tell = || fs::read_to_string(&output).unwrap_or_default();
    assert!(eventually(SOON, gets_on), "{}", tell());
    let role = volumes.site.machine(owner).role("evenkeel: volume");
    kill_process(role.expect("the role runs"), Signal::KILL).unwrap();
    // The connection of the client ends. The client may open another one.
    client.wait().unwrap();
    let all = acknowledged(&output);
    volumes.in_sync();
    for node in NODES {
        let mut client = Client::connect(&volumes.socket(node)).unwrap();
        for block in &all {
            let read = client.read(*block as u64).unwrap();
            assert_eq!(read, [pattern(*block); 4096], "{node}, block {block}");
        }
    }
    // Clients of the network read and write at the node that is not the owner, too.
    let node = other(volumes.in_sync());
    let mut command = qemu_io(&directory, node);
    let step = format!("read -P {} 0 4k", pattern(0));
    command.args([
        "-c",
        "write -f -P 251 30M 4k",
        "-c",
        "read -P 251 30M 4k",
        "-c",
        &step,
    ]);
    let said = volumes.site.client.enter(|| command.output().unwrap());
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let reads = said.matches("read 4096/4096").count();
    assert!(reads == 2 && !said.contains("failed"), "{node}: {said}");
    volumes.holds(Vec::new());
}
