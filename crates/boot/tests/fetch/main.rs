//! Tests files by TFTP and HTTP: the real server threads at ports of the test, with well-behaved
//! and hostile clients.

mod http;
mod shelf;
mod tftp;
