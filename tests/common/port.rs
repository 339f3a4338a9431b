//! A TCP port on loopback that stays this story's own while servers on it come and go.

use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;

/// A port that the system handed out, kept by a bound socket that never listens.
///
/// While it is held, neither another `bind` to port 0 nor an outgoing connection is given the port; a
/// server may still bind it, because both set `SO_REUSEADDR`, and a connection to it is refused while none
/// does. So a server can be killed and started again without a race for its port.
pub struct Port {
    holder: Socket,
    pub number: u16,
}

impl Port {
    pub fn reserve() -> Port {
        let holder = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        holder.set_reuse_address(true).expect("SO_REUSEADDR");
        holder.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        let number = holder.local_addr().ok().and_then(|address| address.as_socket_ipv4());
        Port { number: number.expect("an address").port(), holder }
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.number))
    }
}
