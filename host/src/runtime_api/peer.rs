//! The owner of a connection: a program of another user could take the event and answer in the function's place.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use rustix::process::getuid;

/// Sockets of both protocols: runtimes may use IPv6 sockets for IPv4 addresses.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// Whether the other end of a connection belongs to another user than this process and root.
///
/// Only Linux says whose sockets are. Elsewhere no end is known to be foreign.
pub(super) fn is_foreign(peer: SocketAddr, server: SocketAddr) -> bool {
    let own = getuid().as_raw();
    let mut tables = TABLES.iter().filter_map(|path| fs::read_to_string(path).ok());
    let owner = tables.find_map(|table| owner(&table, peer, server));
    owner.is_some_and(|owner| owner != own && owner != 0)
}

/// Returns the user ID of the socket with this address that is connected to the server.
///
/// <https://docs.kernel.org/networking/proc_net_tcp.html>
fn owner(table: &str, peer: SocketAddr, server: SocketAddr) -> Option<u32> {
    let is_of = |text: &str, address: SocketAddr| texts(address).iter().any(|known| known == text);
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, remote) = (fields.next()?, fields.next()?);
        if !is_of(local, peer) || !is_of(remote, server) {
            return None;
        }
        // Behind the state, the queues, the timer and the retransmissions.
        fields.nth(4)?.parse().ok()
    })
}

/// The address as the two tables write it: words in the machine's byte order.
fn texts(address: SocketAddr) -> [String; 2] {
    let port = address.port();
    let words = |octets: &[u8]| -> String {
        let (words, _) = octets.as_chunks::<4>();
        words.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect()
    };
    let ipv4 = match address.ip() {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(ip) => ip.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED),
    };
    let ipv6: Ipv6Addr = ipv4.to_ipv6_mapped();
    [format!("{}:{port:04X}", words(&ipv4.octets())), format!("{}:{port:04X}", words(&ipv6.octets()))]
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_owner_of_a_connection_is_found_in_both_tables() {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000  1000        0 2 1 0 20 4 30 10 -1
   2: 0100007F:C001 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 3 1 0 20 4 30 10 -1
   3: 0000000000000000FFFF00000100007F:C002 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 00:00000000 00000000 1002 0 4 1 0 20 4 30 10 -1";
        // Numbers of a little-endian machine.
        if cfg!(target_endian = "little") {
            assert_eq!(owner(table, address(0xc001), address(8080)), Some(1001));
            assert_eq!(owner(table, address(0xc002), address(8080)), Some(1002));
            assert_eq!(owner(table, address(0xc003), address(8080)), None);
            assert_eq!(owner(table, address(0xc001), address(8081)), None);
        }
    }

    #[test]
    fn a_connection_of_this_process_is_not_foreign() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let server = listener.local_addr().expect("it is bound");
        let client = TcpStream::connect(server).expect("it listens");
        let peer = client.local_addr().expect("it is connected");
        assert!(!is_foreign(peer, server));
        if let Ok(table) = fs::read_to_string(TABLES[0]) {
            assert_eq!(owner(&table, peer, server), Some(getuid().as_raw()));
        }
    }
}
