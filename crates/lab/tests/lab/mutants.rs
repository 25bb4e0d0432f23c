//! Each case kills a mutant.

use std::sync::Arc;

use lab::case::Level;
use lab::cases;
use lab::judge::Outcome;
use lab::report::{Known, lines};
use lab::server::Audience;
use tokio::sync::Semaphore;

use crate::{default_cases, judge, reference, start};

/// A mutant, and the cases that it fails.
const MUTANTS: &[(&str, &str)] = &[
    ("mute", "p-basic"),
    ("only-lf", "p-cr p-mixed-ends"),
    ("crlf-twice", "p-crlf p-crlf-bytewise"),
    ("crlf-per-read", "p-crlf-split"),
    ("line-per-read", "p-bytewise"),
    ("unicode-lines", "p-unicode-ends"),
    ("blank-lines", "p-blank-lines"),
    ("needs-space", "p-no-space"),
    ("strips-all-spaces", "p-two-spaces"),
    ("strips-tab", "p-tab"),
    ("strips-end", "p-trailing-space"),
    ("joins-without-lf", "p-multi"),
    ("empty-data", "p-empty-data"),
    ("joins-if-any", "p-two-empty"),
    ("trims-data", "p-trailing-empty"),
    ("keeps-name", "p-no-data"),
    ("event-empty", "p-event-empty"),
    ("event-first", "p-event-last"),
    ("field-prefix", "p-unknown"),
    ("field-capitals", "p-case"),
    ("field-spaces", "p-field-space"),
    ("drops-nul", "p-field-nul p-nul-data"),
    ("comments-dispatch", "p-comment"),
    ("last-colon", "p-colons"),
    ("ascii-names", "p-names"),
    ("error-stops", "p-name-error"),
    ("one-event-a-read", "p-many"),
    ("keeps-bom", "p-bom"),
    ("bom-of-first-read", "p-bom-split"),
    ("bom-anywhere", "p-bom-twice"),
    ("charset", "p-charset"),
    ("decodes-per-read", "p-utf8-split"),
    ("utf8-strict", "p-utf8-bad"),
    ("utf8-joins", "p-utf8-overlong"),
    ("utf8-swallows", "p-utf8-cut"),
    ("event-at-end", "p-eof"),
    ("line-at-end", "p-eof-mid"),
    ("cr-waits", "p-eof-cr l-cr"),
    ("line-64k", "p-64k"),
    ("line-1m", "p-1m p-long-comment m-8m"),
    ("lines-1000", "p-lines"),
    ("id-per-event", "i-sticky r-sticky"),
    ("id-empty", "i-reset r-id-reset"),
    ("id-nul", "i-nul r-id-nul"),
    ("id-with-data", "i-no-data r-id-only"),
    ("id-ascii", "i-utf8 r-id-utf8"),
    ("id-first", "i-last"),
    ("waits-for-more", "l-lf l-crlf"),
    ("buffers-until-close", "l-close"),
    ("no-close", "h-close"),
    ("http-1.0", "h-10"),
    ("type-case", "h-ctype-case"),
    ("type-exact", "h-ctype-param h-ctype-semicolon"),
    ("chunk-extensions", "h-chunks"),
    ("field-case", "h-slow-head"),
    ("no-interim", "h-103"),
    ("gzip", "h-gzip"),
    ("no-accept", "h-request"),
    ("204", "s-204 s-204-ctype r-204"),
    ("any-2xx", "s-201 s-206"),
    ("any-status", "s-404 s-401 s-500 s-503"),
    ("any-type", "s-ctype-none s-ctype-html s-ctype-json"),
    ("type-prefix", "s-ctype-almost"),
    ("type-contains", "s-ctype-ndjson"),
    ("no-location", "s-no-location"),
    ("redirects", "s-301 s-302 s-303 s-307 s-308"),
    ("relative-location", "s-relative"),
    ("redirect-loops", "s-loop"),
    ("never-reconnects", "r-resume r-resume-close"),
    ("stops-after-errors", "r-resume-rst r-away"),
    ("cut-chunks", "r-resume-cut"),
    ("short-body", "r-resume-length"),
    ("bad-chunks", "r-bad-chunk"),
    ("id-with-text", "r-id-empty-data"),
    ("id-at-once", "r-id-cut r-id-cut-rst r-exactly r-exactly-cut"),
    ("hangs-later", "r-exactly r-exactly-cut"),
    ("id-never-changes", "r-id-many"),
    ("id-per-connection", "r-id-quiet"),
    ("no-id", "r-moved"),
    ("no-retry", "r-retry"),
    ("retry-per-connection", "r-retry-stays"),
    ("retry-with-block", "r-retry-line"),
    ("retry-needs-data", "r-retry-alone"),
    ("retry-prefix", "r-retry-suffix r-retry-float"),
    ("retry-signed", "r-retry-sign"),
    ("retry-any-digits", "r-retry-digits"),
    ("retry-empty", "r-retry-empty"),
    ("retry-zeros", "r-retry-zeros"),
    ("retry-32", "r-retry-32"),
    ("retry-64", "r-retry-64"),
    ("storms", "r-storm-empty"),
    ("storms-after-errors", "r-storm-hangup r-storm-reset r-storm-garbage"),
    ("times-out-5s", "q-7"),
    ("times-out-50ms", "q-drip"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_client_passes_every_case() {
    let all = judge(reference(""), default_cases()).await;
    let failed: String = all
        .iter()
        .filter(|judged| !matches!(judged.verdict.verdict, Outcome::Ok | Outcome::Recorded))
        .map(|judged| lines(judged, &Known::default()))
        .collect();
    assert_eq!(failed, "");
    assert!(all.len() >= 120, "{}", all.len());
}

/// Most mutants wait for something that never comes.
const N_MUTANTS: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_each_case_a_mutant_fails() {
    let of_mutant = |(mutant, ids): &(&'static str, &'static str)| {
        let mutant = *mutant;
        ids.split(' ').map(move |id| (id, mutant))
    };
    let mutants: Vec<(&str, &str)> = MUTANTS.iter().flat_map(of_mutant).collect();
    mutants.iter().for_each(|(id, _)| assert!(cases::find(id).is_some(), "no case {id}"));
    let asked = default_cases().into_iter().filter(|case| case.level != Level::Info);
    let without: Vec<&str> =
        asked.map(|case| case.id).filter(|id| !mutants.iter().any(|(it, _)| it == id)).collect();
    assert_eq!(without, [""; 0], "cases without a mutant");

    let lab = start(Audience::Local);
    let jobs = Arc::new(Semaphore::new(N_MUTANTS));
    let mut tasks = Vec::new();
    for (id, mutant) in mutants {
        let (lab, jobs) = (lab.clone(), jobs.clone());
        tasks.push(tokio::spawn(async move {
            let _job = jobs.acquire_owned().await.unwrap();
            let cases = vec![cases::find(id).unwrap()];
            let command = reference(mutant);
            let plan = lab::run::Plan { command, cases, n_jobs: 1, n_tries: 1, seed: 1 };
            let all = lab::run::run(lab, &plan, |_| {}).await.unwrap();
            let outcome = all[0].verdict.verdict;
            let is_killed = matches!(outcome, Outcome::Fails | Outcome::Differs);
            (!is_killed).then(|| format!("{id} does not kill `{mutant}`: {outcome}"))
        }));
    }
    let mut survivors = Vec::new();
    for task in tasks {
        survivors.extend(task.await.unwrap());
    }
    assert_eq!(survivors, [""; 0]);
}
