//! Tests addresses: the accepted and refused ones are those of HAProxy 2.6.12.

use super::*;
use std::net::Ipv4Addr;

fn of(host: AddressHost, port: Port) -> Address {
    Address {
        transport: SocketTransport::Default,
        family: Family::Any,
        host,
        port,
    }
}

fn ip(text: &str) -> AddressHost {
    AddressHost::Ip(text.parse().unwrap())
}

#[test]
fn addresses_to_listen_on_are_read() {
    let cases = [
        ("*:80", of(AddressHost::Any, Port::One(80))),
        (":80", of(AddressHost::Any, Port::One(80))),
        (":80-90", of(AddressHost::Any, Port::Range(80, 90))),
        ("*:80-80", of(AddressHost::Any, Port::Range(80, 80))),
        (":080", of(AddressHost::Any, Port::One(80))),
        ("127.0.0.1:80", of(ip("127.0.0.1"), Port::One(80))),
        ("1.2.3:80", of(ip("1.2.0.3"), Port::One(80))),
        ("0:80", of(ip("0.0.0.0"), Port::One(80))),
        ("0x7f.1:80", of(ip("127.0.0.1"), Port::One(80))),
        ("010.0.0.1:80", of(ip("8.0.0.1"), Port::One(80))),
        ("[::]:80", of(ip("::"), Port::One(80))),
        (":::80", of(ip("::"), Port::One(80))),
        ("::1:80", of(ip("::1"), Port::One(80))),
        ("[1.2.3.4]:80", of(ip("1.2.3.4"), Port::One(80))),
        ("::ffff:1.2.3.4:80", of(ip("::ffff:1.2.3.4"), Port::One(80))),
        (
            "localhost:80",
            of(AddressHost::Name("localhost".into()), Port::One(80)),
        ),
        ("/tmp/x", of(AddressHost::Path("/tmp/x".into()), Port::None)),
        (
            "/tmp/x:80",
            of(AddressHost::Path("/tmp/x:80".into()), Port::None),
        ),
        ("unix@x", of(AddressHost::Path("x".into()), Port::None)),
        ("fd@3", of(AddressHost::Descriptor(3), Port::None)),
        ("sockpair@4", of(AddressHost::Pair(4), Port::None)),
    ];
    for (text, expected) in cases {
        assert_eq!(address(text, &Accepts::BIND), Ok(expected), "{text}");
    }
    let abstract_name = |zero_terminated| AddressHost::Abstract {
        name: "x".into(),
        zero_terminated,
    };
    assert_eq!(
        address("abns@x", &Accepts::BIND).unwrap().host,
        abstract_name(false)
    );
    assert_eq!(
        address("abnsz@x", &Accepts::BIND).unwrap().host,
        abstract_name(true)
    );
}

#[test]
fn prefixes_choose_family_and_transport() {
    let cases = [
        ("ipv4@:80", SocketTransport::Default, Family::V4),
        ("ipv6@*:80", SocketTransport::Default, Family::V6),
        ("ipv6@::1:80", SocketTransport::Default, Family::V6),
        ("ip@:80", SocketTransport::Default, Family::Any),
        ("tcp@:80", SocketTransport::Stream, Family::Any),
        ("tcp6@:80", SocketTransport::Stream, Family::V6),
        ("stream+ipv4@:80", SocketTransport::Stream, Family::V4),
        ("quic4@:80", SocketTransport::Quic, Family::V4),
        ("mptcp@:80", SocketTransport::Multipath, Family::Any),
    ];
    for (text, transport, family) in cases {
        let address = address(text, &Accepts::BIND).unwrap();
        assert_eq!(
            (address.transport, address.family),
            (transport, family),
            "{text}"
        );
    }
    let udp = address("udp4@1.2.3.4:514", &Accepts::LOG).unwrap();
    assert_eq!(udp.transport, SocketTransport::Datagram);
    assert_eq!(udp.host, AddressHost::Ip(Ipv4Addr::new(1, 2, 3, 4).into()));
    assert!(address("udp@:80", &Accepts::DATAGRAM_BIND).is_ok());
}

#[test]
fn addresses_that_cannot_be_listened_on_are_told_in_haproxy_s_words() {
    let cases = [
        ("80", "missing port specification in '80'"),
        ("*", "missing port specification in '*'"),
        (":", "missing port specification in ':'"),
        ("127.0.0.1:", "missing port specification in '127.0.0.1:'"),
        ("[::1]80", "missing port specification in '[::1]80'"),
        ("stdout", "missing port specification in 'stdout'"),
        (":0", "invalid port '0'"),
        (":00", "invalid port '00'"),
        (":65536", "invalid port '65536'"),
        (":80-", "invalid port ''"),
        (":80-65536", "invalid port '65536'"),
        (":90-80", "invalid port range '90-80'"),
        (":-80", "port offset not permitted here in ':-80'"),
        (":+80", "port offset not permitted here in ':+80'"),
        (
            ":abc",
            "invalid character 'a' in port number 'abc' in ':abc'",
        ),
        (
            "*: 80",
            "invalid character ' ' in port number ' 80' in '*: 80'",
        ),
        ("::80", "invalid address: ':' in '::80'"),
        ("[::1:80", "invalid address: '[::1' in '[::1:80'"),
        ("::1]:80", "invalid address: '::1]' in '::1]:80'"),
        (
            "fe80::1%lo:80",
            "invalid address: 'fe80::1%lo' in 'fe80::1%lo:80'",
        ),
        (
            "256.1.1.1:80",
            "invalid address: '256.1.1.1' in '256.1.1.1:80'",
        ),
        ("IPV4@:80", "invalid address: 'IPV4@' in 'IPV4@:80'"),
        ("a b:80", "invalid address: 'a b' in 'a b:80'"),
        (
            "ipv6@1.2.3.4:80",
            "invalid address: '1.2.3.4' is not an IPv6 address",
        ),
        ("udp@:80", "dgram-type address not acceptable in 'udp@:80'"),
        (
            "fd@3x",
            "file descriptor '3x' is not a valid integer in 'fd@3x'",
        ),
        (
            "fd@-1",
            "file descriptor '-1' is not a valid integer in 'fd@-1'",
        ),
        (
            "",
            "'' resolves to an empty address (environment variable missing?)",
        ),
        ("unix@", "nothing follows 'unix@'"),
        ("ring@x", "'ring@x' is a ring, which is not supported here"),
    ];
    for (text, expected) in cases {
        let error = address(text, &Accepts::BIND).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
        assert_eq!(error.accepted(), None);
    }
}

#[test]
fn what_haproxy_ignores_behind_a_port_is_a_warning() {
    for text in [":80x", "*:80 "] {
        let error = address(text, &Accepts::BIND).unwrap_err();
        assert_eq!(
            error.accepted(),
            Some(&of(AddressHost::Any, Port::One(80))),
            "{text}"
        );
    }
}

#[test]
fn servers_need_no_port_and_may_count_from_the_client_s() {
    let cases = [
        ("127.0.0.1", of(ip("127.0.0.1"), Port::None)),
        ("127.0.0.1:", of(ip("127.0.0.1"), Port::None)),
        ("127.0.0.1:0", of(ip("127.0.0.1"), Port::One(0))),
        ("*", of(AddressHost::Any, Port::None)),
        (":80", of(AddressHost::Any, Port::One(80))),
        ("[::1]", of(ip("::1"), Port::None)),
        (":+8000", of(AddressHost::Any, Port::Offset(8000))),
        ("127.0.0.1:-100", of(ip("127.0.0.1"), Port::Offset(-100))),
        ("1.2.3.4:+", of(ip("1.2.3.4"), Port::Offset(0))),
        (
            "a.b-c.d:80",
            of(AddressHost::Name("a.b-c.d".into()), Port::One(80)),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(address(text, &Accepts::SERVER), Ok(expected), "{text}");
    }
    for text in [
        "127.0.0.1:80-90",
        "::1",
        "fd@3",
        "127.0.0.1:80,127.0.0.2:80",
        ":65536",
        ":+99999999999",
    ] {
        assert!(address(text, &Accepts::SERVER).is_err(), "{text}");
    }
}

#[test]
fn logs_go_to_outputs_sockets_and_hosts() {
    for (text, host) in [
        ("stdout", AddressHost::Stdout),
        ("stderr", AddressHost::Stderr),
        ("ring@r", AddressHost::Ring("r".into())),
        ("fd@2", AddressHost::Descriptor(2)),
        ("/dev/log", AddressHost::Path("/dev/log".into())),
        ("127.0.0.1", ip("127.0.0.1")),
    ] {
        assert_eq!(
            address(text, &Accepts::LOG),
            Ok(of(host, Port::None)),
            "{text}"
        );
    }
    assert!(address("127.0.0.1:80-90", &Accepts::LOG).is_err());
    assert!(address("127.0.0.1:+1", &Accepts::LOG).is_err());
    assert!(address("10.0.0.1:1024-2000", &Accepts::SERVER_SOURCE).is_ok());
    assert!(address("10.0.0.1:1024-2000", &Accepts::SOURCE).is_err());
}

#[test]
fn socket_names_have_the_lengths_that_haproxy_allows() {
    let path = |n: usize| format!("/{}", "a".repeat(n - 1));
    assert!(address(&path(PATH_MAX), &Accepts::BIND).is_ok());
    assert!(address(&path(PATH_MAX + 1), &Accepts::BIND).is_err());
    let name = |n: usize| format!("abns@{}", "a".repeat(n));
    assert!(address(&name(ABSTRACT_MAX), &Accepts::BIND).is_ok());
    assert!(address(&name(ABSTRACT_MAX + 1), &Accepts::BIND).is_err());
}

#[test]
fn errors_say_the_next_step() {
    let help = |text| address(text, &Accepts::BIND).unwrap_err().help();
    assert_eq!(
        help("80").unwrap(),
        "to listen on port 80 of all addresses write ':80'"
    );
    assert_eq!(help("10.0.0.1").unwrap(), "write '10.0.0.1:PORT'");
    assert_eq!(help(":90-80").unwrap(), "write 80-90");
}
