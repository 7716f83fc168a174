//! Compares with HAProxy the numeric converters, and other types converted to numbers.

use super::{Family, Sample, sample};

pub static FAMILY: Family = Family {
    samples: SAMPLES,
    refused: &[
        "http-request deny if { int(1),add(x) 2 }",
        "http-request deny if { int(1),neg(2) 2 }",
    ],
    ..Family::named("number")
};

static SAMPLES: &[Sample] = &[
    sample("int(5),add(3)"),
    sample("int(9223372036854775807),add(1)"),
    sample("int(-9223372036854775808),add(-1)"),
    sample("int(5),sub(8)"),
    sample("int(-9223372036854775808),sub(1)"),
    sample("int(7),mul(-3)"),
    sample("int(9223372036854775807),mul(2)"),
    sample("int(17),div(5)"),
    sample("int(-17),div(5)"),
    sample("int(17),div(0)"),
    sample("int(-17),div(0)"),
    sample("int(17),mod(5)"),
    sample("int(-17),mod(5)"),
    sample("int(17),mod(0)"),
    sample("int(12),and(10)"),
    sample("int(12),or(3)"),
    sample("int(12),xor(10)"),
    sample("int(12),cpl"),
    sample("int(12),neg"),
    sample("int(-9223372036854775808),neg"),
    sample("int(12),not"),
    sample("int(0),not"),
    sample("int(12),bool"),
    sample("int(0),bool"),
    sample("int(12),even"),
    sample("int(13),even"),
    sample("int(13),odd"),
    sample("int(-13),odd"),
    sample("str(12ab),add(1)"),
    sample("str(-12),add(1)"),
    sample("str(+12),add(1)"),
    sample("str(ab),add(1)"),
    sample("str(),add(1)"),
    sample("bool(true),add(1)"),
    sample("bool(false)"),
    sample("bool(1),not"),
    sample("ipv4(1.2.3.4),add(1)"),
    sample("int(5),add(txn.none)"),
    sample("int(5),add(txn.case)"),
    sample("str(99999999999999999999),add(0)"),
    sample("always_true,add(1)"),
    sample("always_false,add(1)"),
];

#[test]
fn number() {
    lab::skip_unless_installed!("haproxy");
    super::run::compare(&FAMILY);
}
