//! The packet: VRRP advertisements of versions 2 and 3 (RFC 3768, section 5;
//! RFC 9568, section 5).
