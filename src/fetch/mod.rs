//! At most one origin request per key: flights, streaming fan-out, refresh, retry.
