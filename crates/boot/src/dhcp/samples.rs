//! Provides packets as clients send them, for tests: the fields and the options of each are those
//! of the firmware or the program in its name.

use crate::mac::Mac;

pub(super) const CARD: Mac = Mac([0x52, 0x54, 0, 0, 0, 7]);

/// Option: its code and its data.
pub(super) type Raw<'r> = (u8, &'r [u8]);

/// Machine identifier (RFC 4578, 2.3).
const UUID: &[u8] = &[
    0, 0x4c, 0x4c, 0x45, 0x44, 0, 0x35, 0x51, 0x10, 0x80, 0x33, 0xb7, 0xc0, 0x4f, 0x4e, 0x4a, 0x32,
];
/// Parameter request list of BIOS ROMs.
const ROM_ASKS: &[u8] = &[
    1, 2, 3, 4, 5, 6, 11, 12, 13, 15, 16, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59,
    60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135,
];

/// Parameter request list of Windows, since Vista; 10 and 11 request the search list (119), too.
const WINDOWS_ASKS: &[u8] = &[1, 3, 6, 15, 31, 33, 43, 44, 46, 47, 119, 121, 249, 252];

/// Builds a packet of a client.
pub(super) fn packet(flags: u16, ciaddr: [u8; 4], giaddr: [u8; 4], options: &[Raw<'_>]) -> Vec<u8> {
    let mut bytes = vec![1, 1, 6, u8::from(giaddr != [0; 4])];
    bytes.extend([0x12, 0x34, 0x56, 0x78, 0, 4]);
    bytes.extend(flags.to_be_bytes());
    bytes.extend(ciaddr);
    bytes.extend([0; 8]);
    bytes.extend(giaddr);
    bytes.extend(CARD.0);
    bytes.resize(236, 0);
    bytes.extend([99, 130, 83, 99]);
    for (code, data) in options {
        bytes.extend([*code, data.len() as u8]);
        bytes.extend(*data);
    }
    bytes.push(255);
    bytes
}

fn direct(options: &[Raw<'_>]) -> Vec<u8> {
    packet(0, [0; 4], [0; 4], options)
}

fn to_all(options: &[Raw<'_>]) -> Vec<u8> {
    packet(0x8000, [0; 4], [0; 4], options)
}

/// Returns all clients, by name.
pub(super) fn all() -> Vec<(&'static str, Vec<u8>)> {
    let all = [firmware(), loaders(), systems(), windows()];
    all.into_iter().flatten().collect()
}

/// Returns the clients in firmware.
fn firmware() -> Vec<(&'static str, Vec<u8>)> {
    let pxe = |architecture: &'static [u8], class: &'static [u8]| {
        to_all(&[
            (53, &[1]),
            (57, &[4, 0xec]),
            (55, ROM_ASKS),
            (97, UUID),
            (93, architecture),
            (94, &[1, 2, 1]),
            (60, class),
        ])
    };
    vec![
        (
            "BIOS ROM",
            pxe(&[0, 0], b"PXEClient:Arch:00000:UNDI:002001"),
        ),
        (
            "EDK II, PXE",
            pxe(&[0, 7], b"PXEClient:Arch:00007:UNDI:003001"),
        ),
        (
            "EDK II, PXE, ARM64",
            pxe(&[0, 11], b"PXEClient:Arch:00011:UNDI:003000"),
        ),
        (
            "UEFI of 32 bits",
            pxe(&[0, 6], b"PXEClient:Arch:00006:UNDI:003016"),
        ),
        (
            "EDK II, HTTP boot",
            pxe(&[0, 16], b"HTTPClient:Arch:00016:UNDI:003001"),
        ),
        (
            "Windows' bootmgfw",
            pxe(&[0, 7], b"PXEClient:Arch:00007:UNDI:003016"),
        ),
    ]
}

/// Returns the clients in programs that firmware loads.
fn loaders() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (
            "Windows' wdsmgfw, to the port of proxyDHCP",
            packet(
                0,
                [10, 20, 0, 107],
                [0; 4],
                &[
                    (53, &[3]),
                    (54, &[10, 20, 0, 2]),
                    (97, UUID),
                    (93, &[0, 7]),
                    (60, b"PXEClient"),
                    (250, &[12, 1, 1, 13, 2, 8, 0, 1, 2, 0, 7, 255]),
                ],
            ),
        ),
        (
            "iPXE",
            direct(&[
                (53, &[1]),
                (57, &[5, 0xc0]),
                (93, &[0, 0]),
                (94, &[1, 2, 1]),
                (60, b"PXEClient:Arch:00000:UNDI:002001"),
                (77, b"iPXE"),
                (
                    55,
                    &[1, 3, 6, 7, 12, 15, 17, 43, 60, 66, 67, 119, 128, 175, 203],
                ),
                (
                    175,
                    &[177, 5, 1, 0x10, 0xec, 0x81, 0x39, 235, 3, 1, 0, 0, 23, 1, 1],
                ),
                (61, &[1, 0x52, 0x54, 0, 0, 0, 7]),
                (97, UUID),
            ]),
        ),
    ]
}

/// Returns the clients of operating systems, and relayed ones.
fn systems() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (
            "dhclient",
            direct(&[
                (53, &[3]),
                (54, &[10, 20, 0, 2]),
                (50, &[10, 20, 0, 120]),
                (12, b"box"),
                (55, &[1, 28, 2, 3, 15, 6, 119, 12, 44, 47, 26, 121, 42]),
            ]),
        ),
        (
            "udhcpc",
            direct(&[
                (53, &[1]),
                (61, &[1, 0x52, 0x54, 0, 0, 0, 7]),
                (57, &[2, 0x40]),
                (55, &[1, 3, 6, 12, 15, 28, 42]),
                (60, b"udhcp 1.37.0"),
            ]),
        ),
        (
            "systemd-networkd, renewing",
            packet(
                0,
                [10, 20, 0, 120],
                [0; 4],
                &[
                    (53, &[3]),
                    (
                        61,
                        &[
                            255, 0xb6, 0x22, 0xf, 0xeb, 0, 2, 0, 0, 0xab, 0x11, 1, 2, 3, 4,
                        ],
                    ),
                    (57, &[5, 0xc0]),
                    (145, &[1]),
                    (12, b"box.example"),
                    (55, &[1, 3, 6, 12, 15, 26, 33, 42, 119, 120, 121]),
                ],
            ),
        ),
        (
            "a relay with option 82",
            packet(
                0,
                [0; 4],
                [10, 20, 0, 1],
                &[
                    (53, &[1]),
                    (
                        82,
                        &[
                            1, 4, b'p', b'o', b'r', b't', 2, 2, 0, 7, 5, 4, 10, 30, 0, 0, 11, 4,
                            10, 20, 0, 1,
                        ],
                    ),
                ],
            ),
        ),
        (
            "a host name in Latin-1",
            direct(&[(53, &[1]), (12, b"k\xfcche pc\0")]),
        ),
    ]
}

/// Returns the clients of Windows, by the options that it is known to send.
fn windows() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (
            "Windows 10 without an address",
            to_all(&[
                (53, &[1]),
                (61, &[1, 0x52, 0x54, 0, 0, 0, 7]),
                (50, &[10, 20, 0, 120]),
                (12, b"DESKTOP-4XK2"),
                (60, b"MSFT 5.0"),
                (55, WINDOWS_ASKS),
            ]),
        ),
        (
            "Windows 10 that takes an offer",
            direct(&[
                (53, &[3]),
                (61, &[1, 0x52, 0x54, 0, 0, 0, 7]),
                (50, &[10, 20, 0, 120]),
                (54, &[10, 20, 0, 2]),
                (12, b"DESKTOP-4XK2"),
                (81, b"\0\0\0DESKTOP-4XK2"),
                (60, b"MSFT 5.0"),
                (55, WINDOWS_ASKS),
            ]),
        ),
        (
            "Windows 10 that looks for a proxy",
            packet(
                0,
                [10, 20, 0, 120],
                [0; 4],
                &[
                    (53, &[8]),
                    (61, &[1, 0x52, 0x54, 0, 0, 0, 7]),
                    (12, b"DESKTOP-4XK2"),
                    (60, b"MSFT 5.0"),
                    (55, WINDOWS_ASKS),
                ],
            ),
        ),
    ]
}
