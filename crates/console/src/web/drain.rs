//! Reads and discards the bodies of requests whose response does not need them. A client may read
//! the response only after it has sent its request, and HTTP/2 would reset the stream of a body
//! that is dropped: some clients then discard the response.

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::EXPECT;
use axum::http::{Request, Version};
use hyper::body::{Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

const BYTES_MAX: u64 = 1 << 20;
const QUIET: Duration = Duration::from_millis(500);
const TIME_MAX: Duration = Duration::from_secs(5);

/// Wraps a request so that the rest of its body is discarded when it is dropped, except that of a
/// client that waits for `100 Continue`: it sends no body after another response, so the body must
/// not be requested.
pub(super) fn drained(request: Request<Incoming>) -> Request<Body> {
    let waits = request.headers().contains_key(EXPECT) && request.version() < Version::HTTP_2;
    if waits {
        return request.map(Body::new);
    }
    request.map(|body| Body::new(DrainedBody(Some(body))))
}

/// Body of a request. Dropping it before its end starts a task that discards the rest.
struct DrainedBody<B>(Option<B>)
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static;

impl<B> HttpBody for DrainedBody<B>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.get_mut().0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl<B> Drop for DrainedBody<B>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let rest = self.0.take().filter(|body| !body.is_end_stream());
        // Skips this without a runtime, which may be shutting down.
        if let (Some(body), Ok(runtime)) = (rest, tokio::runtime::Handle::try_current()) {
            runtime.spawn(discard(body));
        }
    }
}

async fn discard<B: HttpBody<Data = Bytes> + Unpin>(mut body: B) {
    let end = Instant::now() + TIME_MAX;
    let mut left = BYTES_MAX;
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        let deadline = end.min(Instant::now() + QUIET);
        let Ok(Some(Ok(frame))) = timeout_at(deadline, frame).await else {
            return;
        };
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        if bytes > left {
            return;
        }
        left -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use tokio::sync::mpsc;

    /// Body of a request, whose pieces the test sends.
    struct Pieces(mpsc::Receiver<Bytes>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let next = self.0.poll_recv(context);
            next.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
        }
    }

    #[test]
    fn dropped_body_is_read_to_a_limit() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(async {
            let (sender, receiver) = mpsc::channel(1);
            drop(DrainedBody(Some(Pieces(receiver))));
            let piece = Bytes::from(vec![0; 64 << 10]);
            let mut taken = 0;
            while sender.send(piece.clone()).await.is_ok() {
                taken += piece.len() as u64;
            }
            assert!(
                (BYTES_MAX..BYTES_MAX + (256 << 10)).contains(&taken),
                "{taken}"
            );
            // A client that sends nothing more is not waited for.
            let (sender, receiver) = mpsc::channel(1);
            drop(DrainedBody(Some(Pieces(receiver))));
            sender.closed().await;
        });
    }
}
