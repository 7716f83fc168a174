//! Tests the NTLM examples of [MS-NLMP] 4.2.4, and forged messages.

use super::crypt::{hmac_md5, rc4, response_key};
use super::*;
use proptest::prelude::*;

const SERVER: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Returns the AUTHENTICATE of the example, 4.2.4.3.
fn example() -> Vec<u8> {
    hex("
        4e 54 4c 4d 53 53 50 00 03 00 00 00 18 00 18 00 6c 00 00 00 54 00 54 00 84 00 00 00 0c 00 0c 00
        48 00 00 00 08 00 08 00 54 00 00 00 10 00 10 00 5c 00 00 00 10 00 10 00 d8 00 00 00 35 82 88 e2
        05 01 28 0a 00 00 00 0f 44 00 6f 00 6d 00 61 00 69 00 6e 00 55 00 73 00 65 00 72 00 43 00 4f 00
        4d 00 50 00 55 00 54 00 45 00 52 00 86 c3 50 97 ac 9c ec 10 25 54 76 4a 57 cc cc 19 aa aa aa aa
        aa aa aa aa 68 cd 0a b8 51 e5 1c 96 aa bc 92 7b eb ef 6a 1c 01 01 00 00 00 00 00 00 00 00 00 00
        00 00 00 00 aa aa aa aa aa aa aa aa 00 00 00 00 02 00 0c 00 44 00 6f 00 6d 00 61 00 69 00 6e 00
        01 00 0c 00 53 00 65 00 72 00 76 00 65 00 72 00 00 00 00 00 00 00 00 00 c5 da d2 54 4f c9 79 90
        94 ce 1c e9 0b c9 d0 3e")
}

fn negotiate() -> Vec<u8> {
    hex("4e544c4d53535000 01000000 b78208e2 0000000000000000 0000000000000000 0501280a0000000f")
}

fn exchange() -> Exchange {
    let target = NtlmTarget {
        name: "office",
        host: "desktop.example.org",
    };
    Exchange::new(&negotiate(), SERVER, target, 0x01da_0000_0000_0000).unwrap()
}

/// A client that knows the password and responds to a challenge.
struct Client<'a> {
    password: &'a str,
    has_mic: bool,
    exchanges_key: bool,
    channel: [u8; 16],
}

impl Client<'_> {
    const HONEST: Client<'static> = Client {
        password: "secret",
        has_mic: true,
        exchanges_key: true,
        channel: [7; 16],
    };

    fn answers(&self, exchange: &Exchange) -> Vec<u8> {
        let (user, domain) = (wide("anna"), wide("EXAMPLE"));
        let mut pairs = vec![
            6,
            0,
            4,
            0,
            if self.has_mic { 2 } else { 0 },
            0,
            0,
            0,
            10,
            0,
            16,
            0,
        ];
        pairs.extend(self.channel);
        pairs.extend([0; 4]);
        let temp = [
            vec![1, 1, 0, 0, 0, 0, 0, 0],
            vec![0; 8],
            vec![0xaa; 8],
            vec![0; 4],
            pairs,
            vec![0; 4],
        ]
        .concat();
        let key = response_key(&nt_hash(self.password), "anna", "EXAMPLE");
        let proof = hmac_md5(&key, &[&SERVER, &temp]);
        let base = hmac_md5(&key, &[&proof]);
        let (flags, session, sealed) = if self.exchanges_key {
            (
                0xe208_8235_u32,
                [0x55; 16],
                rc4(&base, &[0x55; 16]).to_vec(),
            )
        } else {
            (0xa208_8235, base, Vec::new())
        };
        let response = [proof.to_vec(), temp].concat();
        let parts = [&[][..], &response, &domain, &user, &[], &sealed];
        let mut message = b"NTLMSSP\0\x03\0\0\0".to_vec();
        let mut at = 88;
        for part in parts {
            let length = u16::try_from(part.len()).unwrap();
            message.extend(length.to_le_bytes());
            message.extend(length.to_le_bytes());
            message.extend(u32::try_from(at).unwrap().to_le_bytes());
            at += part.len();
        }
        message.extend(flags.to_le_bytes());
        message.extend([0; 8 + 16]);
        message.extend(parts.concat());
        let mic = hmac_md5(&session, &[&negotiate(), exchange.challenge(), &message]);
        message[72..88].copy_from_slice(&mic);
        message
    }

    fn is(&self, channels: &[[u8; 16]]) -> Result<(), NtlmAuthenticationError> {
        let exchange = exchange();
        let message = Authenticate::decode(&self.answers(&exchange)).unwrap();
        message.verify(&exchange, &nt_hash("secret"), channels)
    }
}

#[test]
fn the_hashes_are_those_of_the_specification() {
    assert_eq!(
        nt_hash("Password").to_vec(),
        hex("a4f49c406510bdcab6824ee7c30fd852")
    );
    let key = response_key(&nt_hash("Password"), "User", "Domain");
    assert_eq!(key.to_vec(), hex("0c868a403bfd7a93a3001ef22ef02e3f"));
    let message = example();
    let (proof, temp) = (&message[0x84..0x94], &message[0x94..0xd8]);
    assert_eq!(hmac_md5(&key, &[&SERVER, temp]).to_vec(), proof);
    let base = hmac_md5(&key, &[proof]);
    assert_eq!(base.to_vec(), hex("8de40ccadbc14a82f15cb0ad0de95ca3"));
    let sealed: [u8; 16] = message[0xd8..].try_into().unwrap();
    assert_eq!(rc4(&base, &sealed), [0x55; 16]);
}

#[test]
fn the_example_is_read_and_refused_only_for_its_missing_integrity_code() {
    let message = Authenticate::decode(&example()).unwrap();
    assert_eq!(
        (message.user.as_str(), message.domain.as_str()),
        ("User", "Domain")
    );
    let verify = |password| message.verify(&exchange(), &nt_hash(password), &[]);
    assert_eq!(verify("Password"), Err(NtlmAuthenticationError::NoMic));
    assert_eq!(verify("password"), Err(NtlmAuthenticationError::Wrong));
}

#[test]
fn a_challenge_has_the_nonce_the_names_and_the_time() {
    let challenge = exchange().challenge().to_vec();
    assert!(challenge.starts_with(b"NTLMSSP\0\x02\0\0\0\x0c\0\x0c\0\x38\0\0\0"));
    // Flags that the client requested, without sealing of datagrams, OEM names and LM.
    assert_eq!(challenge[20..24], 0xe28a_8235_u32.to_le_bytes());
    assert_eq!(challenge[24..32], SERVER);
    assert_eq!(challenge[56..68], wide("OFFICE"));
    let info = usize::from(u16::from_le_bytes([challenge[40], challenge[41]]));
    assert_eq!(challenge.len(), 68 + info);
    let end = [
        b"\x07\0\x08\0".as_slice(),
        &0x01da_0000_0000_0000_u64.to_le_bytes(),
        &[0; 4],
    ];
    assert!(challenge.ends_with(&end.concat()));
}

#[test]
fn correct_password_is_accepted_and_each_forgery_refused() {
    let honest = Client::HONEST;
    assert_eq!(honest.is(&[[1; 16], [7; 16]]), Ok(()));
    assert_eq!(
        honest.is(&[[1; 16]]),
        Err(NtlmAuthenticationError::OtherChannel)
    );
    let unbound = Client {
        channel: [0; 16],
        ..Client::HONEST
    };
    assert_eq!(unbound.is(&[[1; 16]]), Ok(()));
    let plain = Client {
        exchanges_key: false,
        ..Client::HONEST
    };
    assert_eq!(plain.is(&[[7; 16]]), Ok(()));
    let wrong = Client {
        password: "Secret",
        ..Client::HONEST
    };
    assert_eq!(wrong.is(&[[7; 16]]), Err(NtlmAuthenticationError::Wrong));
    let open = Client {
        has_mic: false,
        ..Client::HONEST
    };
    assert_eq!(open.is(&[[7; 16]]), Err(NtlmAuthenticationError::NoMic));
    // A response from another exchange.
    let exchange = exchange();
    let message = Authenticate::decode(&honest.answers(&exchange)).unwrap();
    let target = NtlmTarget {
        name: "a",
        host: "b",
    };
    let other = Exchange::new(&negotiate(), [9; 8], target, 0).unwrap();
    let verify = message.verify(&other, &nt_hash("secret"), &[[7; 16]]);
    assert_eq!(verify, Err(NtlmAuthenticationError::Wrong));
}

#[test]
fn every_prefix_and_every_changed_byte_is_refused() {
    let exchange = exchange();
    let good = Client::HONEST.answers(&exchange);
    let is_known = |bytes: &[u8]| {
        let message = Authenticate::decode(bytes);
        message.is_ok_and(|one| {
            one.verify(&exchange, &nt_hash("secret"), &[[7; 16]])
                .is_ok()
        })
    };
    assert!(is_known(&good));
    for length in 0..good.len() {
        assert!(!is_known(&good[..length]), "{length}");
    }
    for at in 0..good.len() {
        for bit in [1, 0x10, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= bit;
            assert!(!is_known(&bad), "byte {at}");
        }
    }
    for length in 0..16 {
        let target = NtlmTarget {
            name: "a",
            host: "b",
        };
        assert!(Exchange::new(&negotiate()[..length], SERVER, target, 0).is_err());
    }
    let old = [&b"NTLMSSP\0\x01\0\0\0"[..], &[2, 0, 0, 0]].concat();
    let target = NtlmTarget {
        name: "a",
        host: "b",
    };
    assert_eq!(
        Exchange::new(&old, SERVER, target, 0).unwrap_err().field,
        "flags"
    );
}

#[test]
fn channel_bindings_are_hashed_as_in_rfc_5929() {
    // MD5 of 16 zeros, the length 0x35 and `tls-server-end-point:` before 32 zeros.
    let bytes = [
        &[0; 16][..],
        &53_u32.to_le_bytes(),
        b"tls-server-end-point:",
        &[0; 32],
    ]
    .concat();
    let expected: [u8; 16] = {
        use md5::Digest;
        md5::Md5::digest(bytes).into()
    };
    assert_eq!(channel_hash(&[0; 32]), expected);
}

proptest! {
    #[test]
    fn no_bytes_are_a_proof(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let whole = [&b"NTLMSSP\0\x03\0\0\0"[..], &bytes].concat();
        for bytes in [bytes.as_slice(), &whole] {
            if let Ok(message) = Authenticate::decode(bytes) {
                prop_assert!(message.verify(&exchange(), &[0; 16], &[]).is_err());
            }
            let _ = Exchange::new(bytes, SERVER, NtlmTarget { name: "", host: "" }, 0);
        }
    }
}
