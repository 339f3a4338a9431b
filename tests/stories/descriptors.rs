//! Few descriptors, and many clients that want them.

use crate::common::*;

fn pages() -> Origin {
    Origin::scripted(|asked, wire| match asked.target.as_str() {
        "/page" => wire.answer("Cache-Control: max-age=600\r\n", "page"),
        _ => wire.answer("Cache-Control: no-store\r\n", "own"),
    })
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one() {
    let origin = pages();
    let larder = Larder::limited("128:4096", &origin.url(), "");
    let idle: Vec<Connection> = (0..300).map(|_| larder.connect()).collect();
    larder.get("/page").expect_status(200);
    assert_eq!(larder.metric("process_max_fds", ""), 4096.0);
    assert_eq!(larder.metric("larder_connections_sent_away_total", ""), 0.0);
    larder.expect_printed("fewer clients than limits.connections can be connected");
    drop(idle);
}

#[test]
fn idle_clients_that_take_all_descriptors_keep_nobody_out_and_no_origin_from_being_asked() {
    let origin = pages();
    let larder = Larder::limited("128:128", &origin.url(), "");
    let mut idle = Vec::new();
    for round in 0..5 {
        idle.extend((0..80).map(|_| larder.connect()));
        larder.get("/page").expect_status(200);
        assert_eq!(larder.get(&format!("/own/{round}")).expect_status(200).text(), "own");
        larder.admin().get("/healthz").expect_status(200);
    }
    assert!(larder.metric("larder_connections_sent_away_total", "") > 0.0);
    assert_eq!(larder.metric("larder_origin_failures_total", ""), 0.0);
    assert_eq!(larder.metric("larder_backend_endpoints", "state=\"usable\""), 1.0);
}

#[test]
fn with_all_places_taken_by_idle_clients_a_new_one_is_served_and_the_log_says_why_they_go() {
    let origin = pages();
    let larder = Larder::before_with(&origin.url(), "[limits]\nconnections = 20");
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut connection = larder.connect();
        connection.ask_get("/page");
        connection.answer("GET").unwrap().expect_status(200);
        idle.push(connection);
    }
    larder.get("/page").expect_hit();
    assert!(idle[0].is_closed(), "it was at rest for longest");
    larder.expect_printed("all places for clients are taken");
}
