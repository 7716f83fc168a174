//! Provides packets as clients send them, for tests: the options of each are those of the firmware
//! or the program in its name.

use super::option::{self, put};
use crate::mac::Mac;
use std::net::Ipv6Addr;

pub(super) const CARD: Mac = Mac([0x52, 0x54, 0, 0, 0, 7]);
/// Link-local address that is derived from the client's MAC address.
pub(super) const LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe00, 7);
pub(super) const SERVER: [u8; 10] = [0, 3, 0, 1, 0x52, 0x54, 0, 0, 0, 2];

/// Option: its code and its data.
pub(super) type Raw<'r> = (u16, &'r [u8]);

/// DUID of a machine (DUID-UUID, RFC 6355).
pub(super) const UUID: &[u8] = &[
    0, 4, 0x4c, 0x4c, 0x45, 0x44, 0, 0x35, 0x51, 0x10, 0x80, 0x33, 0xb7, 0xc0, 0x4f, 0x4e, 0x4a,
    0x32,
];
/// DUID with a MAC address and a time (DUID-LLT).
const WITH_TIME: &[u8] = &[0, 1, 0, 1, 0x2e, 0x11, 0x22, 0x33, 0x52, 0x54, 0, 0, 0, 7];

/// Builds a packet of a client.
pub(super) fn packet(kind: u8, options: &[Raw<'_>]) -> Vec<u8> {
    let mut bytes = vec![kind, 0x12, 0x34, 0x56];
    for (code, data) in options {
        put(&mut bytes, *code, data);
    }
    bytes
}

/// Builds the data of an association with addresses.
pub(super) fn association(id: u8, addresses: &[Ipv6Addr]) -> Vec<u8> {
    let mut data = vec![0, 0, 0, id];
    data.extend([0; 8]);
    for address in addresses {
        let mut inside = address.octets().to_vec();
        inside.extend([0; 8]);
        put(&mut data, option::IA_ADDRESS, &inside);
    }
    data
}

/// Returns all clients, by name.
pub(super) fn all() -> Vec<(&'static str, Vec<u8>)> {
    let association = association(7, &[]);
    [firmware(&association), others(&association)].concat()
}

/// Returns the clients in firmware.
fn firmware(association: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let edk2 = |class: &'static [u8], architecture: &'static [u8]| {
        packet(
            1,
            &[
                (1, UUID),
                (3, association),
                (8, &[0, 0]),
                (6, &[0, 59, 0, 60, 0, 23, 0, 16]),
                (62, &[1, 3, 0]),
                (61, architecture),
                (16, class),
            ],
        )
    };
    vec![
        // Sent before the firmware looks for something to boot.
        (
            "EDK II, for itself",
            packet(
                1,
                &[(1, UUID), (8, &[0, 0]), (3, association), (6, &[0, 23])],
            ),
        ),
        (
            "EDK II, PXE",
            edk2(
                b"\0\0\x01\x57\0\x20PXEClient:Arch:00007:UNDI:003000",
                &[0, 7],
            ),
        ),
        (
            "EDK II, HTTP",
            edk2(
                b"\0\0\x01\x57\0\x21HTTPClient:Arch:00016:UNDI:003001",
                &[0, 16],
            ),
        ),
        (
            "iPXE",
            packet(
                1,
                &[
                    (1, UUID),
                    (3, association),
                    (6, &[0, 23, 0, 24, 0, 59, 0, 60]),
                    (15, b"\0\x04iPXE"),
                    (61, &[0, 7]),
                    (62, &[1, 3, 10]),
                    (16, b"\0\0\x01\x57\0\x20PXEClient:Arch:00007:UNDI:003010"),
                    (8, &[0, 0]),
                ],
            ),
        ),
    ]
}

/// Returns the clients of operating systems, and packets that no client should send.
fn others(association: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (
            "dhclient",
            packet(
                1,
                &[
                    (1, WITH_TIME),
                    (6, &[0, 23, 0, 24]),
                    (8, &[0, 0]),
                    (3, association),
                ],
            ),
        ),
        (
            "a system that wants it at once",
            packet(1, &[(1, WITH_TIME), (14, &[]), (3, association)]),
        ),
        (
            "INFORMATION-REQUEST",
            packet(11, &[(1, UUID), (6, &[0, 23])]),
        ),
        (
            "INFORMATION-REQUEST without a name",
            packet(11, &[(6, &[0, 23])]),
        ),
        ("SOLICIT without a name", packet(1, &[(3, association)])),
        (
            "SOLICIT to one server",
            packet(1, &[(1, UUID), (2, &SERVER), (3, association)]),
        ),
        (
            "REQUEST to no server",
            packet(3, &[(1, UUID), (3, association)]),
        ),
        (
            "REQUEST",
            packet(3, &[(1, UUID), (2, &SERVER), (3, association)]),
        ),
        (
            "INFORMATION-REQUEST with an association",
            packet(11, &[(1, UUID), (3, association)]),
        ),
        ("REPLY", packet(7, &[(1, UUID), (2, &SERVER)])),
        (
            "an identifier without an end",
            packet(1, &[(1, &[7; 131]), (3, association)]),
        ),
        ("nothing", Vec::new()),
        ("three bytes", vec![1, 2, 3]),
    ]
}
