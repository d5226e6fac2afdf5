//! Changes of the network, as Linux tells them (rtnetlink(7)).

use std::io;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixDatagram;

use super::link_events::LinkChange;
use super::net_table::NetTable;

/// The groups of linux/rtnetlink.h: links, addresses and routes, of IPv4 and IPv6.
const GROUPS: u32 =
    RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE;
const RTMGRP_LINK: u32 = 0x1;
const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV4_ROUTE: u32 = 0x40;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;
const RTMGRP_IPV6_ROUTE: u32 = 0x400;

/// As large as the kernel's own datagrams to listeners become.
const DATAGRAM: usize = 32 << 10;

pub(super) async fn listen(tell: &(dyn Fn(LinkChange) + Send + Sync)) -> io::Error {
    match open() {
        Ok(socket) => read(&socket, tell).await,
        Err(error) => error,
    }
}

/// A netlink socket, in the clothes of another datagram socket that tokio can wait for:
/// waiting and receiving are the same calls.
fn open() -> io::Result<UnixDatagram> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // No protocol stands for NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    UnixDatagram::from_std(socket.into())
}

async fn read(socket: &UnixDatagram, tell: &(dyn Fn(LinkChange) + Send + Sync)) -> io::Error {
    let mut table = NetTable::default();
    let mut datagram = vec![0; DATAGRAM];
    loop {
        match socket.recv(&mut datagram).await {
            Ok(length) => {
                let messages = datagram.get(..length).unwrap_or_default();
                table.read(messages).into_iter().for_each(tell);
            }
            // There were more events than the socket holds: some of them are unknown.
            Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                table = NetTable::default();
                tell(LinkChange::Up);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error,
        }
    }
}
