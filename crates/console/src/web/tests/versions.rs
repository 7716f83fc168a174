//! Changes of the configuration by programs, and what became of them.

use super::*;
use serde_json::Value;

fn apply(bed: &mut Bed, text: &str, message: &str, further: &str) -> (u16, Value) {
    let body = format!("of=1&path=/a.cfg&text={text}&message={message}{further}");
    let reply = bed.ask("POST", "/api/v1/apply", b"Bearer right", &body);
    let value = serde_json::from_str(&reply.body).unwrap();
    (reply.status, value)
}

#[test]
fn who_waits_hears_what_became_of_the_version() {
    let mut bed = Bed::new(vec![issued("right", "anna", Scope::Configure)]);
    for (message, status, outcome) in [
        ("accepted", 200, "accepted"),
        ("confirm", 200, "awaits confirmation"),
        ("refused", 422, "refused"),
        ("rolled+back", 409, "rolled back"),
    ] {
        let (is, body) = apply(&mut bed, "global", message, "&wait=300");
        assert_eq!((is, &body["outcome"]), (status, &outcome.into()), "{body}");
        let words = message.replace('+', " ");
        assert_eq!(body["why"], format!("why {words}"), "{body}");
        assert_eq!(body["nodes"][0]["node"], "beta", "{body}");
        assert_eq!(body["nodes"][0]["says"], format!("beta {words}"), "{body}");
        assert_eq!(body["error"].is_null(), status == 200, "{body}");
    }
    let (is, body) = apply(&mut bed, "global", "slow", "&wait=1");
    assert_eq!(
        (is, &body["outcome"]),
        (202, &"in progress".into()),
        "{body}"
    );
    assert_eq!(body["version"], 6);
    // Without it, as soon as it is proposed.
    let (is, body) = apply(&mut bed, "global", "refused", "");
    assert_eq!((is, &body["version"]), (200, &4.into()), "{body}");
    assert_eq!(body["done"], "apply");
}

#[test]
fn what_this_machine_could_not_serve_is_refused_with_the_findings() {
    let mut bed = Bed::new(vec![issued("right", "anna", Scope::Configure)]);
    for further in ["", "&wait=9"] {
        let (is, body) = apply(&mut bed, "wrong", "accepted", further);
        assert_eq!(is, 422, "{body}");
        assert_eq!(body["findings"]["all"][0]["code"], "E0303", "{body}");
        assert_eq!(body["findings"]["all"][0]["line"], 1, "{body}");
        assert!(
            body["error"]
                .as_str()
                .unwrap()
                .contains("nothing was changed")
        );
    }
    for wrong in ["x", "301", "-1"] {
        let (is, body) = apply(&mut bed, "global", "accepted", &format!("&wait={wrong}"));
        assert_eq!(is, 400, "{body}");
    }
    assert!(bed.ordered.is_empty(), "{:?}", bed.ordered);
}
