//! Projects, hostile ones among them, and references into them.

use std::path::{Component, Path};

use backhaul_testkit::Prng;
use backhaul_weave::{ProjectId, refs};
use serde_json::json;

#[test]
fn hostile_names_stay_inside_the_folder_and_are_found_again() {
    let mut prng = Prng::new(1);
    let pieces =
        ["..", ".", "~", "%2e", "%", "a", "Ä", "\0", "\\", ":", "*", " ", "\n", "-", "CON"];
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..20_000 {
        let mut name = || -> String { (0..=prng.index(4)).map(|_| *prng.pick(&pieces)).collect() };
        let project = ProjectId::new(&name(), &name()).unwrap();
        let folder = project.folder();
        let parts: Vec<Component<'_>> = folder.components().collect();
        assert!(matches!(parts[..], [Component::Normal(_), Component::Normal(_)]), "{folder:?}");
        assert!(folder.to_str().unwrap().is_ascii());
        assert_eq!(ProjectId::of_folder(&folder).as_ref(), Some(&project));
        // Two projects never share a folder.
        assert_eq!(seen.entry(folder).or_insert_with(|| project.clone()), &project);
    }
}

#[test]
fn usual_names_are_their_own_folders() {
    for name in ["my_team/my_project", "a-b.c/Project 7", "offline/x"] {
        let project: ProjectId = name.parse().unwrap();
        assert_eq!(project.folder(), Path::new(name));
    }
}

#[test]
fn folders_that_no_project_makes_are_none() {
    for folder in ["a", "a/b/c", "../b", "a/.b", "a/%2g", "a/%41", "a/%", "/a/b"] {
        assert_eq!(ProjectId::of_folder(Path::new(folder)), None, "{folder}");
    }
}

#[test]
fn names_that_are_none_are_refused_by_name() {
    for text in ["", "/", "a/", "/b", "a/b/c"] {
        let error = text.parse::<ProjectId>().unwrap_err().to_string();
        assert!(error.ends_with("expected entity/project, or a project alone"), "{error}");
    }
}

#[test]
fn names_that_are_too_long_for_folders_are_cut_and_differ_by_their_hash() {
    let folder = |name: &str| ProjectId::new("a", name).unwrap().folder();
    assert_eq!(folder(&"e".repeat(200)), Path::new("a").join("e".repeat(200)));
    for letter in ["e", "é", "%"] {
        let (one, other) = (folder(&letter.repeat(300)), folder(&letter.repeat(301)));
        assert_ne!(one, other);
        assert!(one.file_name().unwrap().len() <= 153, "{one:?}");
        assert_eq!(ProjectId::of_folder(&one), None);
    }
}

#[test]
fn references_are_rewritten_at_any_depth_and_nothing_else_is() {
    let mut value = json!({
        "weave:///a/b/key": ["weave:///a/b/op/f:1", {"x": "see weave:///a/b/op/f:1", "n": 1}],
        "other": "weave:///c/d/op/f:1/attr/x%2Fy",
        "short": "weave:///a/b",
    });
    let changed = refs::rewrite(&mut value, &mut |project, rest| {
        (project.entity() == "a").then(|| format!("weave:///z/y/{rest}"))
    });
    assert!(changed);
    let expected = json!({
        "weave:///a/b/key": ["weave:///z/y/op/f:1", {"x": "see weave:///a/b/op/f:1", "n": 1}],
        "other": "weave:///c/d/op/f:1/attr/x%2Fy",
        "short": "weave:///a/b",
    });
    assert_eq!(value, expected);
    assert!(!refs::rewrite(&mut value, &mut |_, _| None));
}
