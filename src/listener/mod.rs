//! Sockets become requests: bind, accept, one HTTP/1 connection after the other, drain.
