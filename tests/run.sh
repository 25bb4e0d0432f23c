#!/bin/sh
# Installs what the suites need, runs all suites, and ends with a summary: which suites passed,
# failed or were skipped. The exit code is cargo's, or that of setup.sh if nothing can run.

set -eu
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log" "$log.code"' EXIT
trap 'exit 130' HUP INT TERM

# Most tests wait for processes, timers and disks, so three run per processor.
n_processors=$(getconf _NPROCESSORS_ONLN)
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((3 * n_processors))}"

# The exit code goes to a file, because that of a pipe is tee's.
{
  code=0
  # `--no-fail-fast`: a suite that fails stops no other.
  { features=$(tests/setup.sh) &&
    cargo test --locked --workspace --no-fail-fast --features "$features"; } || code=$?
  echo "$code" >"$log.code"
} 2>&1 | tee "$log"

# cargo writes `Running <source> (<program>-<hash>)` before each suite. A suite that dies writes no
# result.
awk '
  function finish() {
    if (suite == "") return
    if (result == "") result = "did not finish"
    passed = result ~ /^ok/
    passed ? n_passed++ : n_failed++
    sub(/^[a-zA-Z]*\. /, "", result)
    sub(/ failed; 0 ignored; 0 measured; .*/, " failed", result)
    printf "  %-8s %s: %s\n%s", passed ? "passed" : "FAILED", suite, result, names
    suite = result = names = ""
  }
  /^setup: SKIPPED: / { sub(/^setup: SKIPPED: the suite /, ""); skipped[n_skipped++] = $0 }
  /^ +Running .*\(.*\)$/ || /^ +Doc-tests / {
    finish()
    suite = $0
    sub(/^ +(Running )?/, "", suite)
    sub(/\(.*\/|\(/, "(", suite)
    sub(/-[0-9a-f]+\)$/, ")", suite)
  }
  /^test .* \.\.\. FAILED/ { names = names "             " $2 "\n" }
  /^test result: / { result = substr($0, 14) }
  BEGIN { print "\nSummary" }
  END {
    finish()
    for (n = 0; n < n_skipped; n++) print "  skipped  " skipped[n]
    if (n_passed + n_failed == 0) print "  no suite ran"
    printf "%d passed, %d failed, %d skipped\n", n_passed, n_failed, n_skipped
  }
' "$log"
exit "$(cat "$log.code")"
