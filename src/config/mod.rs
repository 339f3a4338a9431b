//! What the operator wrote (TOML) becomes checked settings; all problems are reported at once, with line and caret.
//!
//! Two stages: [`written`] mirrors the file, value by value, and [`resolve`] asks what it means as a whole.
//! Between TOML and the mirror stands no derived deserialiser: serde ends at the first error, and an
//! operator who has five wants to see five. Each setting is one record ([`section`]), of which its field,
//! its default, its reader, the reference page and the schema are made.

mod address;
mod check;
mod choices;
mod environment;
mod problem;
mod reference;
mod resolve;
mod rooms;
mod section;
mod suggest;
mod texts;
mod tokens;
mod units;
mod value;
mod written;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

pub use address::{AdminAddress, Endpoint, ListenAddress};
pub use choices::{
    AccessFormat, AccessLog, AgeErrors, AmbiguousPaths, Balance, CacheStatus, Contradicting304, HostField,
    LogFormat, LogLevel, RequestIds, SharedMaxAge, StatusRange, UnderscoreFields,
};
pub use environment::Environment;
pub use problem::{Fault, Place, Problem, Problems, Severity, Source};
pub use reference::{reference, schema};
pub use resolve::{Overrides, load};
pub use rooms::{Backend, Cache, Forwarded, Limits, Log, Node, Probe, PurgeAccess, Server};
pub use tokens::Token;
pub use units::{Amount, Size};
pub use value::Text;

use crate::policy::Routes;

/// Where Larder listens when nothing says otherwise.
pub const DEFAULT_LISTEN: ListenAddress =
    ListenAddress::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080));

/// Where the admin interface listens when nothing says otherwise: for this host alone.
pub const DEFAULT_ADMIN: ListenAddress =
    ListenAddress::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081));

/// All that a running Larder needs to know; checked, with nothing left to look up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// At least one; none collides with another or with the admin address.
    pub listen: Vec<ListenAddress>,
    pub admin: Admin,
    pub cache: Cache,
    /// `cache.memory` in bytes, of the memory that this process may use.
    pub memory_bytes: u64,
    /// `cache.max_object` in bytes; at most `memory_bytes`.
    pub max_object_bytes: u64,
    /// `cache.transit_memory` in bytes; at most three quarters of `memory_bytes`.
    pub transit_bytes: u64,
    pub limits: Limits,
    /// At least one; routes name them by their place here.
    pub backends: Vec<NamedBackend>,
    pub routes: Routes,
    pub purge: PurgeRights,
    pub log: Log,
    pub node: Node,
    pub server: Server,
}

/// The admin interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    pub address: AdminAddress,
    /// Where there are any, a request must bear one of them; otherwise it must come from this host.
    pub tokens: Vec<Token>,
    /// Host names, in lower case, by which the interface may be asked for where no token is needed.
    pub hosts: Vec<String>,
}

/// A backend and what it is called.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedBackend {
    pub name: Arc<str>,
    pub settings: Backend,
}

/// Who may purge on the public listener: clients from these networks, and bearers of these tokens; and how much
/// a purge brings back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgeRights {
    pub allow: Vec<IpNet>,
    pub tokens: Vec<Token>,
    /// How many things one request may name, how long each name may be, and how much one expression may take.
    pub names: usize,
    pub name_bytes: Size,
    pub expression_size: Size,
    /// How many responses one purge brings back, and how many are asked for at a time.
    pub refetch: usize,
    pub refetch_at_once: usize,
}
