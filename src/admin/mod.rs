//! The operator's HTTP interface on its own listener: metrics, health, invalidation, inspection.
//!
//! | path | |
//! |---|---|
//! | `GET /` | what is here, for a browser |
//! | `GET /metrics` | all metrics in Prometheus' text format |
//! | `GET /healthz` | 200 while the process lives, and all its workers turn |
//! | `GET /readyz` | 200 while requests may be sent here, else 503; why, as JSON |
//! | `GET /v1/stat` | figures at a glance, as JSON |
//! | `POST /v1/purge` | invalidates stored responses |
//! | `GET /v1/purges?limit=` | the latest invalidations |
//! | `GET /v1/inspect?url=` | what is stored under a URL |
//!
//! Promises: nothing here is on the way of a client's request; every refusal is a JSON object with `error`
//! and `hint`; connections, bodies and waits have bounds; each purge, and each try that was not allowed, is
//! a line of the operations log (target `audit`). This room never knows the pipeline: what it asks of the
//! rest of Larder is the trait [`Operations`].

mod answers;
mod door;
mod guard;
mod operations;
mod pages;
mod places;
mod purge;
mod serve;
mod settings;

pub use door::{AdminListener, AdminPeer, bind};
pub use operations::{
    BackendStat, EndpointStat, InspectRefusal, InspectedVariant, Inspection, LedgerStat, Operations,
    PurgeProgress, PurgeReceipt, PurgeRecord, PurgeRefusal, PurgeRequest, Readiness, ReadyState,
    ServeVerdict, Snapshot, StoreStat, Widened,
};
pub use serve::serve;
pub use settings::{AdminAddress, AdminAddressError, AdminSettings, AdminToken, Secret};
