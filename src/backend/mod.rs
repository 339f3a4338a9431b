//! Named pools of endpoints: connect, pool, balance, health.
