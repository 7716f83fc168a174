//! Produces the body of an HTTP response: a text, or a range of a file in chunks. A chunk of a file
//! that is in the page cache goes from there to the socket ([`super::passing`]). A thread that may
//! wait for the disk reads any other chunk that cannot be read at once.

use super::passing::{self, FileChunks, SharedFetchError};
use crate::content::{ContentSource, FetchClient, FetchReport};
use crate::counters::{Counting, FetchOutcome};
use crate::source::{OpenContent, SourceReadError};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use part::lock;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use tokio::task::{JoinHandle, spawn_blocking};

/// Size of a chunk that is read into memory, bytes. A connection uses memory for one chunk, besides
/// what the kernel buffers.
const CHUNK_BYTES: u64 = 64 << 10;

/// Running fetch. If it is dropped before it is complete, it is reported as broken.
pub(super) struct Fetch {
    shelf: Arc<dyn ContentSource>,
    counting: Arc<Counting>,
    name: String,
    asker: FetchClient,
    bytes: u64,
    /// True if this response includes the end of the file. Without the end, a success is not
    /// reported.
    has_end: bool,
    broken: SharedFetchError,
    is_complete: bool,
}

impl Fetch {
    pub(super) fn begin(
        shelf: Arc<dyn ContentSource>,
        counting: Arc<Counting>,
        name: String,
        asker: FetchClient,
        part: &Range<u64>,
        size: u64,
    ) -> Fetch {
        counting.begin();
        Fetch {
            shelf,
            counting,
            name,
            asker,
            bytes: part.end.saturating_sub(part.start),
            has_end: part.end == size,
            broken: SharedFetchError::default(),
            is_complete: false,
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        let fetched = match (self.is_complete, lock(&self.broken).take()) {
            (true, _) => FetchReport::Whole(self.bytes),
            (false, Some(words)) => FetchReport::Broken(words),
            (false, None) => FetchReport::Broken("the client closed the connection".to_owned()),
        };
        self.counting.end(if self.is_complete {
            FetchOutcome::Done
        } else {
            FetchOutcome::Failed
        });
        if self.has_end || !self.is_complete {
            self.shelf.fetched(&self.name, &self.asker, &fetched);
        }
    }
}

/// Fetches whose data hyper has received completely, but the kernel has not.
#[derive(Clone, Default)]
pub(super) struct UnsentFetches(Arc<Mutex<Vec<Fetch>>>);

impl UnsentFetches {
    pub(super) fn complete(&self) {
        let mut all = std::mem::take(&mut *lock(&self.0));
        for fetch in &mut all {
            fetch.is_complete = true;
        }
    }
}

/// Fetches and file chunks of a connection that the kernel has not received yet.
#[derive(Clone, Default)]
pub(super) struct UnsentContent {
    pub(super) fetches: UnsentFetches,
    pub(super) chunks: FileChunks,
}

pub(super) enum Payload {
    /// A text; None: an empty body.
    Text(Option<Bytes>),
    Part(Box<SourceBody>),
}

/// Range of a source that is being sent.
pub(super) struct SourceBody {
    source: OpenContent,
    rest: Range<u64>,
    reading: Option<JoinHandle<Result<Vec<u8>, SourceReadError>>>,
    fetch: Option<Fetch>,
    unsent: UnsentContent,
}

impl Payload {
    pub(super) fn empty() -> Payload {
        Payload::Text(None)
    }

    pub(super) fn text(text: String) -> Payload {
        Payload::Text(Some(text.into()))
    }

    pub(super) fn part(
        source: OpenContent,
        bytes: Range<u64>,
        fetch: Fetch,
        unsent: UnsentContent,
    ) -> Payload {
        let mut sending = SourceBody {
            source,
            rest: bytes,
            reading: None,
            fetch: Some(fetch),
            unsent,
        };
        sending.end_if_empty();
        Payload::Part(Box::new(sending))
    }
}

impl SourceBody {
    fn end_if_empty(&mut self) {
        if self.rest.is_empty()
            && let Some(fetch) = self.fetch.take()
        {
            lock(&self.unsent.fetches.0).push(fetch);
        }
    }

    fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, SourceReadError>>> {
        if let Some(reading) = &mut self.reading {
            let read = ready!(Pin::new(reading).poll(context));
            self.reading = None;
            return Poll::Ready(Some(match read {
                Ok(Ok(chunk)) => Ok(chunk.into()),
                Ok(Err(error)) => Err(error),
                Err(_) => Err(SourceReadError::Read(io::ErrorKind::Interrupted.into())),
            }));
        }
        let at = self.rest.start;
        let left = self.rest.end.saturating_sub(at);
        if left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(left.min(CHUNK_BYTES)).unwrap_or(0);
        if let OpenContent::Bytes(bytes) = &self.source {
            let from = usize::try_from(at).unwrap_or(usize::MAX);
            let is_within = from
                .checked_add(length)
                .is_some_and(|end| end <= bytes.len());
            return Poll::Ready(Some(if is_within {
                Ok(Bytes::from_owner(Arc::clone(bytes)).slice(from..from + length))
            } else {
                Err(SourceReadError::Truncated)
            }));
        }
        let passed = usize::try_from(left)
            .map_or(passing::CHUNK_BYTES, |left| left.min(passing::CHUNK_BYTES));
        if let (OpenContent::File(file), Some(fetch)) = (&self.source, &self.fetch)
            && file.is_in_memory(at, passed as u64)
        {
            let broken = Arc::clone(&fetch.broken);
            let chunk = self.unsent.chunks.push(file.clone(), at, passed, broken);
            return Poll::Ready(Some(Ok(chunk)));
        }
        let mut chunk = vec![0; length];
        if self.source.read_at_once(at, &mut chunk) {
            return Poll::Ready(Some(Ok(chunk.into())));
        }
        let source = self.source.clone();
        self.reading = Some(spawn_blocking(move || {
            source.read(at, &mut chunk).map(|()| chunk)
        }));
        self.poll_chunk(context)
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = SourceReadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SourceReadError>>> {
        let sending = match self.get_mut() {
            Payload::Text(text) => {
                return Poll::Ready(text.take().map(|text| Ok(Frame::data(text))));
            }
            Payload::Part(sending) => sending,
        };
        Poll::Ready(match ready!(sending.poll_chunk(context)) {
            None => None,
            Some(Ok(chunk)) => {
                let length = chunk.len() as u64;
                sending.rest.start += length;
                if let Some(fetch) = &sending.fetch {
                    fetch.counting.send(length);
                }
                sending.end_if_empty();
                Some(Ok(Frame::data(chunk)))
            }
            Some(Err(error)) => {
                if let Some(fetch) = &sending.fetch {
                    *lock(&fetch.broken) = Some(error.to_string());
                }
                Some(Err(error))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Payload::Text(text) => text.is_none(),
            Payload::Part(sending) => sending.rest.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Payload::Text(text) => text.as_ref().map_or(0, |text| text.len() as u64),
            Payload::Part(sending) => sending.rest.end.saturating_sub(sending.rest.start),
        })
    }
}
