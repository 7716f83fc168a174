//! A connection of iSCSI: reads PDUs, and gives them to the login and to the session.

use super::keeper::Kept;
use super::stream::Stream;
use crate::disk::Disk;
use crate::iscsi::login::Established;
use crate::iscsi::pdu::{Broken, DATA_BYTES_MAX, HEADER_BYTES, Header, LOGIN_BYTES_MAX, Pdu};
use crate::iscsi::session::Unit;
use crate::iscsi::{Login, Refusal, Session};
use std::io::Write;
use std::sync::Arc;

/// A disk that a connection uses: what keeps it within reach, and what it is for this client.
pub type Used = (Arc<Kept>, Arc<dyn Disk>);

/// What a connection may use.
pub trait Targets {
    /// The disk of a target, if this client may use it.
    ///
    /// # Errors
    /// Why not.
    fn find(&self, target: &str) -> Result<Used, Refusal>;

    /// The targets that this client may use, each with the address where it is.
    fn all(&self) -> Vec<(String, String)>;

    /// The session begins. Returns false where another machine has taken the disk meanwhile.
    fn begins(&self, session: &Established) -> bool;
}

/// Serves a connection until it ends.
///
/// # Errors
/// Why it ended.
pub fn serve(stream: &mut Stream, number: u16, targets: &dyn Targets) -> Result<(), Broken> {
    let mut used = None;
    let established = log_in(stream, number, targets, &mut used);
    // Also the words of a refusal.
    stream.flush()?;
    let established = established?;
    if !targets.begins(&established) {
        return Err(Broken::Away);
    }
    stream.has_begun()?;
    let mut session = Session::new(&established);
    let name = established.target.unwrap_or_default();
    let unit = Unit {
        name: &name,
        disk: used.as_ref().map(|(_, disk)| &**disk),
        targets: &|| targets.all(),
    };
    let ended = run(stream, &mut session, &unit);
    if let (Err(Broken::Away), Some((kept, _))) = (&ended, &used) {
        kept.is_lost();
    }
    // The last reply, of a logout.
    stream.flush()?;
    ended
}

fn log_in(
    stream: &mut Stream,
    number: u16,
    targets: &dyn Targets,
    used: &mut Option<Used>,
) -> Result<Established, Broken> {
    let mut login = Login::new(number);
    loop {
        let Some(pdu) = read(stream, LOGIN_BYTES_MAX)? else {
            return Err(Broken::Protocol("a login that takes too long"));
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

fn run(stream: &mut Stream, session: &mut Session, unit: &Unit<'_>) -> Result<(), Broken> {
    loop {
        // An initiator may be silent; one that is gone is noticed by its connection.
        if let Some(pdu) = read(stream, DATA_BYTES_MAX)? {
            session.handle(&pdu, unit, stream)?;
        }
    }
}

/// Reads a PDU. None: nothing came for a while.
fn read(stream: &mut Stream, max: usize) -> Result<Option<Pdu>, Broken> {
    let mut header = [0; HEADER_BYTES];
    if !stream.head(&mut header)? {
        return Ok(None);
    }
    let header = Header(header);
    let mut rest = vec![0; header.rest_bytes(max)?];
    stream.rest(&mut rest)?;
    let pdu = header.with(rest);
    pdu.map_or(Err(Broken::Protocol("a PDU that is too short")), |pdu| {
        Ok(Some(pdu))
    })
}
