//! Tests clients that violate iSCSI or NBD.

use super::{RootDiskFixture, iscsi};
use lab::eventually;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn what_is_no_protocol_ends_its_own_connection_alone() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("iscsi-inq");
    let node = RootDiskFixture::new("roots-hostile");
    let connect = |port: u16| {
        let stream = node
            .machine
            .enter(|| TcpStream::connect(("10.20.0.2", port)))
            .unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream
    };
    let mut long = [0; 48];
    // A Login PDU with a data segment of 16 MiB.
    (long[0], long[5], long[6], long[7]) = (0x43, 0xff, 0xff, 0xff);
    for (port, bytes) in [
        (3260, &long[..]),
        (3260, &[0xff; 4096]),
        (
            3260,
            b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: 0123456789\r\n\r\n",
        ),
        (10_809, &[0xff; 4096]),
        (
            10_809,
            &[
                0, 0, 0, 3, 0x49, 0x48, 0x41, 0x56, 0x45, 0x4f, 0x50, 0x54, 0, 0, 0, 7, 0xff, 0xff,
                0xff, 0xff,
            ],
        ),
    ] {
        let mut stream = connect(port);
        // The connection may be closed before everything is written.
        let _ = stream.write_all(bytes);
        let mut left = Vec::new();
        // The connection is closed, with or without a response; one that stays open would run
        // into the timeout.
        if let Err(error) = stream.read_to_end(&mut left) {
            assert_eq!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset,
                "{bytes:?}"
            );
        }
    }
    // Silent connections count against the limit: further ones of this address are refused.
    let silent: Vec<TcpStream> = (0..8).map(|_| connect(3260)).collect();
    assert!(eventually(super::PATIENCE, || node.portal.counters()[0]
        .open
        == 8));
    let mut ninth = connect(3260);
    assert_eq!(ninth.read(&mut [0; 1]).unwrap_or(0), 0);
    drop(silent);
    assert!(eventually(super::PATIENCE, || node.portal.counters()[0]
        .open
        == 0));
    let inquiry = node.run("iscsi-inq", &[&iscsi()]);
    assert!(inquiry.contains("EVENKEEL"), "{inquiry}");
}
