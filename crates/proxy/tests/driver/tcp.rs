//! TCP mode: bytes both ways, ends and resets.

use crate::bed::{Bed, Origin, settle};

fn listen(origin: &Origin) -> String {
    format!(
        "listen back\n mode tcp\n bind 127.0.0.1:{{0}}\n server s 127.0.0.1:{}\n",
        origin.port
    )
}
const BACK: &str = "stot econ eresp wretr wredis cli_abrt srv_abrt lbtot bin bout";

#[test]
fn either_side_may_end_first() {
    let origin = Origin::new(|mut peer, _| {
        let text = peer.rest();
        peer.send(format!("got {text}"));
    });
    let bed = Bed::new(&listen(&origin));
    let mut client = bed.client();
    client.send("one");
    client.half_close();
    assert_eq!(client.ends(), "got one FIN");
    assert_eq!(bed.end(), "0 --");
    bed.counts("back/s", BACK, "stot=1 lbtot=1 bin=3 bout=7");
    let origin = Origin::new(|mut peer, _| {
        peer.send("hello");
        peer.half_close();
        assert_eq!(peer.rest(), "two");
    });
    drop(bed);
    let bed = Bed::new(&listen(&origin));
    let mut client = bed.client();
    assert_eq!(client.ends(), "hello FIN");
    client.send("two");
    drop(client);
    assert_eq!(bed.end(), "0 --");
}

#[test]
fn a_reset_of_one_side_ends_the_other() {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let origin = Origin::new(move |mut peer, _| {
        peer.send("hello");
        let word = peer.exactly(1);
        if word == b"r" {
            peer.reset();
        } else if word == b"w" {
            tell.lock().unwrap().send(peer.ends()).unwrap();
        }
    });
    let bed = Bed::new(&listen(&origin));
    let mut client = bed.client();
    client.exactly(5);
    client.send("r");
    assert_eq!((&*client.ends(), &*bed.end()), ("FIN", "0 SD"));
    bed.counts(
        "back/s",
        BACK,
        "stot=1 eresp=1 srv_abrt=1 lbtot=1 bin=1 bout=5",
    );
    let mut client = bed.client();
    client.exactly(5);
    client.send("w");
    settle();
    client.reset();
    assert_eq!((&*told.recv().unwrap(), &*bed.end()), ("RST", "0 CD"));
    bed.counts(
        "back/s",
        BACK,
        "stot=2 eresp=1 cli_abrt=1 srv_abrt=1 lbtot=2 bin=2 bout=10",
    );
}

#[test]
fn without_a_server_there_is_nothing() {
    const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let bed = Bed::new(
        "listen back\n mode tcp\n retries 1\n timeout connect 30ms\n bind 127.0.0.1:{0}\n server s 127.0.0.1:1\n",
    );
    assert_eq!((&*bed.client().ends(), &*bed.end()), ("FIN", "0 SC"));
    bed.counts("back/s", BACK, "stot=2 econ=1 wretr=1 lbtot=1");
    drop(bed);
    let bed = Bed::new("frontend front\n mode tcp\n bind 127.0.0.1:{0}\n");
    assert_eq!((&*bed.client().ends(), &*bed.end()), ("FIN", "0 SC"));
    bed.counts("front", "ereq stot dreq", "stot=1");
    drop(bed);
    let bed = Bed::new("frontend front\n mode http\n bind 127.0.0.1:{0}\n");
    let said = bed.ask(GET);
    assert_eq!((&said[9..12], &*bed.end()), ("503", "503 SC"));
    bed.counts(
        "front",
        "ereq stot dreq hrsp_5xx req_tot",
        "stot=1 hrsp_5xx=1 req_tot=1",
    );
    drop(bed);
    let bed =
        Bed::new("listen back\n mode http\n bind 127.0.0.1:{0}\n server s 127.0.0.1:1 disabled\n");
    let said = bed.ask(GET);
    assert_eq!((&said[9..12], &*bed.end()), ("503", "503 SC"));
    bed.counts(
        "back/BACKEND",
        "stot econ hrsp_5xx",
        "stot=1 econ=1 hrsp_5xx=1",
    );
}
