use crate::http1::*;

#[test]
fn a_plain_request_is_parsed() {
    let mut m = Message::new();
    let b = b"GET /a?b HTTP/1.1\r\nHost: A\r\nConnection: keep-alive\r\nX:  y \r\n\r\nrest";
    let Ok(Outcome::Done(p)) = parse_request(b, &Limits::default(), &mut m) else {
        panic!()
    };
    assert_eq!(&b[p.consumed..], b"rest");
    let mut out = Vec::new();
    m.write_http1(&mut out);
    assert_eq!(out, b"GET /a?b HTTP/1.1\r\nhost: A\r\nx: y\r\n\r\n");
}
