//! Who is at the other end of a request.

use std::{fmt, net::IpAddr};

/// The address of the client that sent a request: the peer of its connection or, behind a proxy that is trusted, whom
/// that proxy names. Each request carries one as an extension; limits and audit records stand on it and on nothing else.
///
/// An IPv4 address has one form, also when it came over an IPv6 socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// The client at `address`.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// The address.
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        self.0
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
