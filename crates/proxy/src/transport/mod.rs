//! What carries the bytes of a connection: a socket, or TLS over one. Streams
//! read and write it without knowing which.
