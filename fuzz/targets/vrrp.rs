//! An advertisement of VRRP, versions 2 and 3.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::vrrp::advert::{Expected, GROUP_V4, decode};
use protocol::vrrp::{Authentication, VrrpVersion};

fuzz_target!(|input: (bool, Option<[u8; 8]>, &[u8])| {
    let (is_third, password, bytes) = input;
    let authentication = password.map(Authentication::Pass);
    let to = [GROUP_V4.into()];
    let expected = Expected {
        version: if is_third {
            VrrpVersion::V3
        } else {
            VrrpVersion::V2
        },
        vrid: bytes.get(1).copied().unwrap_or(1),
        authentication: authentication.as_ref(),
        from: [192, 0, 2, 1].into(),
        to: &to,
    };
    let _ = decode(bytes, &expected);
});
