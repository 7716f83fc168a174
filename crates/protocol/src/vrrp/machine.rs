//! One virtual router: the state machine of RFC 9568, section 6.4, with
//! keepalived's fault state, and what both leave to die by.
