//! Which way packets go to a host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use url::{Host, Url};

/// Hosts of the Internet that nobody has (RFC 5737, RFC 3849): what leads to them leads to
/// any host whose address is not known.
const SOMEWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// The way to a host as the machine's routes have it at one moment: the addresses that it
/// would be reached from. Where that is another than before, connections of before are dead,
/// or go where nothing is paid for.
///
/// ```
/// use backhaul_sync::Way;
///
/// let way = Way::to(&"http://127.0.0.1:7117".parse()?);
/// assert!(way.leads_there());
/// assert_eq!(way, Way::to(&"http://127.0.0.1".parse()?));
/// # Ok::<(), url::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way(Vec<IpAddr>);

impl Way {
    /// The way to the host of a URL. Nothing is sent: a host that is given by name stands
    /// for any host of the Internet.
    pub fn to(url: &Url) -> Self {
        let from = match url.host() {
            Some(Host::Ipv4(host)) => source(host.into()).into_iter().collect(),
            Some(Host::Ipv6(host)) => source(host.into()).into_iter().collect(),
            _ => SOMEWHERE.into_iter().filter_map(source).collect(),
        };
        Self(from)
    }

    /// Whether there is a way at all.
    pub fn leads_there(&self) -> bool {
        !self.0.is_empty()
    }
}

/// The address that packets to a host would be sent from.
fn source(host: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match host {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // Of a socket without connections, this asks for the route alone. The port is discard's.
    socket.connect((host, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_to_an_address_that_is_no_hosts() {
        let way = Way::to(&"http://255.255.255.255".parse().unwrap());
        assert!(!way.leads_there());
        assert_ne!(way, Way::to(&"http://127.0.0.1".parse().unwrap()));
    }
}
