//! Pages and connections of displays and terminals, as far as they need no guest.

use super::*;

const SCREEN: &str = "/screen/guest/guest/mail/screen";

fn socket(bed: &mut Bed, cookie: &str, version: &str) -> Reply {
    let request = Request::builder()
        .uri(format!("{SCREEN}/socket"))
        .header("host", "alpha:8600")
        .header("origin", "https://alpha:8600")
        .header("cookie", cookie)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", version);
    bed.request(HOME, request.body(Body::empty()).unwrap())
}

#[test]
fn another_version_of_websocket_is_refused_with_the_one_that_works() {
    let mut bed = bed();
    let olga = session_of(&bed, "olga");
    let reply = socket(&mut bed, &olga, "12");
    assert_eq!(reply.status, 426, "{reply:?}");
    let version = reply.headers.get("sec-websocket-version");
    assert_eq!(version.map(|value| value.as_bytes()), Some(&b"13"[..]));
}
