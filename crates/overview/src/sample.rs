//! Builds the state of a sample machine with problems, for tests and pictures.

use crate::look::MachineReport;
use crate::traffic::Traffic;
use part::report::{Event, Grade, Moment, StatusReport, Subject};
use std::collections::VecDeque;
use std::time::Instant;

pub const ANSWER: &str = "\
Name: evenkeel
CurrConns: 42
Maxconn: 2000
Uptime: 0d 1h02m03s

# pxname,svname,qcur,scur,stot,bin,bout,ereq,econ,eresp,status,lastchg,rate,ttime,req_rate,type,check_status,check_code,last_chk,hrsp_5xx,agent_status,last_agt
web,FRONTEND,,40,900,1000,2000,3,,,OPEN,,35,,340,0,,,,14,,
app,one,0,20,800,900,1800,,1,2,UP,3723,170,12,,2,L7OK,200,\"OK, \"\"fine\"\"\",4,,
app,two,0,0,0,1,2,,9,,DOWN,95,0,0,,2,L4CON,,Connection refused,,,
app,three,0,0,0,0,0,,,,DOWN (agent),9,0,0,,2,L7OK,200,,0,L7STS,no disk
app,four,0,0,0,0,0,,,,MAINT,9,0,0,,2,L7OK,200,,0,,
app,BACKEND,7,20,810,901,1802,,10,2,UP,3723,170,12,,1,,,,10,,
mail,FRONTEND,,2,9,5,6,0,,,OPEN,,1,,0,0,,,,,,
dead,s1,0,0,0,0,0,,,,DOWN,50,0,0,,2,L4TOUT,,,,,
dead,BACKEND,0,0,0,0,0,,,,DOWN,50,0,0,,1,,,,,,
odd,line

# pxname,svname,samples,p50_ms,p95_ms,p99_ms
web,FRONTEND,900,7,23,895
app,one,800,8,31,1791
odd

# table: app, type: ip, size:1000, used:7
# table: odd
";

/// Returns the time of the sample, less this many milliseconds.
pub fn ago(ms: u64) -> Moment {
    Moment {
        boottime_ms: 10_000_000 - ms,
        unix_ms: 1_795_209_453_056 - ms,
    }
}

pub fn event(ms: u64, from: &str, to: &str, why: &str) -> Event {
    Event {
        at: ago(ms),
        from: from.to_owned(),
        to: to.to_owned(),
        why: why.to_owned(),
    }
}

/// Makes a node with a virtual address, a failed guest, and a proxy some of whose servers are down.
pub fn sample() -> MachineReport {
    let mut www = Subject::new("virtual-ip", "www")
        .state("MASTER", Grade::Good)
        .fact("interface", "eth0");
    www.since = Some(ago(4_000_000));
    www.events = vec![
        event(4_010_000, "INIT", "BACKUP", "it was started"),
        event(4_000_000, "BACKUP", "MASTER", "no master was heard"),
    ];
    let mut mail = Subject::new("guest", "mail").state("failed", Grade::Bad);
    mail.since = Some(ago(65_000));
    mail.why = "its check failed three times:\nport 25 \u{1b}[31mrefuses".to_owned();
    mail.events = vec![event(65_000, "", "it failed", "")];
    let report = |part: &str, subjects| StatusReport {
        part: part.to_owned(),
        at: ago(0),
        subjects,
        rows: Vec::new(),
    };
    MachineReport {
        changes: VecDeque::new(),
        at: Instant::now(),
        host: "alpha".to_owned(),
        pid: 4711,
        traffic: Some(Traffic::read(ANSWER)),
        silent: None,
        reports: vec![report("address", vec![www]), report("guest", vec![mail])],
    }
}
