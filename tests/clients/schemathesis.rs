//! The PyPI package `schemathesis`. It sends the API valid and invalid requests, which it derives
//! from the OpenAPI document, and checks every response against the document.

use std::process::{Command, Output};

use serde_json::Value;

use crate::client::python_program;
use crate::common::Instance;

/// The title of a failure in the report: the API accepted a request that the document forbids.
const ACCEPTED: &str = "Schema-violating request accepted";

/// Allows the API to reject a request that the document allows.
const DEPENDENT_PARAMETERS: &str = "\
[[operations]]
include-path = '/api/rolls'
checks.positive_data_acceptance.expected-statuses = ['2xx', '3xx', 409, 422, '5xx']
";

/// Runs Schemathesis on the document at `document`. Returns whether it found no failure, and its
/// report.
fn fuzz(instance: &Instance, document: &str) -> (bool, String) {
    // Without the check of other methods: one of them is unknown to Rocket, which answers 400. The
    // suite tests all others.
    let options = [
        "run",
        document,
        "--checks=all",
        "--exclude-checks=unsupported_method",
        "--phases=examples,coverage,fuzzing",
        "--max-examples=100",
        "--seed=1",
        "--no-color",
        "--generation-database=none",
        "--suppress-health-check=all",
        "--request-timeout=30",
    ];
    let mut command: Command = python_program("schemathesis");
    command.current_dir(instance.path()).args(options).args(["--url", &instance.url("/")]);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.success(), text(stdout) + &text(stderr))
}

#[test]
fn the_api_responds_to_any_request_as_its_document_specifies() {
    let instance = Instance::new("every = '100ms'");
    instance.fill(5_000, 1);
    let server = instance.start();
    let document = instance.url("/api/openapi.json");
    let text = ureq::get(&document).call().unwrap().body_mut().read_to_string().unwrap();
    let mut plain: Value = serde_json::from_str(&text).unwrap();
    // All but the document itself.
    let n_addresses = plain["paths"].as_object().unwrap().len() - 1;
    // `die` and `result` require each other, which OpenAPI cannot express.
    let config = instance.path().join("schemathesis.toml");
    std::fs::write(&config, DEPENDENT_PARAMETERS).unwrap();
    let (all_well, report) = fuzz(&instance, &document);
    std::fs::remove_file(config).unwrap();
    assert!(all_well, "{report}");
    let tested = format!("Tested: {n_addresses}");
    assert!(report.contains(&tested), "expected requests to every address: {report}");
    let errors: Vec<String> =
        server.log().into_iter().filter(|line| line.contains("\"ERROR\"")).collect();
    assert!(errors.is_empty(), "{errors:#?}");

    // Without these two, every request that the document allows must be accepted.
    let parameters = &mut plain["paths"]["/api/rolls"]["get"]["parameters"];
    let filter: Vec<Value> = parameters.as_array_mut().unwrap().split_off(4);
    assert_eq!(filter.iter().map(|filter| &filter["name"]).collect::<Vec<_>>(), ["die", "result"]);
    std::fs::write(instance.path().join("plain.json"), plain.to_string()).unwrap();
    let (all_well, report) = fuzz(&instance, "plain.json");
    assert!(all_well, "{report}");

    // Control: a document with one wrong number must fail.
    let limit = &mut plain["paths"]["/api/rolls"]["get"]["parameters"][3]["schema"]["maximum"];
    assert_eq!(*limit, 1_000);
    *limit = 500.into();
    std::fs::write(instance.path().join("wrong.json"), plain.to_string()).unwrap();
    let (all_well, report) = fuzz(&instance, "wrong.json");
    assert!(!all_well && report.contains(ACCEPTED), "{report}");
}
