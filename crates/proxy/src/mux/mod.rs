//! HTTP/2 connections: many streams over one transport, of a client or to a
//! server. Frames, windows and floods are `protocol::http2`, a value; this moves
//! its bytes and wakes its streams. It knows no rule and no header.
