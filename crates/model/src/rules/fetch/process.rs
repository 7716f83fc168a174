//! Implements the fetches of the process and the host: time, random numbers, environment, names,
//! threads. Also implements `wait_end`, which waits for the end of an inspection.

use super::{FetchBuild, FetchRow, boolean, int};
use crate::rules::argument::{ArgumentKind, Arguments, bad_argument};
use crate::rules::converter::time::{check_unit, shift, to_unit};
use crate::rules::draft::ConfigDraft;
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::thread;
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;
use std::borrow::Cow;
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

const fn fetch(output: Type, one: super::One) -> FetchBuild {
    FetchBuild::new(output, Needs::Nothing, one)
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "date[(<offset>[,<unit>])]", fetch(Type::Int, date).takes(&[ArgumentKind::Int, ArgumentKind::Text], 0).prepare(check_unit), "acl later date gt 1700000000",
        "The current time in seconds since 1970, plus an offset. The unit `ms` or `us` applies to both.";
    "date_us",
        fetch(Type::Int, |_, _| int(since_epoch().subsec_micros())),
        "acl odd_microsecond date_us,odd",
        "The microseconds of the current second.";
    "env(<name>)",
        fetch(Type::Str, |a, _| Some(SampleValue::Str(Cow::Borrowed(a.text(0)?)))).takes(&[ArgumentKind::Environment], 1),
        "acl test_host env(STAGE) test",
        "The value of an environment variable of the process at the start.";
    "hostname", fetch(Type::Str, hostname), "acl first hostname web1",
        "The host name of this machine.";
    "nbproc", fetch(Type::Int, one), "acl single nbproc 1",
        "The number of serving processes, always 1.";
    "proc", fetch(Type::Int, one), "acl first proc 1",
        "The number of the serving process, always 1.";
    "act_conn", fetch(Type::Int, act_conn), "acl crowded act_conn gt 10000",
        "Number of client connections of the process.";
    "uptime", fetch(Type::Int, uptime), "acl young uptime lt 60",
        "Uptime of the process in seconds.";
    "pid",
        fetch(Type::Int, |_, _| int(std::process::id())), "acl known pid gt 0",
        "The id of the process.";
    "thread",
        fetch(Type::Int, |_, _| Some(SampleValue::count(thread::running()?.thread()))),
        "acl first thread 0",
        "The number of the serving thread, from 0.";
    "tgroup", fetch(Type::Int, one), "acl first tgroup 1",
        "The number of the thread group, always 1.";
    "stopping",
        fetch(Type::Bool, |_, _| boolean(thread::running()?.process.stopping())),
        "acl example stopping",
        "True in a soft stop, when the process accepts no new connections.";
    "rand[(<range>)]", fetch(Type::Int, rand).takes(&[ArgumentKind::Int], 0), "acl one_percent rand(100) 0",
        "A random number from 0 to the range minus one; without a range of 32 bits. Suitable for distributing load, \
         not for secrets.";
    "uuid[(<version>)]", fetch(Type::Str, uuid).takes(&[ArgumentKind::Int], 0).prepare(check_uuid), "acl some uuid -m found",
        "A random UUID (version 4). Other versions are not supported.";
    "wait_end", fetch(Type::Bool, wait_end).waits(), "acl ended wait_end",
        "True once the content inspection has ended: all data for the rules has arrived, or `inspect-delay` has \
         passed. A rule with it waits until then.";
};

fn since_epoch() -> std::time::Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn date<'a>(arguments: &'a Arguments, _: &ProxyStream) -> Sample<'a> {
    let unit = arguments.text(1);
    let now = to_unit(since_epoch(), unit)?;
    Some(SampleValue::Int(shift(now, arguments.int(0).unwrap_or(0))))
}

fn hostname<'a>(_: &Arguments, _: &'a ProxyStream) -> Sample<'a> {
    static NAME: OnceLock<Vec<u8>> = OnceLock::new();
    let name = NAME.get_or_init(|| {
        use std::os::unix::ffi::OsStringExt;
        nix::unistd::gethostname()
            .map(OsStringExt::into_vec)
            .unwrap_or_default()
    });
    Some(SampleValue::text(name))
}

fn act_conn<'a>(_: &Arguments, _: &'a ProxyStream) -> Sample<'a> {
    let connections = &thread::running()?.process.connections;
    int(connections.current())
}

fn uptime<'a>(_: &Arguments, _: &'a ProxyStream) -> Sample<'a> {
    let started = thread::running()?.process.started;
    let since = reactor::now().saturating_duration_since(started);
    Some(SampleValue::count(since.as_secs()))
}

fn one<'a>(_: &Arguments, _: &'a ProxyStream) -> Sample<'a> {
    int(1)
}

/// Returns the next number of a small per-thread generator (splitmix64), seeded by the system.
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(std::thread::current().id()));
    }
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn rand<'a>(arguments: &'a Arguments, _: &ProxyStream) -> Sample<'a> {
    let number = random() >> 32;
    Some(match arguments.int(0) {
        Some(range) if range > 0 => {
            SampleValue::Int(((u128::from(number) * range as u128) >> 32) as i64)
        }
        _ => SampleValue::count(number),
    })
}

fn check_uuid(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    match arguments.int(0) {
        None | Some(4) => Ok(()),
        Some(other) => Err(bad_argument(
            span,
            format!("UUID version {other} is not supported, only version 4"),
        )),
    }
}

fn uuid<'a>(_: &Arguments, _: &'a ProxyStream) -> Sample<'a> {
    let (high, low) = (random(), random());
    let text = format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | (low >> 50),
        low & 0xffff_ffff_ffff,
    );
    Some(SampleValue::Str(Cow::Owned(text.into_bytes())))
}

fn wait_end<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    // Rules of a message run when its head has arrived, and wait for nothing more. Rules of
    // `tcp-response content` begin when the connection to the server is established.
    let awaits_server = stream.times.connected.is_some() && stream.response.start().is_none();
    let of_message = stream.request.is_request() && !awaits_server;
    (stream.payloads.request_complete || of_message).then_some(SampleValue::Bool(true))
}

#[cfg(test)]
mod tests {
    use crate::transaction::sample;

    #[test]
    fn uuids_have_their_version_and_variant() {
        let stream = sample::request(b"GET / HTTP/1.1\r\n\r\n");
        for _ in 0..100 {
            let text = sample::evaluate("uuid", &stream).unwrap();
            let parts: Vec<&str> = text.split('-').collect();
            assert_eq!(
                parts.iter().map(|p| p.len()).collect::<Vec<_>>(),
                [8, 4, 4, 4, 12],
                "{text}"
            );
            assert!(parts[2].starts_with('4'), "{text}");
            assert!(parts[3].starts_with(['8', '9', 'a', 'b']), "{text}");
        }
    }

    #[test]
    fn random_numbers_stay_in_their_range() {
        let stream = sample::request(b"GET / HTTP/1.1\r\n\r\n");
        for _ in 0..1000 {
            let n: i64 = sample::evaluate("rand(7)", &stream)
                .unwrap()
                .parse()
                .unwrap();
            assert!((0..7).contains(&n));
        }
    }
}
