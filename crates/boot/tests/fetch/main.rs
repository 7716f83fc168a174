//! Files by TFTP and HTTP: the real threads at ports of the test, with the clients that there are
//! and with those that mean no good.

mod http;
mod shelf;
mod tftp;
