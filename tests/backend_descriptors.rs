//! A host that has no descriptor left is not the endpoint's fault. Alone in its process: it takes all descriptors.
#![allow(clippy::unwrap_used)]

mod backend_support;

use backend_support::*;
use larder::backend::OriginError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[tokio::test]
async fn an_endpoint_is_not_taken_out_because_this_host_has_no_descriptor_left() {
    let origin = Origin::new().await;
    let (backend, record, _) = observed(settings([origin.endpoint.clone()]));
    let usual = getrlimit(Resource::Nofile);
    // No number is free below this limit.
    let open = std::fs::File::open("/dev/null").unwrap();
    let used = std::os::fd::AsRawFd::as_raw_fd(&open) as u64;
    drop(open);
    setrlimit(Resource::Nofile, Rlimit { current: Some(used), ..usual }).unwrap();
    let mut errors = Vec::new();
    for _ in 0..5 {
        errors.push(backend.send(get("/")).await);
    }
    setrlimit(Resource::Nofile, usual).unwrap();
    for error in errors {
        let error = error.unwrap_err();
        assert!(matches!(error, OriginError::NoDescriptors { .. }), "{error}");
        assert_eq!((error.as_str(), error.status().as_u16()), ("no-descriptors", 503));
    }
    assert!(!record.take().iter().any(|event| event.starts_with("Ejected")));
    assert!(backend.snapshot().is_healthy());
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (response, _) = tokio::join!(backend.send(get("/")), origin.answer(answer));
    assert_eq!(text(response.unwrap().body).await.unwrap(), "ok");
}
