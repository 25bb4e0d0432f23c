//! Addresses of the log.

use crate::common::http;
use crate::common::log_server::server_with_log;

#[test]
fn every_resource_of_the_log_has_one_spelling() {
    let (instance, _server, _key) = server_with_log(300);
    let status = |path: &str| http().get(instance.url(path)).call().unwrap().status().as_u16();
    for (path, others) in [
        ("/checkpoint", ["//checkpoint", "/checkpoint/", "/%63heckpoint"]),
        ("/rolls/41/proof", ["/rolls//41/proof", "/rolls/41/proof/", "/rolls/4%31/proof"]),
        ("/api/proof", ["/api//proof", "/api/proof/", "/api/proo%66"]),
        ("/tile/0/000", ["/tile//0/000", "/tile/0/000/", "/tile/0/00%30"]),
    ] {
        assert_eq!(status(path), 200, "{path}");
        for other in others {
            assert_eq!(status(other), 404, "{other}");
        }
    }
}
