//! Tests the bytes that the LDAP client sends and reads, and hostile bytes.

use super::request::{Search, bind, search, start_tls, unbind};
use super::*;
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn requests_have_the_bytes_of_the_specification() {
    assert_eq!(
        hex(&bind(1, "cn=a", b"pw")),
        "301202010160".to_owned() + "0d020103" + "0404636e3d61" + "80027077"
    );
    assert_eq!(
        hex(&start_tls(1)),
        "301d02010177188016312e332e362e312e342e312e313436362e3230303337"
    );
    assert_eq!(hex(&unbind(300)), "30060202012c4200");
    let filter = LdapFilter::parse("(uid=anna)").unwrap();
    let asked = Search {
        base: "dc=x",
        filter: &filter,
        attributes: &["uid"],
        entries_max: 2,
        time_s: 200,
    };
    assert_eq!(
        hex(&search(2, &asked)),
        "302f02010263".to_owned()
            + "2a"
            + "040464633d78"
            + "0a01020a0100020102020200c8010100"
            + "a30b04037569640404616e6e61"
            + "300504037569"
            + "64"
    );
}

#[test]
fn filters_have_all_kinds_and_values_are_never_a_part_of_them() {
    let encoded = |text: &str| hex(&LdapFilter::parse(text).unwrap().encode());
    assert_eq!(encoded("(cn=*)"), "8702636e");
    assert_eq!(encoded("(!(a>=1))"), "a208a506040161040131");
    assert_eq!(encoded("(&)"), "a000");
    assert_eq!(
        encoded("(|(a<=1)(a~=2))"),
        "a110a606040161040131a806040161040132"
    );
    assert_eq!(
        encoded("(a=x*y*z)"),
        "a40e0401613009".to_owned() + "800178810179" + "82017a"
    );
    assert_eq!(encoded("(a=*y)"), "a408040161300382017".to_owned() + "9");
    assert_eq!(encoded(r"(a=\2a\28)"), "a3070401610402".to_owned() + "2a28");
    assert_eq!(
        encoded("(m:1.2.3:=v)"),
        "a90d".to_owned() + "8105312e322e33" + "82016d" + "830176"
    );
    assert_eq!(
        encoded("(o:dn:=v)"),
        "a90982016f830176".to_owned() + "8401ff"
    );
    for (wrong, why) in [
        ("", WrongFilter::Parentheses),
        ("uid=a", WrongFilter::Parentheses),
        ("(uid=a", WrongFilter::Parentheses),
        ("(uid=a))", WrongFilter::Parentheses),
        ("(&(uid=a)x)", WrongFilter::Parentheses),
        ("(uid=a(b)", WrongFilter::Parentheses),
        ("(uid)", WrongFilter::Comparison),
        ("(%u=a)", WrongFilter::Attribute),
        ("(=a)", WrongFilter::Attribute),
        ("(:=a)", WrongFilter::Attribute),
        ("(a:dn:b:c:=a)", WrongFilter::Attribute),
        (r"(a=\2)", WrongFilter::Escape),
        (r"(a=\zz)", WrongFilter::Escape),
    ] {
        assert_eq!(LdapFilter::parse(wrong), Err(why), "{wrong}");
    }
    let deep = "(!".repeat(100_000);
    assert_eq!(LdapFilter::parse(&deep), Err(WrongFilter::TooLarge));
    let deep = "(!".repeat(20);
    assert_eq!(LdapFilter::parse(&deep), Err(WrongFilter::TooLarge));
}

#[test]
fn attributes_naming_a_user_are_compared_for_equality() {
    let of = |text: &str| {
        let filter = LdapFilter::parse(text).unwrap();
        let names = filter.equal_to(&["%u", "%n"]);
        names.join(" ")
    };
    assert_eq!(
        of("(&(objectClass=user)(sAMAccountName=%u))"),
        "sAMAccountName"
    );
    assert_eq!(of("(|(uid=%u)(mail=%n))"), "uid mail");
    assert_eq!(of("(member:1.2:=%u)"), "member");
    assert_eq!(of("(&(cn=x%u)(!(uid=%u)))"), "");
}

#[test]
fn the_first_value_of_a_name_is_without_its_escapes() {
    let first = |name: &str| first_value(name).unwrap_or_default();
    assert_eq!(
        first("CN=Desktop Users,OU=Groups,DC=example"),
        "Desktop Users"
    );
    assert_eq!(first(r"cn=a\, b\20 ,dc=x"), "a, b ");
    assert_eq!(first(r"cn=M\C3\BCller+uid=7,dc=x"), "Müller");
    assert_eq!(first("cn=one"), "one");
    for none in [
        "",
        "cn",
        "cn=",
        "cn=#0401",
        r"cn=a\",
        r"cn=\C3",
        "cn= ,dc=x",
    ] {
        assert_eq!(first_value(none), None, "{none}");
    }
}

/// Returns a message as a server sends it.
fn message(id: u32, tag: u8, inside: &[Vec<u8>]) -> Vec<u8> {
    let reply = ber::value(tag, &inside.concat());
    ber::value(
        ber::SEQUENCE,
        &[ber::number(ber::INTEGER, id), reply].concat(),
    )
}

fn octets(text: &str) -> Vec<u8> {
    ber::value(ber::OCTETS, text.as_bytes())
}

fn outcome(code: u32, words: &str) -> [Vec<u8>; 3] {
    [
        ber::number(ber::ENUMERATED, code),
        octets(""),
        octets(words),
    ]
}

fn an_entry() -> Vec<u8> {
    let values = [
        octets("anna"),
        ber::value(ber::OCTETS, &[0xff]),
        octets("a"),
    ];
    let values = ber::value(ber::SET, &values.concat());
    let attribute = ber::value(ber::SEQUENCE, &[octets("uid"), values].concat());
    let list = ber::value(ber::SEQUENCE, &attribute);
    message(2, 0x64, &[octets("uid=anna,dc=x"), list])
}

#[test]
fn replies_are_parsed_byte_by_byte() {
    let bytes = [
        message(1, 0x61, &outcome(49, "no\u{1b}\n")),
        an_entry(),
        message(2, 0x73, &[octets("ldap://elsewhere")]),
        message(2, 0x65, &outcome(0, &"x".repeat(300))),
        message(3, 0x78, &outcome(0, "")),
    ];
    let (mut replies, mut all) = (Replies::default(), Vec::new());
    for byte in bytes.concat() {
        replies.add(&[byte]);
        all.extend(replies.take().unwrap());
    }
    assert!(replies.is_empty());
    let of = |code, words: &str| LdapResult {
        code,
        words: words.to_owned(),
    };
    let entry = LdapEntry {
        name: "uid=anna,dc=x".to_owned(),
        attributes: vec![("uid".to_owned(), vec!["anna".to_owned(), "a".to_owned()])],
    };
    assert_eq!(entry.values("UID"), ["anna", "a"]);
    let named = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
    let ranged = LdapEntry {
        name: String::new(),
        attributes: vec![
            ("memberOf".to_owned(), Vec::new()),
            named("memberOf;lang-de", "x"),
            named("memberOf;Range=0-1499", "cn=a"),
        ],
    };
    assert_eq!(ranged.values("memberof"), ["cn=a"]);
    assert_eq!(
        all,
        [
            (1, LdapResponse::Bound(of(49, "no"))),
            (2, LdapResponse::Entry(entry)),
            (2, LdapResponse::Other),
            (2, LdapResponse::Done(of(0, &"x".repeat(200)))),
            (3, LdapResponse::Extended(of(0, ""))),
        ]
    );
}

#[test]
fn hostile_replies_are_refused_before_they_are_kept() {
    let next = |bytes: &[u8]| {
        let mut replies = Replies::default();
        replies.add(bytes);
        replies.take()
    };
    assert_eq!(
        next(&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]),
        Err(BerError::TooLarge)
    );
    assert_eq!(next(&[0x30, 0x80]), Err(BerError::Length));
    assert_eq!(next(&[0x30, 0x85, 0, 0, 0, 0, 1]), Err(BerError::Length));
    assert_eq!(next(b"HTTP/1.1 400"), Err(BerError::Type));
    assert_eq!(next(&[0x3f, 0x81]), Err(BerError::Type));
    // Negative, missing, and longer than its message.
    assert_eq!(next(&[0x30, 0x03, 0x02, 0x01, 0xff]), Err(BerError::Type));
    assert_eq!(next(&[0x30, 0x03, 0x02, 0x01, 1]), Err(BerError::Truncated));
    assert_eq!(next(&[0x30, 0x03, 0x02, 0x7f, 1]), Err(BerError::Truncated));
    // Half of a message is incomplete.
    let entry = an_entry();
    assert_eq!(next(&entry[..entry.len() - 1]), Ok(None));
}

proptest! {
    #[test]
    fn parser_survives_any_bytes_and_text(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,80}") {
        let mut replies = Replies::default();
        replies.add(&bytes);
        while let Ok(Some(_)) = replies.take() {}
        let _ = first_value(&text);
        let _ = LdapFilter::parse(&text).map(|filter| filter.encode());
        let escaped = format!("(uid={})", escape(&text));
        let expected = LdapFilter::Compare(0xa3, "uid".to_owned(), text.into_bytes());
        prop_assert_eq!(LdapFilter::parse(&escaped), Ok(expected));
    }

    #[test]
    fn an_entry_with_a_changed_byte_does_no_harm(index in 0usize..40, byte in any::<u8>()) {
        let mut entry = an_entry();
        let index = index % entry.len();
        entry[index] = byte;
        let mut replies = Replies::default();
        replies.add(&entry);
        while let Ok(Some(_)) = replies.take() {}
    }
}
