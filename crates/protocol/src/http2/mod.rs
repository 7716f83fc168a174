//! HTTP/2 (RFC 9113) with HPACK (RFC 7541) as values: bytes in, events out, and
//! the bytes that are to be sent. Both roles. It owns no socket, reads no clock
//! and knows no meaning of a header; every queue and list in it has a bound.
