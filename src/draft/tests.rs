use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

/// A folder with the path of a new file, `rolls.csv`.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let to = resolve(&folder.path().join("rolls.csv")).expect("a path");
    (folder, to)
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).expect("a folder");
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<String> =
        entries.map(|entry| name(entry).into_string().expect("text")).collect();
    names.sort();
    names
}

fn draft(to: &Path, existing: Existing, text: &str) -> Result<Draft, DraftError> {
    let mut draft = Draft::create(to, existing, 0o666)?;
    draft.write_all(text.as_bytes()).expect("room");
    Ok(draft)
}

fn write(to: &Path, existing: Existing, text: &str) -> Result<(), DraftError> {
    draft(to, existing, text)?.publish()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("text")
}

#[test]
fn a_file_appears_when_it_is_complete_and_nothing_remains_of_an_incomplete_one() {
    let (folder, to) = folder();
    let half = draft(&to, Existing::Refuse, "half").expect("a draft");
    assert_eq!(names(&folder), [".rolls.csv.rollcast-draft"]);
    drop(half);
    assert_eq!(names(&folder), [""; 0]);
    write(&to, Existing::Refuse, "whole").expect("written");
    assert_eq!((names(&folder), read(&to)), (vec!["rolls.csv".to_string()], "whole".to_string()));
    assert_eq!(fs::metadata(&to).expect("a file").nlink(), 1);
}

#[test]
fn an_existing_file_is_replaced_only_if_told_also_if_it_appears_at_the_last_moment() {
    let (folder, to) = folder();
    let late = draft(&to, Existing::Refuse, "late").expect("a draft");
    fs::write(&to, "somebody's").expect("a file");
    for refused in [late.publish(), write(&to, Existing::Refuse, "second")] {
        let error = refused.expect_err("the file exists").to_string();
        assert!(error.contains("found a file") && error.contains("--force"), "{error}");
        assert_eq!(read(&to), "somebody's");
    }
    let error = write(&to, Existing::RefuseAlways, "fourth").expect_err("the file exists");
    let error = error.to_string();
    assert!(error.contains("found a file") && !error.contains("--force"), "{error}");
    assert_eq!(read(&to), "somebody's");
    write(&to, Existing::Replace, "third").expect("replaced");
    assert_eq!((names(&folder), read(&to)), (vec!["rolls.csv".to_string()], "third".to_string()));
}

#[test]
fn two_writers_of_one_file_never_mix() {
    let (_folder, to) = folder();
    let first = draft(&to, Existing::Replace, "first").expect("a draft");
    let second = draft(&to, Existing::Replace, "second");
    assert!(matches!(second, Err(DraftError::Busy(_))), "{second:?}");
    first.publish().expect("written");
    write(&to, Existing::Replace, "third").expect("written");
    assert_eq!(read(&to), "third");
}

#[test]
fn a_draft_that_a_killed_process_left_is_taken_over_and_no_other_file() {
    let (folder, to) = folder();
    let precious = folder.path().join("precious");
    let path = path_of(&to);
    fs::write(&path, "what a kill left, longer than the file").expect("a draft");
    write(&to, Existing::Refuse, "whole").expect("written");
    assert_eq!((names(&folder), read(&to)), (vec!["rolls.csv".to_string()], "whole".to_string()));

    let refused = |what: &str| {
        let error = write(&to, Existing::Replace, "x").expect_err("refused").to_string();
        assert!(error.contains(what), "expected `{what}` in {error}");
        assert_eq!((read(&precious), read(&to)), ("mine".to_string(), "whole".to_string()));
        fs::remove_file(&path).expect("the name is still taken");
    };
    fs::write(&precious, "mine").expect("written");
    symlink(&precious, &path).expect("a link");
    refused("a link or no file");
    fs::hard_link(&precious, &path).expect("a link");
    refused("another name too");
    // A kill between the two steps of publishing leaves a second name of the file.
    fs::hard_link(&to, &path).expect("a link");
    write(&to, Existing::Replace, "again").expect("written");
    assert_eq!((names(&folder).len(), read(&to)), (2, "again".to_string()));
}

#[test]
fn a_link_to_a_file_stays_when_that_file_is_replaced_and_no_other_kind_of_file_is() {
    let (folder, to) = folder();
    let path = |name: &str| folder.path().join(name);
    fs::write(&to, "first").expect("written");
    symlink("rolls.csv", path("link")).expect("a link");
    write(&resolve(&path("link")).expect("a path"), Existing::Replace, "second").expect("written");
    assert!(path("link").is_symlink());
    assert_eq!(read(&to), "second");

    symlink("nowhere", path("broken")).expect("a link");
    fs::create_dir(path("folder")).expect("a folder");
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).expect("a socket");
    for (name, found) in [
        ("broken", "a broken symbolic link"),
        ("folder", "not a file"),
        ("socket", "not a file"),
        (".x.rollcast-draft", "the name of a draft"),
        ("none/x.csv", "no such folder"),
    ] {
        let written = resolve(&path(name)).and_then(|to| write(&to, Existing::Replace, "x"));
        let error = written.expect_err(name).to_string();
        assert!(error.contains(found), "{name}: {error}");
    }
    assert_eq!(names(&folder), ["broken", "folder", "link", "rolls.csv", "socket"]);
}

#[test]
fn a_new_file_gets_the_permissions_that_the_umask_leaves() {
    let (folder, to) = folder();
    write(&to, Existing::Refuse, "x").expect("written");
    fs::write(folder.path().join("other"), "x").expect("written");
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode();
    assert_eq!(mode(&to), mode(&folder.path().join("other")));
}
