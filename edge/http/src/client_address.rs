//! Which address a request comes from, when proxies may stand between.
//!
//! Anyone can write `X-Forwarded-For`. It is read only when the peer of the connection is a trusted proxy, and from the
//! right: each trusted proxy appended the address that it saw, so the rightmost address that is not a trusted proxy's
//! is the last that somebody trustworthy vouches for. What stands left of it is the client's own invention.
//!
//! One header is believed, not whichever is there: a proxy sets one and passes the other on as the client wrote it.

use std::{net::IpAddr, str::FromStr};

use http::{HeaderMap, HeaderName, header};
use serde::{Deserialize, Deserializer, de};
pub use unhidra_runtime::ClientAddress;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies whose word is taken.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// Their networks; none of them trusts nobody.
    pub trusted: Vec<Network>,
    /// Where they name the client.
    pub header: ProxyHeader,
}

/// Where a proxy names its client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    /// A list of addresses.
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

/// A network in CIDR notation, such as `10.0.0.0/8`; a bare address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

/// Why a text is not a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a network such as 10.0.0.0/8 or ::1")]
pub struct NetworkError;

impl Proxies {
    /// The client of a request that came from `peer` with `headers`.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let peer = ClientAddress::new(peer);
        if !self.trusts(peer) {
            return peer;
        }
        let named = match self.header {
            ProxyHeader::XForwardedFor => self.rightmost(headers, &X_FORWARDED_FOR, Some),
            ProxyHeader::Forwarded => self.rightmost(headers, &header::FORWARDED, forwarded_for),
        };
        named.unwrap_or(peer)
    }

    pub(crate) fn trusts(&self, address: ClientAddress) -> bool {
        self.trusted.iter().any(|network| network.contains(address.ip()))
    }

    /// The rightmost address that is no trusted proxy's; the leftmost one when all are. What is not an address ends the
    /// search: whoever wrote it is named by the address to its right.
    fn rightmost<'a>(
        &self,
        headers: &'a HeaderMap,
        name: &HeaderName,
        node: impl Fn(&'a str) -> Option<&'a str>,
    ) -> Option<ClientAddress> {
        let mut last = None;
        for line in headers.get_all(name).iter().rev() {
            let Ok(line) = line.to_str() else { return last };
            for element in line.rsplit(',') {
                let Some(address) = node(element.trim()).and_then(address) else {
                    return last;
                };
                let address = ClientAddress::new(address);
                last = Some(address);
                if !self.trusts(address) {
                    return last;
                }
            }
        }
        last
    }
}

/// The `for` parameter of one element of `Forwarded` (RFC 7239 section 4), without its quotes.
fn forwarded_for(element: &str) -> Option<&str> {
    let node = element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    })?;
    Some(node.trim_matches('"'))
}

/// An address with or without brackets and port.
fn address(node: &str) -> Option<IpAddr> {
    if let Ok(address) = node.parse() {
        return Some(address);
    }
    if let Ok(socket) = node.parse::<std::net::SocketAddr>() {
        return Some(socket.ip());
    }
    node.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

impl Network {
    /// Whether `address` lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (network, address, width) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (u128::from(network.to_bits()), u128::from(address.to_bits()), 32)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
            _ => return false,
        };
        let host_bits = width - self.prefix;
        (network ^ address).checked_shr(host_bits).unwrap_or(0) == 0
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_not_an_address| NetworkError)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_not_a_number| NetworkError)?,
            None => width,
        };
        if prefix > width {
            return Err(NetworkError);
        }
        Ok(Self { address, prefix })
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(header: ProxyHeader) -> Proxies {
        let trusted = ["10.0.0.0/8", "::1", "2001:db8::/32"].map(|text| text.parse().unwrap());
        Proxies {
            trusted: trusted.to_vec(),
            header,
        }
    }

    fn client(header: ProxyHeader, peer: &str, lines: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        behind(header).client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_names_the_client() {
        let forged = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1")];
        for header in [ProxyHeader::XForwardedFor, ProxyHeader::Forwarded] {
            assert_eq!(client(header, "203.0.113.7", &forged), "203.0.113.7");
            assert_eq!(client(header, "10.1.2.3", &forged), "192.0.2.1");
            assert_eq!(client(header, "::ffff:10.1.2.3", &forged), "192.0.2.1");
            assert_eq!(client(header, "10.1.2.3", &[]), "10.1.2.3");
        }
        let nobody = Proxies::default();
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "192.0.2.1".parse().unwrap());
        let peer = "127.0.0.1".parse().unwrap();
        assert_eq!(nobody.client(peer, &headers).ip(), peer);
    }

    #[test]
    fn what_the_client_wrote_itself_is_not_believed() {
        let x = |value| {
            client(
                ProxyHeader::XForwardedFor,
                "10.0.0.1",
                &[("x-forwarded-for", value)],
            )
        };
        assert_eq!(x("1.1.1.1, 192.0.2.1"), "192.0.2.1");
        assert_eq!(x("1.1.1.1, 192.0.2.1, 10.0.0.9"), "192.0.2.1");
        // A client that claims to be a proxy is still the client.
        assert_eq!(x("1.1.1.1, 10.0.0.7, 192.0.2.1"), "192.0.2.1");
        assert_eq!(x("10.0.0.7"), "10.0.0.7");
        let two_lines = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "192.0.2.1, 10.0.0.9"),
        ];
        assert_eq!(
            client(ProxyHeader::XForwardedFor, "10.0.0.1", &two_lines),
            "192.0.2.1"
        );
        // The header that the proxy does not write is the client's.
        let other = [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(
            client(ProxyHeader::XForwardedFor, "10.0.0.1", &other),
            "192.0.2.1"
        );
    }

    #[test]
    fn what_is_no_address_hides_nobody() {
        let x = |value| {
            client(
                ProxyHeader::XForwardedFor,
                "10.0.0.1",
                &[("x-forwarded-for", value)],
            )
        };
        assert_eq!(x("unknown"), "10.0.0.1");
        assert_eq!(x("1.1.1.1, garbage, 10.0.0.9"), "10.0.0.9");
        assert_eq!(x(""), "10.0.0.1");
    }

    #[test]
    fn addresses_are_read_in_every_spelling_that_proxies_use() {
        let x = |value| client(ProxyHeader::XForwardedFor, "::1", &[("x-forwarded-for", value)]);
        assert_eq!(x("192.0.2.1:4711"), "192.0.2.1");
        assert_eq!(x("[2001:db9::1]:4711"), "2001:db9::1");
        assert_eq!(x("::ffff:192.0.2.1"), "192.0.2.1");
        let f = |value| client(ProxyHeader::Forwarded, "::1", &[("forwarded", value)]);
        assert_eq!(f(r#"For="[2001:db9:cafe::17]:4711""#), "2001:db9:cafe::17");
        assert_eq!(f("proto=https;for=192.0.2.43;by=10.0.0.1"), "192.0.2.43");
        assert_eq!(f("for=192.0.2.43, for=_hidden"), "::1");
    }

    #[test]
    fn networks_hold_what_their_prefix_says() {
        let holds = |network: &str, address: &str| {
            let network: Network = network.parse().unwrap();
            network.contains(address.parse().unwrap())
        };
        assert!(holds("0.0.0.0/0", "203.0.113.7") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("::/0", "2001:db8::1"));
        assert!(holds("192.168.4.0/22", "192.168.7.255") && !holds("192.168.4.0/22", "192.168.8.0"));
        assert!(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.2"));
        for text in ["", "10.0.0.0/33", "::1/129", "10.0.0/8", "host", "10.0.0.0/-1"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError), "{text}");
        }
    }
}
