//! Tests that a volume has one user at a time, regardless of who connects.

use crate::served::VolumeServer;
use lab::eventually;
use std::time::Duration;
use volume::client::{Address, Client, ClientError, NbdRequest, Server};

const SIZE: u64 = 8 << 20;
const SOON: Duration = Duration::from_secs(20);

fn connect(served: &VolumeServer, user: &str) -> Result<Client, ClientError> {
    let slash = if user.is_empty() { "" } else { "/" };
    Client::connect(Address {
        server: Server::Unix(served.socket()),
        export: format!("mail{slash}{user}"),
    })
}

fn write(client: &mut Client, byte: u8) -> Result<(), String> {
    let done = client.call(NbdRequest::Write(0, vec![byte; 4096]));
    done.map(drop).map_err(|error| error.to_string())
}

#[test]
fn second_user_waits_until_the_first_one_has_closed_the_volume() {
    let served = VolumeServer::start("threads", SIZE);
    let mut old = connect(&served, "guest/old").unwrap();
    write(&mut old, 1).unwrap();
    for other in ["guest/new", "boot/machines", "command/7"] {
        let words = connect(&served, other).unwrap_err().to_string();
        assert!(words.contains("guest old uses the volume"), "{words}");
    }
    // Another connection of the same user, and a client that only reads.
    write(&mut connect(&served, "guest/old").unwrap(), 2).unwrap();
    let mut plain = connect(&served, "").unwrap();
    plain.call(NbdRequest::Read(0, 4096)).unwrap();
    let refused = write(&mut plain, 3).unwrap_err();
    assert!(refused.contains("the export is read-only"), "{refused}");
    drop(old);
    let mut new = None;
    let is_free = eventually(SOON, || {
        new = connect(&served, "guest/new").ok();
        new.is_some()
    });
    assert!(is_free, "the volume stays with its former user");
    write(&mut new.unwrap(), 4).unwrap();
}

#[test]
fn client_without_a_name_keeps_the_volume_from_its_first_write() {
    let served = VolumeServer::start("threads", SIZE);
    let mut plain = connect(&served, "").unwrap();
    plain.call(NbdRequest::Read(0, 4096)).unwrap();
    // A client that only reads excludes nobody.
    let mut guest = connect(&served, "guest/mail").unwrap();
    write(&mut guest, 1).unwrap();
    drop(guest);
    let is_written = eventually(SOON, || write(&mut plain, 2).is_ok());
    assert!(is_written, "the volume stays with its former user");
    let words = connect(&served, "guest/mail").unwrap_err().to_string();
    assert!(words.contains("an NBD client uses the volume"), "{words}");
    // NBD clients without a user name still share the volume.
    write(&mut connect(&served, "").unwrap(), 3).unwrap();
    drop(plain);
    let is_free = eventually(SOON, || connect(&served, "guest/mail").is_ok());
    assert!(is_free, "the volume stays with a client that has left");
}

#[test]
fn user_keeps_its_volume_over_a_restart_of_the_server() {
    let mut served = VolumeServer::start("threads", SIZE);
    let mut old = connect(&served, "guest/old").unwrap();
    write(&mut old, 1).unwrap();
    served.kill_and_start();
    // `old` reconnects with the same name.
    write(&mut old, 2).unwrap();
    let words = connect(&served, "guest/new").unwrap_err().to_string();
    assert!(words.contains("guest old uses the volume"), "{words}");
}
