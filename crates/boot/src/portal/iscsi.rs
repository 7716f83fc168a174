//! Serves one iSCSI connection: reads PDUs, and passes them to the login and to the session.

use super::keeper::MonitoredDisk;
use super::stream::PortalConnection;
use crate::disk::Disk;
use crate::iscsi::login::LoggedInSession;
use crate::iscsi::pdu::{DATA_BYTES_MAX, HEADER_BYTES, Header, IscsiError, LOGIN_BYTES_MAX, Pdu};
use crate::iscsi::session::SessionTarget;
use crate::iscsi::{Login, LoginRejectStatus, Session};
use std::io::Write;
use std::sync::Arc;

/// Disk that a connection uses: the object that keeps the disk reachable, and the disk with this
/// client's changes.
pub type UsedDisk = (Arc<MonitoredDisk>, Arc<dyn Disk>);

/// Targets that a connection may use.
pub trait Targets {
    /// Returns the disk of a target, if this client may use it.
    ///
    /// # Errors
    ///
    /// The reason of the refusal.
    fn find(&self, target: &str) -> Result<UsedDisk, LoginRejectStatus>;

    fn all(&self) -> Vec<(String, String)>;

    /// Records the use of a disk by a session. Returns false if another machine has the disk by
    /// now.
    fn begins(&self, session: &LoggedInSession) -> bool;
}

/// Serves a connection until it ends.
///
/// # Errors
///
/// The reason of the end.
pub fn serve(
    stream: &mut PortalConnection,
    number: u16,
    targets: &dyn Targets,
) -> Result<(), IscsiError> {
    let mut used = None;
    let established = log_in(stream, number, targets, &mut used);
    // The response to a refused login must be sent, too.
    stream.flush()?;
    let established = established?;
    if !targets.begins(&established) {
        return Err(IscsiError::Away);
    }
    stream.clear_deadline()?;
    let mut session = Session::new(&established);
    let name = established.target.unwrap_or_default();
    let unit = SessionTarget {
        name: &name,
        disk: used.as_ref().map(|(_, disk)| &**disk),
        targets: &|| targets.all(),
    };
    let ended = run(stream, &mut session, &unit);
    if let (Err(IscsiError::Away), Some((kept, _))) = (&ended, &used) {
        kept.is_lost();
    }
    // Sends the last response, such as that to a logout.
    stream.flush()?;
    ended
}

fn log_in(
    stream: &mut PortalConnection,
    number: u16,
    targets: &dyn Targets,
    used: &mut Option<UsedDisk>,
) -> Result<LoggedInSession, IscsiError> {
    let mut login = Login::new(number);
    loop {
        let Some(pdu) = read(stream, LOGIN_BYTES_MAX)? else {
            return Err(IscsiError::Protocol("a login that takes too long"));
        };
        let mut may_use = |target: &str| {
            *used = Some(targets.find(target)?);
            Ok(())
        };
        if let Some(established) = login.handle(&pdu, &mut may_use, stream)? {
            return Ok(established);
        }
    }
}

fn run(
    stream: &mut PortalConnection,
    session: &mut Session,
    unit: &SessionTarget<'_>,
) -> Result<(), IscsiError> {
    loop {
        // Continues if the initiator sends nothing: TCP keep-alive detects an initiator that has
        // gone.
        if let Some(pdu) = read(stream, DATA_BYTES_MAX)? {
            session.handle(&pdu, unit, stream)?;
        }
    }
}

/// Reads a PDU. None: the initiator is idle.
fn read(stream: &mut PortalConnection, max: usize) -> Result<Option<Pdu>, IscsiError> {
    let mut header = [0; HEADER_BYTES];
    if !stream.head(&mut header)? {
        return Ok(None);
    }
    let header = Header(header);
    let mut rest = vec![0; header.rest_bytes(max)?];
    stream.rest(&mut rest)?;
    let pdu = header.with(rest);
    pdu.map_or(
        Err(IscsiError::Protocol("a PDU that is too short")),
        |pdu| Ok(Some(pdu)),
    )
}
