//! Files that are fetched: the real threads at ports of the test, with the clients that there are
//! and with those that mean no good.

mod shelf;
mod tftp;
