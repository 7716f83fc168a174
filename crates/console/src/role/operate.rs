//! Sends commands to the proxy's runtime API over connections that the supervisor provides, one at
//! a time, on a thread of their own because a response may be slow.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

const WAITING_MAX: usize = 16;

/// A command, with the function that receives its response.
struct RuntimeApiCommand {
    connection: UnixStream,
    command: Vec<u8>,
    bytes_max: u64,
    limit: Duration,
    then: Box<dyn FnOnce(Result<String, String>) + Send>,
}

/// Handle of the thread that sends the commands.
pub struct RuntimeApiClient {
    jobs: SyncSender<RuntimeApiCommand>,
    limit: Duration,
}

impl RuntimeApiClient {
    /// Starts the thread with a name and a timeout for the responses.
    ///
    /// # Errors
    /// The thread cannot be created.
    pub fn start(name: &str, limit: Duration) -> io::Result<RuntimeApiClient> {
        let (jobs, came) = sync_channel(WAITING_MAX);
        let thread = thread::Builder::new().name(name.to_owned());
        thread.spawn(move || run(&came))?;
        Ok(RuntimeApiClient { jobs, limit })
    }

    /// Sends a command. `then` gets the response, or the reason why there is none, on that thread.
    pub fn send(
        &self,
        connection: UnixStream,
        command: Vec<u8>,
        bytes_max: u64,
        then: impl FnOnce(Result<String, String>) + Send + 'static,
    ) {
        let job = RuntimeApiCommand {
            connection,
            command,
            bytes_max,
            limit: self.limit,
            then: Box::new(then),
        };
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) =
            self.jobs.try_send(job)
        {
            (job.then)(Err(
                "the proxy responds slowly: too many commands are pending".to_owned(),
            ));
        }
    }
}

fn run(came: &Receiver<RuntimeApiCommand>) {
    while let Ok(job) = came.recv() {
        let answer = answer(job.connection, &job.command, job.bytes_max, job.limit);
        (job.then)(answer.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                "the proxy did not respond in time".to_owned()
            }
            _ => language::reason(&error),
        }));
    }
}

/// Sends a command and reads the whole response within the timeout. A timeout for each read would
/// not suffice, because a proxy that sends a byte now and then also hangs.
fn answer(
    mut connection: UnixStream,
    command: &[u8],
    bytes_max: u64,
    limit: Duration,
) -> io::Result<String> {
    let until = Instant::now() + limit;
    connection.set_write_timeout(Some(limit))?;
    connection.write_all(command)?;
    let (mut bytes, mut some) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        connection.set_read_timeout(Some(left))?;
        match connection.read(&mut some)? {
            0 => break,
            read => bytes.extend_from_slice(&some[..read]),
        }
        if bytes.len() as u64 > bytes_max {
            return Err(io::Error::other("the proxy's response is too long"));
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_response_is_read_completely_and_a_long_one_is_refused() {
        let operate = RuntimeApiClient::start("console/operate", Duration::from_secs(3)).unwrap();
        for (bytes_max, expected) in [
            (100, Ok("fine\n")),
            (3, Err("the proxy's response is too long")),
        ] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let (then, answers) = channel();
            operate.send(ours, b"show info\n".to_vec(), bytes_max, move |answer| {
                then.send(answer).unwrap();
            });
            let mut asked = [0; 10];
            theirs.read_exact(&mut asked).unwrap();
            assert_eq!(&asked, b"show info\n");
            theirs.write_all(b"fine\n").unwrap();
            drop(theirs);
            let answer = answers.recv().unwrap();
            assert_eq!(answer.as_deref().map_err(|words| &**words), expected);
        }
    }
}
