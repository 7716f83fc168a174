//! Tests displays and terminals without a guest.

use super::*;

const SCREEN: &str = "/screen/guest/guest/mail/screen";

fn socket(bed: &mut ConsoleFixture, cookie: &str, version: &str) -> TestResponse {
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

#[test]
fn an_old_display_link_redirects_to_the_current_kind() {
    let mut bed = bed();
    let olga = session_of(&bed, "olga");
    let mut members = sample::platform().members;
    let look = Arc::make_mut(members[0].look.as_mut().unwrap());
    let reports = &mut look.reports;
    let guests = reports.iter_mut().find(|one| one.part == "guest").unwrap();
    guests.subjects[0].offers = vec![sample::screen().opens(part::report::Opens::Spice)];
    let name = guests.subjects[0].name.clone();
    bed.shared.publish(members, Arc::default());
    let mut get = |path: &str| {
        let request = Request::get(path).header("cookie", &olga);
        bed.request(HOME, request.body(Body::empty()).unwrap())
    };
    let path = |kind: &str| format!("/{kind}/guest/guest/{name}/screen");
    let old = get(&path("screen"));
    assert_eq!(old.status, 303, "{old:?}");
    let location = old.headers.get("location").map(|value| value.as_bytes());
    assert_eq!(location, Some(path("spice").as_bytes()));
    assert_eq!(get(&path("spice")).status, 200);
    // The connection of an open page is refused with the reason.
    let why = get(&format!("{}/socket", path("screen")));
    assert_eq!(why.status, 409);
    assert!(why.body.contains("now has another page"), "{why:?}");
    assert_eq!(get(&format!("{}/socket", path("spice"))).status, 200);
}
