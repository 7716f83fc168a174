//! HTTP/2 messages as values: lists of fields become a [`crate::message::Message`]
//! and back. Strict both ways: what HTTP/1 or another recipient could read in
//! two ways is refused. Frames and their compression are `protocol::http2`.
