//! Tests a member that sends requests without end, or violates the protocol: limited, counted, and
//! harmless to others.

use super::super::frame::{FrameHeader, FrameKind, HEAD_BYTES, MESSAGE_BYTES_MAX};
use super::super::greeting::{Hello, hear_hello, say_hello};
use super::super::link::QUESTIONS_MAX;
use super::*;
use crate::authority::TlsConfigs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection as member 2, in the hands of the test.
async fn as_member_2(paper: &Paper) -> TlsStream<TcpStream> {
    let address = paper.members[&MemberId(1)].addresses[0];
    let trust = paper.trust();
    let configs = TlsConfigs::new(&paper.identity(2), &trust).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = "member-1.office.evenkeel".try_into().unwrap();
    let connector = TlsConnector::from(configs.member());
    let mut stream = connector.connect(name, stream).await.unwrap();
    let hello = Hello {
        member: MemberId(2),
        run: 1,
        through: None,
        carry_to: None,
    };
    say_hello(&mut stream, &hello).await.unwrap();
    assert_eq!(hear_hello(&mut stream).await.unwrap().member, MemberId(1));
    stream
}

fn ask(call: u64, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u32;
    let head = FrameHeader {
        frame: FrameKind::Ask,
        service: Service::Raft.code(),
        length,
        total: length,
        call,
    };
    [head.encode().as_slice(), bytes].concat()
}

#[test]
fn overloading_peer_is_refused_and_others_are_served() {
    on_one_thread(async {
        let addresses = free_addresses(3);
        let paper = Paper::new(&addresses);
        let slow = Echo {
            held: Some(Arc::default()),
            ..Echo::default()
        };
        let one = serving(&paper, 1, &slow).await;
        let quick = Echo::default();
        let three = serving(&paper, 3, &quick).await;
        until("1 and 3 talk", || connections(&one, 3) == 2).await;
        let mut flooder = as_member_2(&paper).await;
        let extra = 500;
        for call in 0..(QUESTIONS_MAX + extra) as u64 {
            flooder.write_all(&ask(call, b"x")).await.unwrap();
        }
        flooder.flush().await.unwrap();
        let mut told = 0;
        while told < extra {
            let mut head = [0; HEAD_BYTES];
            flooder.read_exact(&mut head).await.unwrap();
            if FrameHeader::decode(&head).unwrap().frame == FrameKind::Overloaded {
                told += 1;
            }
        }
        assert_eq!(one.counted(|c| &c.overloaded), extra as u64);
        until("all others are being handled", || {
            slow.asked.load(Ordering::Relaxed) == QUESTIONS_MAX as u64
        })
        .await;
        let answer = one
            .call(MemberId(3), Service::Raft, Vec::new(), PATIENCE)
            .await;
        assert!(answer.is_ok());
        drop(three);
    });
}

#[test]
fn peer_that_reads_no_responses_is_disconnected() {
    on_one_thread(async {
        let addresses = free_addresses(2);
        let paper = Paper::new(&addresses);
        let one = serving(&paper, 1, &Echo::default()).await;
        let mut deaf = as_member_2(&paper).await;
        let large = vec![0; 16_000];
        let sending = async {
            for call in 0.. {
                if deaf.write_all(&ask(call, &large)).await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, sending).await.unwrap();
        until("it is gone", || connections(&one, 2) == 0).await;
        assert_eq!(one.counted(|c| &c.broken_rules), 1);
    });
}

#[test]
fn frames_that_break_a_rule_end_their_connection_only() {
    on_one_thread(async {
        let addresses = free_addresses(3);
        let paper = Paper::new(&addresses);
        let echo = Echo::default();
        let one = serving(&paper, 1, &echo).await;
        let _three = serving(&paper, 3, &echo).await;
        until("1 and 3 talk", || connections(&one, 3) == 2).await;
        let broken = |frame: FrameKind, length: u32, total: u32| {
            let head = FrameHeader {
                frame,
                service: 1,
                length,
                total,
                call: 1,
            };
            head.encode().to_vec()
        };
        let mut unknown = broken(FrameKind::Ask, 0, 0);
        unknown[0] = 200;
        let cases = [
            unknown,
            broken(FrameKind::Ask, 1 << 20, 1 << 20),
            broken(FrameKind::Ask, 1, MESSAGE_BYTES_MAX as u32 + 1),
            broken(FrameKind::Hello, 0, 0),
        ];
        for (done, case) in cases.iter().enumerate() {
            let mut stream = as_member_2(&paper).await;
            stream.write_all(case).await.unwrap();
            until("it is counted", || {
                one.counted(|c| &c.broken_rules) == done as u64 + 1
            })
            .await;
            let mut rest = Vec::new();
            // Closed or reset: it ends.
            let _ = stream.read_to_end(&mut rest).await;
        }
        let answer = one
            .call(MemberId(3), Service::Raft, Vec::new(), PATIENCE)
            .await;
        assert!(answer.is_ok());
    });
}
