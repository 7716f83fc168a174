//! Builds the packets that a simple client sends over TLS until it is redirected. The benchmark of
//! farms uses them, too.

#[derive(Clone, Copy)]
pub struct Person<'a> {
    pub domain: &'a str,
    pub user: &'a str,
    pub machine: &'a str,
    pub follows: bool,
}

impl<'a> Person<'a> {
    pub fn named(user: &'a str) -> Person<'a> {
        Person {
            domain: "",
            user,
            machine: "PC",
            follows: true,
        }
    }
}

/// Builds the packets that the server answers with one packet each, in order: the settings, the
/// user attachment, and one packet for each channel (MS-RDPBCGR 1.3.1.1).
pub fn answered(person: Person<'_>) -> Vec<Vec<u8>> {
    let attach = [data(b"\x04\x01\0\x01\0"), data(b"\x28")].concat();
    let join = |channel: u16| data(&[b"\x38\0\x06".as_slice(), &channel.to_be_bytes()].concat());
    let joins = [1007, 1003, 1004].map(join);
    [connect_initial(person), attach]
        .into_iter()
        .chain(joins)
        .collect()
}

fn data(bytes: &[u8]) -> Vec<u8> {
    let length = short(bytes.len() + 7).to_be_bytes();
    [b"\x03\0".as_slice(), &length, b"\x02\xf0\x80", bytes].concat()
}

/// Encodes a length in two bytes; those of the tests are below the limit.
fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn block(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = short(data.len() + 4);
    [&kind.to_le_bytes(), &length.to_le_bytes(), data].concat()
}

fn connect_initial(person: Person<'_>) -> Vec<u8> {
    let mut core = vec![0; 20];
    let mut name = wide(person.machine);
    name.resize(32, 0);
    core.extend(name);
    core.resize(212, 0);
    let net = [b"\x01\0\0\0".as_slice(), b"cliprdr\0", b"\0\0\0\0"].concat();
    let cluster = [u8::from(person.follows), 0, 0, 0, 0, 0, 0, 0];
    let blocks = [
        block(0xc001, &core),
        block(0xc003, &net),
        block(0xc004, &cluster),
    ]
    .concat();
    let per = |length: usize| short(length | 0x8000).to_be_bytes();
    let request = b"\0\x08\0\x10\0\x01\xc0\0Duca";
    let length = per(request.len() + 2 + blocks.len());
    let user_data = [
        b"\0\x05\0\x14\x7c\0\x01".as_slice(),
        &length,
        request,
        &per(blocks.len()),
        &blocks,
    ];
    let user_data = user_data.concat();
    let ber = |length: usize| [vec![0x82], short(length).to_be_bytes().to_vec()].concat();
    let parameters = b"\x30\x03\x02\x01\x22";
    let head = b"\x04\x01\x01\x04\x01\x01\x01\x01\xff";
    let body = [
        head.as_slice(),
        parameters,
        parameters,
        parameters,
        &[4],
        &ber(user_data.len()),
        &user_data,
    ];
    let body = body.concat();
    data(&[b"\x7f\x65".as_slice(), &ber(body.len()), &body].concat())
}

/// Builds the Client Info packet (MS-RDPBCGR 2.2.1.11).
pub fn client_info(person: Person<'_>) -> Vec<u8> {
    let texts = [person.domain, person.user, "secret", "", ""].map(wide);
    let mut info = [0_u32, 0x33].map(u32::to_le_bytes).concat();
    for text in &texts {
        info.extend(short(text.len()).to_le_bytes());
    }
    for text in &texts {
        info.extend(text);
        info.extend([0, 0]);
    }
    let info = [b"\x40\0\0\0".as_slice(), &info].concat();
    let length = short(info.len() | 0x8000).to_be_bytes();
    data(&[b"\x64\0\x06\x03\xeb\x70".as_slice(), &length, &info].concat())
}
