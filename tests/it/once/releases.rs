//! The file `RELEASES`, whose last commit a slow test builds.

use std::process::Command;

use super::{project, read, run, text};

#[test]
fn each_release_is_a_commit_of_this_history() {
    let releases = read("RELEASES");
    let mut names = 0;
    for line in releases.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, commit) = line.split_once(' ').expect("a line is a release and its commit");
        let mut git = Command::new("git");
        git.current_dir(project()).args(["merge-base", "--is-ancestor", commit, "HEAD"]);
        let output = run(&mut git);
        assert!(output.status.success(), "{name}: {commit} {}", text(&output.stderr));
        names += 1;
    }
    assert!(names > 0, "{releases}");
}
