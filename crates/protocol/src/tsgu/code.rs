//! Defines the status codes in a remote desktop gateway's responses ([MS-TSGU] 2.2.6).

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code(pub u32);

impl Code {
    pub const OK: Code = Code(0);
    /// The client has ended the connection properly.
    pub const GRACEFUL_DISCONNECT: Code = Code(0x0000_04ca);
    /// An operator has ended the connection.
    pub const CONNECTION_ABORTED: Code = Code(0x0000_04d4);
    pub const INTERNAL: Code = Code(0x8007_59d8);
    /// The user may not reach the host.
    pub const RAP_DENIED: Code = Code(0x8007_59da);
    /// The user may not use the gateway.
    pub const NAP_DENIED: Code = Code(0x8007_59db);
    pub const CONNECT_FAILED: Code = Code(0x8007_59dd);
    pub const MAX_CONNECTIONS: Code = Code(0x8007_59e6);
    pub const NOT_SUPPORTED: Code = Code(0x8007_59e8);
    /// The idle timeout or the session limit has passed.
    pub const SESSION_TIMEOUT: Code = Code(0x8007_59f6);
    pub const COOKIE_BAD_PACKET: Code = Code(0x8007_59f7);
    /// The cookie does not belong to a user with access.
    pub const COOKIE_DENIED: Code = Code(0x8007_59f8);
    pub const UNSUPPORTED_AUTHENTICATION: Code = Code(0x8007_59f9);
    /// The tunnel to re-authenticate does not exist, or belongs to another user.
    pub const REAUTH_DENIED: Code = Code(0x8007_59fa);

    /// Returns the name in the specification, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Code::OK => "success",
            Code::GRACEFUL_DISCONNECT => "ERROR_GRACEFUL_DISCONNECT",
            Code::CONNECTION_ABORTED => "E_PROXY_CONNECTIONABORTED",
            Code::INTERNAL => "E_PROXY_INTERNALERROR",
            Code::RAP_DENIED => "E_PROXY_RAP_ACCESSDENIED",
            Code::NAP_DENIED => "E_PROXY_NAP_ACCESSDENIED",
            Code::CONNECT_FAILED => "E_PROXY_TS_CONNECTFAILED",
            Code::MAX_CONNECTIONS => "E_PROXY_MAXCONNECTIONSREACHED",
            Code::NOT_SUPPORTED => "E_PROXY_NOTSUPPORTED",
            Code::SESSION_TIMEOUT => "E_PROXY_SESSIONTIMEOUT",
            Code::COOKIE_BAD_PACKET => "E_PROXY_COOKIE_BADPACKET",
            Code::COOKIE_DENIED => "E_PROXY_COOKIE_AUTHENTICATION_ACCESS_DENIED",
            Code::UNSUPPORTED_AUTHENTICATION => "E_PROXY_UNSUPPORTED_AUTHENTICATION_METHOD",
            Code::REAUTH_DENIED => "E_PROXY_REAUTH_AUTHN_FAILED",
            _ => "another code",
        }
    }
}
